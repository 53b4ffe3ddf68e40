"""What the full program hands to the daemon, as plain values."""

from __future__ import annotations

import os

from oomkit.policy.engine.plan import Plan

TYPE_CHECKING = False

if TYPE_CHECKING:
    from collections.abc import Sequence
    from typing import Any

    Starts = Sequence[tuple[Any, ...]]


class Places:
    """Directories and the form of the memory cgroups.

    Attributes:
        proc: the processes.
        signals: meminfo, vmstat and pressure; other than ``proc`` in a drill, where made
            figures are to be acted on.
        sys: ``/sys``.
        cgroups: where the memory cgroups are mounted; empty where they are not.
        cgroup_version: 1 or 2; 0 where there are none.
    """

    __slots__ = ("cgroup_version", "cgroups", "proc", "signals", "sys")

    def __init__(
        self,
        proc: str = "/proc",
        signals: str = "",
        sys: str = "/sys",
        cgroups: str = "",
        cgroup_version: int = 0,
    ) -> None:
        self.proc = proc
        self.signals = signals or proc
        self.sys = sys
        self.cgroups = cgroups
        self.cgroup_version = cgroup_version

    @property
    def pressure(self) -> str:
        """The machine's pressure file, for triggers; empty in a drill, whose file has none."""
        return f"{self.proc}/pressure/memory" if self.signals == self.proc else ""


class Settings:
    """How the daemon shall run.

    Attributes:
        plan: the policy, compiled.
        source: the policy's name or file, for people.
        compile_argv: prints the plan of that policy, for SIGHUP.
        dry_run: do everything but the signals.
        places: where to look.
        missing: what can't be seen or done here, in sentences.
        journal: file of the records; empty: none.
        take_in_argv: imports the journal's full files into the history; empty: none is imported.
        recording: file of the flight recorder; empty: none.
        recording_bytes: its size.
        status: file that says what the daemon is doing; empty: none.
        state: file that keeps what is under way; empty: none.
        exporter: pid of the process that serves metrics; 0: there is none.
        files_bounded: we may be refused a file because the whole machine has too many open.
        self_test: kill a child of our own at the start, to see that killing works.
        learn_argv: prints what starts of services took by the recording; empty: nothing does.
        starts: the same, where it is known, as :func:`oomkit.policy.engine.starts.to_values`
            says it.
    """

    __slots__ = (
        "compile_argv", "dry_run", "exporter", "files_bounded", "journal", "learn_argv", "missing",
        "places", "plan", "recording", "recording_bytes", "self_test", "source", "starts", "state",
        "status", "take_in_argv",
    )  # fmt: skip

    def __init__(
        self,
        plan: Plan,
        *,
        source: str = "",
        compile_argv: tuple[str, ...] = (),
        dry_run: bool = True,
        places: Places | None = None,
        missing: tuple[str, ...] = (),
        journal: str = "",
        take_in_argv: tuple[str, ...] = (),
        recording: str = "",
        recording_bytes: int = 8 << 20,
        status: str = "",
        state: str = "",
        exporter: int = 0,
        files_bounded: bool = True,
        self_test: bool = True,
        learn_argv: tuple[str, ...] = (),
        starts: Starts = (),
    ) -> None:
        self.plan = plan
        self.source = source or plan.name
        self.compile_argv = compile_argv
        self.dry_run = dry_run
        self.places = places or Places()
        self.missing = missing
        self.journal = journal
        self.take_in_argv = take_in_argv
        self.recording = recording
        self.recording_bytes = recording_bytes
        self.status = status
        self.state = state
        self.exporter = exporter
        self.files_bounded = files_bounded
        self.self_test = self_test
        self.learn_argv = learn_argv
        self.starts = starts


def to_plain(settings: Settings) -> dict[str, Any]:
    """As a dictionary that :mod:`marshal` can carry."""
    plain = {name: getattr(settings, name) for name in Settings.__slots__}
    plain["plan"] = settings.plan.to_values()
    plain["places"] = {name: getattr(settings.places, name) for name in Places.__slots__}
    return plain


def from_plain(plain: dict[str, Any]) -> Settings:
    """The settings again."""
    return Settings(
        Plan.from_values(plain["plan"]),
        places=Places(**plain["places"]),
        **{name: plain[name] for name in Settings.__slots__ if name not in ("plan", "places")},
    )


SYSTEM_DIR = "/var/lib/oomkit"
RUN_DIR = "/run/oomkit"


def state_directory() -> str:
    """The directory of the journal, the history and the recording for this user.

    Root's is what systemd gives a service, else :data:`SYSTEM_DIR`; another user's follows the XDG
    base directories.
    """
    if os.geteuid() == 0:
        return os.environ.get("STATE_DIRECTORY", "").partition(":")[0] or SYSTEM_DIR
    base = os.environ.get("XDG_STATE_HOME") or os.path.expanduser("~/.local/state")
    return f"{base}/oomkit"


STATE_DIR = state_directory()
JOURNAL = f"{STATE_DIR}/journal.jsonl"
STORE = f"{STATE_DIR}/history.sqlite"
RECORDING = f"{STATE_DIR}/recording"
STATUS = f"{RUN_DIR}/status.json"
STATE = f"{RUN_DIR}/guard.state"


_PATH = "/proc/sys/kernel/random/boot_id"


def read_boot_id() -> bytes:
    """The kernel's boot id, 36 characters; empty where there is no proc file system."""
    try:
        fd = os.open(_PATH, os.O_RDONLY)
    except OSError:
        return b""
    try:
        return os.read(fd, 64).strip()
    finally:
        os.close(fd)
