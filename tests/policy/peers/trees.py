"""Copies of machines, and what their daemons would choose."""

from pathlib import Path

import pytest

from oomkit.policy.compile import compile_plan
from oomkit.policy.engine.candidate import Candidate
from oomkit.policy.engine.decider import Decider
from oomkit.policy.engine.reading import CgroupReading, Reading
from oomkit.policy.read import PolicyError, find_policy
from oomkit.policy.records import Policy

MIB = 1024.0
TOTAL_KB = 4096 * MIB
NANO = """\
post_zombie_delay = 0.1
victim_cache_time = 10
env_cache_time = 300
exe_timeout = 20
fill_rate_mem = 6000
fill_rate_swap = 2000
fill_rate_zram = 4000
post_soft_action_delay = 3
psi_post_action_delay = 15
hard_threshold_max_psi = 90
soft_threshold_max_psi = 40
warning_threshold_max_psi = 10
min_badness = 1
min_post_warning_delay = 60
warning_threshold_min_swap = 25 %
warning_threshold_min_mem = 20 %
warning_threshold_max_zram = 45 %
soft_threshold_min_mem = 5 %
soft_threshold_min_swap = 10 %
soft_threshold_max_zram = 55 %
hard_threshold_min_mem = 2 %
hard_threshold_min_swap = 4 %
hard_threshold_max_zram = 60 %
max_victim_ancestry_depth = 3
max_soft_exit_time = 10
post_kill_exe =
psi_path = /proc/pressure/memory
psi_metrics = full_avg10
warning_exe =
extra_table_info = None
min_mem_report_interval = 60
psi_excess_duration = 30
max_sleep = 3
min_sleep = 0.1
"""
"""All that nohang wants to be told, as it comes."""


def write(root: Path, files: dict[str, str]) -> Path:
    for name, text in files.items():
        path = root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
    return root


def lines_of(name: str) -> list[str]:
    """What is wrong with a configuration."""
    with pytest.raises(PolicyError) as caught:
        find_policy(name)
    return caught.value.lines()


def read(daemon: str, root: Path, files: dict[str, str]) -> Policy:
    return find_policy(f"{daemon}:{write(root, files)}")


def reading(
    t_s: float = 0.0,
    *,
    available: float = 0.5,
    swap: float = 1.0,
    swap_mb: float = 1024.0,
    groups: tuple[CgroupReading, ...] = (),
    **fields: float,
) -> Reading:
    """A machine of 4 GiB with such shares of memory available and swap free."""
    swap_kb = swap_mb * MIB
    return Reading(
        t_s, TOTAL_KB, available * TOTAL_KB, swap_kb, swap * swap_kb, cgroups=groups, **fields
    )


def chosen(
    policy: Policy,
    candidates: list[Candidate],
    *moments: Reading,
    groups: tuple[CgroupReading, ...] = (),
) -> list[str]:
    """Names of those that are signalled at the last of the moments; empty: none."""
    decider = Decider(compile_plan(policy))
    for moment in moments:
        look = decider.look(moment)
    if not look.choose:
        return []
    act = decider.choose(candidates, groups)
    return [] if act is None else sorted(member.comm for member in act.choice.members)


def process(pid: int, comm: str, **fields: object) -> Candidate:
    return Candidate(pid, pid, 1, comm, **fields)  # type: ignore[arg-type]  # fields of the record
