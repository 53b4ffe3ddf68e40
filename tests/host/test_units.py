"""The settings of units, as ``systemctl show`` of systemd 257 prints them."""

from pathlib import Path

import pytest

from oomkit.host.configuration import Unit, parse_units, read_units

SHOWN = """\
Restart=no
Type=notify
OOMPolicy=continue
OOMScoreAdjust=-900
ManagedOOMSwap=auto
ManagedOOMMemoryPressure=auto
ControlGroup=/system.slice/postgresql.service
Id=postgresql.service
ActiveState=active

ControlGroup=/user.slice
ManagedOOMSwap=kill
ManagedOOMMemoryPressure=kill
Id=user.slice
ActiveState=active

Restart=always
Type=simple
OOMPolicy=stop
OOMScoreAdjust=0
Id=gone.service
ActiveState=inactive
"""
UNITS = (
    Unit(
        name="postgresql.service", cgroup="/system.slice/postgresql.service", kind="notify",
        oom_policy="continue", oom_score_adj=-900, restart="no",
    ),
    Unit(name="user.slice", cgroup="/user.slice",
         managed=("ManagedOOMSwap", "ManagedOOMMemoryPressure")),
)  # fmt: skip


def test_active_units_are_read_in_whatever_order_their_settings_come() -> None:
    assert parse_units(SHOWN) == UNITS


@pytest.mark.parametrize("text", ["", "\n\n", "Id=\n", "Failed to connect to bus\n"])
def test_what_is_no_unit_is_none(text: str) -> None:
    assert parse_units(text) == ()


@pytest.fixture
def systemctl(tmp_path: Path) -> str:
    """A program that answers like it."""
    path = tmp_path / "systemctl"
    path.write_text(f"#!/bin/sh\ncat <<'END'\n{SHOWN}END\n")
    path.chmod(0o755)
    return str(path)


def test_the_manager_is_asked_only_where_systemd_is_the_init(
    tmp_path: Path, systemctl: str
) -> None:
    assert read_units(str(tmp_path), systemctl) == ()
    (tmp_path / "run/systemd/system").mkdir(parents=True)
    assert read_units(str(tmp_path), systemctl) == UNITS
    assert read_units(str(tmp_path), f"{systemctl}-absent") == ()
