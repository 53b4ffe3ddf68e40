"""What tests share: the installed command, and a made machine."""

import gc
import os
import re
import signal
import subprocess
from collections.abc import Callable, Iterator
from functools import cache
from pathlib import Path
from typing import Any

import pytest
from hypothesis import settings
from xdist.scheduler import LoadScopeScheduling

from oomkit.kernel.state import Memcg, Memory, Pressure, Snapshot, Sysctl, Task
from tests import forked

if os.environ.get("OOMKIT_PLAIN"):
    # `make plain` has the core alone; these need more.
    collect_ignore = [
        "explain/test_answers.py",
        "explain/test_misleading.py",
        "explain/test_more_kinds.py",
        "explain/test_numbers.py",
        "explain/test_recorded.py",
        "explain/test_story.py",
        "kernel/test_defaults.py",
        "kernel/test_faults.py",
        "kernel/test_recorded.py",
        "klog/test_recorded.py",
        "klog/test_recorded_texts.py",
        "model/test_battery.py",
        "model/test_moments.py",
        "model/test_of_snapshot.py",
        "model/test_recorded.py",
        "policy/test_kinds.py",
        "policy/test_recorded.py",
        "scenario/test_draws.py",
        "scenario/test_read.py",
    ]

Command = Callable[..., subprocess.CompletedProcess[str]]

# Elsewhere each run looks for new examples; in CI a change is judged by the same ones each time.
settings.register_profile("ci", derandomize=True, deadline=None)
settings.register_profile("here", deadline=None)
settings.load_profile("ci" if os.environ.get("CI") else "here")


_ALONE = ("cgroup", "qemu")
_ALONE_IN = ("guard", "real")
"""Folders whose tests start daemons and machines, those marked ``hermetic`` apart."""


_FIRST = (
    "model/test_wild_scenarios.py",
    "packaging",
    "test_packaging.py",
    "test_docs.py",
    "cli/test_run_views.py",
    "views/test_clicks.py",
)
"""Whose tests take longest: begun last they would leave the other workers idle."""

_LARGE = (
    "klog/test_ahead.py",
    "klog/test_hostile.py",
    "klog/test_styles.py",
    "model/test_conservation.py",
    "model/test_of_snapshot.py",
    "model/test_recorded.py",
    "model/test_sampler.py",
    "model/test_wild_scenarios.py",
    "policy/test_lean.py",
    "policy/peers/test_damage.py",
)
"""What ``make unit`` leaves out, beside properties and commands."""

# What is collected stays: looking for garbage among it, again and again, finds none.
gc.disable()


_PHASES = {
    "guest": ("mark.qemu", "mark.guest"),
    "alone and not guest": ("mark.cgroup", "mark.qemu"),
}
"""Phases of ``make test`` that run few tests, and words one of which stands in a file with some."""


_SHARED = re.compile(r"\b(?:facts|tab): ")
"""Of a file whose tests ask what one guest, or one browser, holds: a fixture of that name."""
_LONGEST = (
    "test_installed.py", "test_node.py", "test_debian_package.py", "test_systemd_unit.py",
    "test_containers.py", "test_soft_acts.py", "test_exec_delegated.py",
)  # fmt: skip
"""Files that take longest: these begin first, so that no CPU waits at last."""


def _place(item: pytest.Item) -> int:
    return _LONGEST.index(item.path.name) if item.path.name in _LONGEST else len(_LONGEST)


def _may_hold(path: Path, phase: str) -> bool:
    """Whether a file may hold tests of a phase; importing all takes longer than some."""
    folder = path.relative_to(Path(__file__).parent).parts[0]
    if phase != "guest" and folder in _ALONE_IN:
        return True
    text = path.read_text()
    return any(word in text for word in _PHASES[phase])


def pytest_ignore_collect(collection_path: Path, config: pytest.Config) -> bool | None:
    """Pass over files that have nothing for the phase that was asked for."""
    phase = config.getoption("markexpr")
    if phase in _PHASES and collection_path.suffix == ".py":
        return not _may_hold(collection_path, phase) or None
    return None


class _GuestScheduling(LoadScopeScheduling):  # type: ignore[misc]  # xdist has no types
    """Has tests that ask one guest or browser on one worker, others on any.

    Groups (``xdist_group``) would say so, but pytest 9.2 names tests without them.
    """

    def _split_scope(self, nodeid: str) -> str:
        path = nodeid.partition("::")[0]
        return path if _shares(self.config.rootpath / path) else nodeid


@cache
def _shares(path: Path) -> bool:
    return _SHARED.search(path.read_text()) is not None


@pytest.hookimpl(optionalhook=True)
def pytest_xdist_make_scheduler(config: pytest.Config, log: Any) -> LoadScopeScheduling | None:
    return _GuestScheduling(config, log) if config.getoption("markexpr") == "guest" else None


def _needs_guest(item: pytest.Item) -> bool:
    qemu = item.get_closest_marker("qemu") and not item.get_closest_marker("cgroup")
    return bool(qemu or item.get_closest_marker("guest"))


