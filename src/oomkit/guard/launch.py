"""From the full program to the daemon: everything that takes more than a small process has."""

import marshal
import os
import sys
from collections.abc import Sequence
from typing import NoReturn

import msgspec

import oomkit
from oomkit.errors import OomkitError
from oomkit.files.safely import is_safe_directory
from oomkit.guard import bootstrap
from oomkit.guard.config import Places, Settings, to_plain
from oomkit.guard.event_loop import STALL_US, WINDOW_US
from oomkit.guard.sensors import Sensors
from oomkit.host.cgroups import find_hierarchy
from oomkit.host.pidfd import is_own
from oomkit.host.psi_trigger import Trigger
from oomkit.policy.builtin import NAMES
from oomkit.policy.describe import effective, missing_words
from oomkit.policy.engine.candidate import Candidate
from oomkit.policy.engine.decider import Decider
from oomkit.policy.engine.evidence import factors_words
from oomkit.policy.engine.starts import Starts, from_values
from oomkit.policy.peers.read import parted
from oomkit.policy.records import Policy

_CAP_SYS_PTRACE = 1 << 19
_CAP_SYS_ADMIN = 1 << 21
_FIRST_USER_NAMESPACE = 0xEFFFFFFD
"""By inode (PROC_USER_INIT_INO, include/linux/proc_ns.h)."""
_UNREACHABLE = 1 << 40
"""systemd sets the machine's bound on open files as high as can be."""
_LEADING = ("PYTHON", "LD_", "BASH_FUNC_", "PERL", "RUBY")
_LOADING = frozenset({"BASH_ENV", "ENV", "GCONV_PATH", "GLIBC_TUNABLES", "IFS", "NODE_OPTIONS"})
_PATH = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"


class LaunchError(OomkitError):
    """The daemon can't be started; the text says why."""


def places_here(drill: str | None = None) -> Places:
    """Where this machine shows what the daemon looks at.

    Args:
        drill: a directory with ``meminfo`` and perhaps ``vmstat`` and ``pressure/memory`` that
            are looked at instead of those in ``/proc``.

    Raises:
        LaunchError: there is no such file, or ``/proc`` is not that of our pid namespace.
    """
    if not is_own("/proc"):
        raise LaunchError(
            "/proc: expected the proc file system of this pid namespace, in which /proc/self is "
            f"{os.getpid()}; in another one the same numbers are other processes"
        )
    if drill is not None and not os.path.isfile(f"{drill}/meminfo"):
        raise LaunchError(f"--drill {drill}: expected a directory with a file meminfo in it")
    hierarchy = find_hierarchy("/proc")
    return Places(
        signals=os.path.abspath(drill) if drill else "",
        cgroups=hierarchy.directory if hierarchy else "",
        cgroup_version=hierarchy.version if hierarchy else 0,
    )


def own_argv(module: str, *arguments: str) -> tuple[str, ...]:
    """The command that runs a module of ours, and no code of others.

    Isolated (``-I``), so that neither the current directory nor ``PYTHONPATH`` and its like say
    what is imported. Where this program and its library were found is looked at last.
    """
    found = [os.path.dirname(os.path.dirname(one.__file__ or "")) for one in (oomkit, msgspec)]
    code = f"import sys; sys.path += {found!r}; from {module} import main; sys.exit(main())"
    return (sys.executable, "-I", "-c", code, *arguments)


def compile_argv(source: str, overrides: Sequence[str]) -> tuple[str, ...]:
    """The command by which a daemon reads its policy again."""
    peer = parted(source)
    if peer is not None:
        daemon, where = peer
        name = f"{daemon}:{where if where[:1] in ('', '-') else os.path.abspath(where)}"
    else:
        name = source if source in NAMES else os.path.abspath(source)
    return own_argv("oomkit.guard.compile", name, *overrides)


def take_in_argv(journal: str, store: str) -> tuple[str, ...]:
    """The command by which a daemon has its journal taken into the history."""
    return own_argv("oomkit.history.import_journal", journal, store)


