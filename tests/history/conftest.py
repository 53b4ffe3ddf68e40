"""The places where a guard may kill and where a disk is full, for what reads its records."""

from tests.guard.conftest import arena, small_disk

__all__ = ["arena", "small_disk"]