def pytest_collection_modifyitems(items: list[pytest.Item], config: pytest.Config) -> None:
    """Mark what must have the machine's clock to itself: kills, guests, daemons.

    A guest or a browser has a CPU to itself, so that as many may run side by side as there are
    CPUs.
    """
    here = Path(__file__).parent
    places = {path: path.relative_to(here) for path in {item.path for item in items}}
    seen: set[tuple[Path, str]] = set()
    for item in items:
        marks = {mark.name for mark in item.iter_markers()}
        daemons = places[item.path].parts[0] in _ALONE_IN and "hermetic" not in marks
        if daemons or not marks.isdisjoint(_ALONE):
            item.add_marker(pytest.mark.alone)
        if str(places[item.path]) in _LARGE or "oomkit" in getattr(item, "fixturenames", ()):
            item.add_marker(pytest.mark.large)
        if _needs_guest(item):
            item.add_marker(pytest.mark.guest)
            item.add_marker(pytest.mark.alone)
        if item.get_closest_marker("alone"):
            phase = "guest" if item.get_closest_marker("guest") else "alone and not guest"
            if (item.path, phase) not in seen and not _may_hold(item.path, phase):
                raise pytest.UsageError(f"{item.nodeid}: "
                                       f"expected one of {_PHASES[phase]} in its file")  # fmt: skip
            seen.add((item.path, phase))
    if config.getoption("markexpr") == "guest":
        items.sort(key=_place)
    else:
        items.sort(key=lambda item: not str(places[item.path]).startswith(_FIRST))


def pytest_collection_finish() -> None:
    gc.freeze()
    gc.enable()


@pytest.fixture(scope="session", autouse=True)
def _interruptible() -> Iterator[None]:
    """Background jobs of a shell ignore signals, and what tests start there would inherit that."""
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    hangup = signal.signal(signal.SIGHUP, signal.SIG_DFL)
    yield
    signal.signal(signal.SIGINT, before)
    signal.signal(signal.SIGHUP, hangup)


def pytest_sessionfinish() -> None:
    forked.close()


@pytest.fixture
def oomkit() -> Command:
    """Run the installed command as a process, 140 columns wide."""
    if os.environ.get("OOMKIT_PLAIN"):
        pytest.skip("the command needs more than the core")

    def run(
        *args: str, stdin: str | bytes = "", env: dict[str, str] | None = None
    ) -> subprocess.CompletedProcess[str]:
        return forked.command(*args, stdin=stdin, env={"COLUMNS": "140", **(env or {})})

    return run


def fits(line: str, width: int) -> bool:
    """Whether a line fits a window; a word of a command to type is never broken."""
    word = line.strip().removesuffix("\\").strip().removesuffix("&&").strip()
    return len(line) <= width or " " not in word


@pytest.fixture
def machine() -> Snapshot:
    """4 GiB of RAM, 1 GiB of swap; a database, a leak, sshd and one cgroup with a limit."""
    gib = 1 << 18
    tasks = (
        Task(pid=1, comm="systemd", global_init=True, rss_pages=3000, total_vm_pages=42000),
        Task(pid=2, comm="kthreadd", kthread=True, has_mm=False),
        Task(pid=500, comm="sshd", ppid=1, rss_pages=1800, pgtable_pages=20, oom_score_adj=-1000,
             total_vm_pages=3900, cap_sys_admin=True),
        Task(pid=812, comm="mysqld", ppid=1, uid=112, rss_pages=gib, swap_pages=20000,
             anon_rss_pages=gib - 9000, file_rss_pages=9000, shmem_rss_pages=0,
             pgtable_pages=700, total_vm_pages=2 * gib, start_s=10),
        Task(pid=900, comm="leak", ppid=1, uid=1000, rss_pages=gib // 2, pgtable_pages=300,
             total_vm_pages=gib, start_s=5000),
        Task(pid=901, comm="web", ppid=1, uid=33, rss_pages=20000, pgtable_pages=90,
             total_vm_pages=90000, cgroup="/pods/a"),
        Task(pid=902, comm="web", ppid=901, uid=33, rss_pages=30000, pgtable_pages=90,
             total_vm_pages=90000, cgroup="/pods/a"),
    )  # fmt: skip
    return Snapshot(
        kernel="6.12.111+deb12-cloud-amd64",
        memory=Memory(
            total_ram_pages=4 * gib,
            total_swap_pages=gib,
            free_pages=200000,
            available_pages=600000,
            free_swap_pages=gib - 20000,
            committed_pages=2 * gib,
            commit_limit_pages=3 * gib,
        ),
        sysctl=Sysctl(),
        tasks=tasks,
        memcgs=(
            Memcg(path="/"),
            Memcg(path="/pods", usage_pages=60000),
            Memcg(path="/pods/a", limit_pages=52000, usage_pages=51000, oom_group=True),
        ),
        pressure=Pressure(some_avg10=0.5),
        uptime_s=90000,
    )