def learn_argv(recording: str) -> tuple[str, ...]:
    """The command by which a daemon has a recording teach it what starts of services take."""
    return own_argv("oomkit.history.learn_starts", recording)


def clean_environ() -> dict[str, str]:
    """The environment for what runs as root for long, and for the commands that it runs.

    What has programs load code from somewhere is left out, and so are the directories of PATH
    that others can change. An ordinary user's stays as it is.
    """
    if os.geteuid() != 0:
        return dict(os.environ)
    kept = {
        name: value
        for name, value in os.environ.items()
        if not name.startswith(_LEADING) and name not in _LOADING
    }
    places = [place for place in kept.get("PATH", "").split(":") if place.startswith("/")]
    kept["PATH"] = ":".join(filter(is_safe_directory, places)) or _PATH
    return kept


def refuse_managers(policy: Policy, settings: Settings) -> None:
    """Refuse a policy that only what manages its victims can carry out.

    Raises:
        LaunchError: it is one.
    """
    if policy.how.evict or "over_request" in settings.plan.rankings():
        raise LaunchError(
            f'policy {policy.name}: how.evict and by = "over_request" are for what manages its '
            "victims and knows what they requested, as the kubelet does; oomkit run plays it"
        )


def missing_here(policy: Policy, settings: Settings) -> tuple[str, ...]:
    """What the policy asks for and this machine does not show, in sentences.

    Raises:
        LaunchError: not even the size of memory can be read.
    """
    sensors = Sensors(settings.plan, settings)
    fields = sensors.fields
    try:
        reading = sensors.reading(0.0)
    finally:
        sensors.close()
    if reading is None:
        raise LaunchError(
            f"{settings.places.signals}/meminfo: expected MemTotal and MemAvailable (Linux 3.14)"
        )
    found = list(missing_words(policy, reading))
    if reading.psi_some_us is None:
        found.append(
            "there is no pressure (PSI), so nothing wakes the guard: it looks by the clock"
        )
    elif (trigger := _trigger(settings.places)) is None:
        found.append("no pressure triggers are allowed, so the guard looks by the clock")
    elif not trigger.fine:
        found.append(
            "pressure triggers are coarse (no CAP_SYS_RESOURCE), so the clock counts as well"
        )
    if os.geteuid() == 0 and "exe" in fields and not has_capability(_CAP_SYS_PTRACE):
        found.append(
            "the programs of others can't be seen (no CAP_SYS_PTRACE), so a never by exe spares "
            "every process that it could match"
        )
    if settings.plan.response.easements:
        found += _missing_for_easements(settings)
    if os.geteuid() != 0:
        found.append("not root: only processes of this user can be signalled")
    return tuple(found)


def _missing_for_easements(settings: Settings) -> list[str]:
    """What softer acts than a signal need and this machine does not have."""
    places, kinds = settings.places, {one.kind for one in settings.plan.response.easements}
    found = []
    if places.cgroup_version != 2:
        if kinds != {"freeze"}:
            found.append(
                "there is no cgroup v2 here, so nothing is reclaimed or throttled; what is frozen "
                "is stopped process by process"
            )
    elif "reclaim" in kinds and not os.path.exists(f"{places.cgroups}/memory.reclaim"):
        found.append("this kernel has no memory.reclaim (Linux 5.19), so nothing is reclaimed")
    if not settings.dry_run and not settings.state:
        found.append("there is no state file, so nothing is throttled or frozen: give --state FILE")
    return found


def start_exporter(listen: str, status: str, journal: str) -> int:
    """Start the process that serves metrics; it ends with us.

    Args:
        listen: where.
        status: the daemon's status file.
        journal: its journal, of which kills are counted; empty: none is kept.

    Raises:
        LaunchError: the address can't be used, or prometheus-client is not installed.
    """
    from oomkit.guard.exporter import ExporterError, listening, metrics_app

    try:
        metrics_app(status)
        listener = listening(listen)
    except ExporterError as error:
        raise LaunchError(str(error)) from None
    # It gets the socket that is open already, so that nothing can come in between.
    fd, inheritable = listener.fileno(), True
    os.set_inheritable(fd, inheritable)
    argv = own_argv("oomkit.history.exporter", listen, "--status", status)
    argv += ("--journal", journal) if journal else ()
    argv += ("--parent", str(os.getpid()), "--fd", str(fd))
    with listener:
        return os.posix_spawn(argv[0], argv, clean_environ(), setsigmask=())


