"""C integer arithmetic, where the kernel's width or rounding shows in a result."""

from math import isqrt
from typing import Final

__all__ = ["LONG_MIN", "ULONG_MAX", "isqrt", "s32", "tdiv", "u64"]

ULONG_MAX: Final = (1 << 64) - 1
LONG_MIN: Final = -(1 << 63)


def u64(value: int) -> int:
    """The value of a C ``unsigned long`` on a 64-bit machine: modulo 2**64."""
    return value & ULONG_MAX


def s32(value: int) -> int:
    """The low 32 bits of ``value`` read as a C ``int``."""
    value &= 0xFFFFFFFF
    return value - (1 << 32) if value & 0x80000000 else value


def tdiv(dividend: int, divisor: int) -> int:
    """C division: the quotient is cut toward zero.

    Raises:
        ZeroDivisionError: ``divisor`` is 0.
    """
    quotient = abs(dividend) // abs(divisor)
    return quotient if (dividend < 0) == (divisor < 0) else -quotient