def exec_daemon(settings: Settings) -> NoReturn:
    """Become the daemon.

    Raises:
        LaunchError: the small interpreter can't be started.
    """
    fd = os.memfd_create("oomkit-guard", 0)
    os.write(fd, marshal.dumps(to_plain(settings)))
    # Columns of the source in tracebacks would take memory that stays locked.
    argv = [sys.executable, "-I", "-S", "-X", "no_debug_ranges", bootstrap.__file__, str(fd)]
    sys.stdout.flush()
    sys.stderr.flush()
    try:
        os.execve(argv[0], argv, {**clean_environ(), bootstrap.BIND_NOW: "1"})
    except OSError as error:
        raise LaunchError(f"{argv[0]}: {error.strerror}") from None


def files_are_bounded() -> bool:
    """Whether this process may be refused a file because the machine has too many open.

    CAP_SYS_ADMIN goes beyond ``fs.file-max``, though not that of another user namespace.
    """
    try:
        with open("/proc/sys/fs/file-max", "rb") as file:
            most = int(file.read())
        user_namespace = os.stat("/proc/self/ns/user").st_ino
    except (OSError, ValueError):
        return True
    beyond = user_namespace == _FIRST_USER_NAMESPACE and has_capability(_CAP_SYS_ADMIN)
    return most < _UNREACHABLE and not beyond


def has_capability(bit: int) -> bool:
    """Whether this process has a capability in effect, by its bit."""
    with open("/proc/self/status", "rb") as status:
        effective = status.read().partition(b"CapEff:")[2].split(None, 1)[0]
    return bool(int(effective, 16) & bit)


def _trigger(places: Places) -> Trigger | None:
    try:
        trigger = Trigger(places.pressure, "some", STALL_US, WINDOW_US)
    except OSError:
        return None
    trigger.close()
    return trigger


class NoSuchProcessError(OomkitError):
    """There is no process of that number, or it is not ours to see."""


def candidates_here(settings: Settings) -> tuple[Candidate, ...]:
    """All processes with what the policy's patterns are about."""
    sensors = Sensors(settings.plan, settings, whole=True)
    try:
        pids = [int(name) for name in os.listdir(settings.places.proc) if name.isdigit()]
        return tuple(sensors.warm.also(pids, most=len(pids)))
    finally:
        sensors.close()


def first_here(settings: Settings, *, most: int = 5) -> tuple[str, ...]:
    """The processes that would be chosen first now, a line each; empty where cgroups are chosen."""
    if settings.plan.selection.level == "cgroup" or not settings.plan.rules:
        return ()
    decider = Decider(settings.plan, dry_run=True, starts=Starts(from_values(settings.starts)))
    ranked = decider.rank(candidates_here(settings))
    return tuple(
        f"{one.candidate.comm}[{one.candidate.pid}]: {factors_words(one)}"
        for one in ranked[:most]
        if not one.verdict
    )


def consider(policy: Policy, settings: Settings, pid: int) -> tuple[str, ...]:
    """What the policy means for a process, among all that are there now; a line each.

    Raises:
        NoSuchProcessError: see there.
    """
    sensors = Sensors(settings.plan, settings, whole=True)
    decider = Decider(settings.plan, dry_run=True)
    try:
        reading = sensors.reading(0.0)
        if reading is None:
            raise NoSuchProcessError("processes can't be read")
        decider.look(reading)
        processes, groups = sensors.candidates(reading, decider.growth, also=(pid,))
    finally:
        sensors.close()
    one = next((candidate for candidate in processes if candidate.pid == pid), None)
    if one is None:
        raise NoSuchProcessError(f"no process {pid} that can be seen from here")
    return effective(
        policy, one, processes=tuple(processes), groups=tuple(groups),
        starts=Starts(from_values(settings.starts)),
    )  # fmt: skip
