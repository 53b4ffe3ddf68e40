"""What ``--guard`` names: this project's guard with a policy, a peer, or only the measuring."""

import marshal
import os
import shlex
import tempfile
from collections.abc import Callable
from typing import Any

import msgspec

import oomkit
from oomkit.guard.config import Places, Settings, to_plain
from oomkit.policy.compile import compile_plan
from oomkit.policy.read import PolicyError, find_policy
from oomkit.real import packages, systemd_oomd
from oomkit.real.companion import Companion, NoDaemonError
from oomkit.real.errors import RealError
from oomkit.scenario.format import Scenario


class Daemon(msgspec.Struct, frozen=True, kw_only=True):
    """A peer as its package ships it.

    Attributes:
        name: of it and its package.
        program: its path where it is installed.
        companion: from where the package's files are (nothing for ``/``, or an unpacked package),
            how it is to be set other than it comes (or nothing), and what it runs beside, to what
            a guest needs.
        suite: of Debian, whose packages come along with all they depend on; empty: the package of
            its name alone, as this machine's apt knows it.
        packages: of that suite.
    """

    name: str
    program: str
    companion: Callable[[str, str, Scenario], Companion]
    suite: str = ""
    packages: tuple[str, ...] = ()


def _earlyoom(root: str, setting: str, _: Scenario) -> Companion:
    """As its unit starts it: no options but the distance of its reports; or with those given."""
    try:
        options = shlex.split(setting)
    except ValueError as error:
        raise NoDaemonError(f"earlyoom:{setting}: expected options ({error})") from None
    return Companion(
        name="earlyoom",
        command=("/usr/bin/earlyoom", *(options or ("-r", "3600"))),
        files={"/usr/bin/earlyoom": f"{root}/usr/bin/earlyoom"},
        ready="mem avail:",
    )


def _nohang(root: str, setting: str, _: Scenario) -> Companion:
    """As its unit starts it, with the configuration for servers that the package installs, or a
    file.
    """
    config = "/etc/nohang/nohang.conf"
    source = setting or f"{root}{config}"
    if not os.path.isfile(source):
        raise NoDaemonError(f"nohang:{setting}: expected a file with its configuration")
    return Companion(
        name="nohang",
        command=("/usr/bin/python3", "-SI", "/usr/sbin/nohang", "--monitor", "--config", config),
        files={"/usr/sbin/nohang": f"{root}/usr/sbin/nohang", config: source},
        modules=(
            "os", "ctypes", "time", "operator", "sys", "re", "sre_constants", "signal", "random",
            "logging", "threading", "shlex", "subprocess",
        ),
        ready="Monitoring has started",
    )  # fmt: skip


PEERS = {
    peer.name: peer
    for peer in (
        Daemon(name="earlyoom", program="/usr/bin/earlyoom", companion=_earlyoom),
        Daemon(name="nohang", program="/usr/sbin/nohang", companion=_nohang),
        Daemon(
            name="systemd-oomd",
            program=systemd_oomd.PROGRAM,
            companion=systemd_oomd.companion,
            suite="trixie",
            packages=("systemd", "systemd-oomd", "coreutils"),
        ),
    )
}


def find(name: str, setting: str, scenario: Scenario) -> Companion:
    """The companion of a peer's name: what is installed, else what was fetched.

    Args:
        name: of the peer.
        setting: earlyoom's options, a file with nohang's configuration, a file or folder with
            systemd-oomd's; empty: as it comes.
        scenario: what it will run beside.

    Raises:
        NoDaemonError: there is none of that name, or it is not here.
    """
    peer = PEERS.get(name)
    if peer is None:
        raise NoDaemonError(f"no daemon {name!r}; expected one of {', '.join(PEERS)}")
    root = root_of(peer)
    if root is None:
        raise NoDaemonError(
            f"{name} is not here: neither {peer.program} nor its package in "
            f"{packages.cache_directory('daemons')}; install it, or get Debian's with "
            f"oomkit daemons --fetch {name}"
        )
    return peer.companion(root.rstrip("/"), setting, scenario)


def root_of(peer: Daemon) -> str | None:
    """Where a peer's files are: ``/``, the directory it was unpacked to, or nowhere (None)."""
    for root in ("/", f"{packages.cache_directory('daemons')}/{peer.name}"):
        if os.path.isfile(f"{root.rstrip('/')}{peer.program}"):
            return root
    return None


def fetch(name: str) -> str:
    """Download and unpack a peer's Debian package, without installing it; returns where.

    Raises:
        NoDaemonError: there is none of that name.
        PackageError: apt is not here, or failed, or the download can't be saved.
    """
    peer = PEERS.get(name)
    if peer is None:
        raise NoDaemonError(f"no daemon {name!r}; expected one of {', '.join(PEERS)}")
    packages.need_cache("daemons")
    packages.needs(("apt-get", "dpkg-deb"), "fetching Debian's packages")
    with tempfile.TemporaryDirectory(prefix="oomkit-") as directory:
        os.chmod(directory, 0o755)
        apt = packages.SuitesApt() if peer.suite else packages.HostApt()
        if peer.suite:
            files = apt.download_whole(peer.suite, peer.packages, directory)
        else:
            files = [apt.download(name, directory)]
        return packages.unpack(files, packages.cache_directory("daemons"), name)


NONE = "none"
"""The kernel alone; reactions are measured."""

OWN = "oomkit"

_SETTINGS = "/etc/oomkit/settings"
_START = f"""
import os
os.chmod("/disk", 0o1777)  # it is all users', and the guard writes nothing where others may rename
fd = os.open({_SETTINGS!r}, os.O_RDONLY)
os.set_inheritable(fd, True)
import oomkit.guard.bootstrap as bootstrap
os.execv("/usr/bin/python3", ["/usr/bin/python3", "-I", "-S", bootstrap.__file__, str(fd)])
"""
"""What ``oomkit guard`` does last: become the daemon, with its settings in a descriptor."""


class PolicyOfGuardError(RealError):
    """The policy for the guard is wrong; the text says what and where."""


def companion_of(name: str, scenario: Scenario) -> Companion | None:
    """The daemon of a name.

    Args:
        name: ``none``; ``oomkit``, or ``oomkit:`` and a policy's name or file; or a peer of
            :data:`PEERS`, or that and ``:`` and its setting.
        scenario: what it will run beside.

    Raises:
        NoDaemonError: there is none of that name, or it is not here.
        PolicyOfGuardError: the policy is wrong.
    """
    if name == NONE:
        return None
    word, _, policy = name.partition(":")
    if word == OWN:
        return _guard(name, policy or "default", scenario)
    return find(word, policy, scenario)


def _guard(name: str, policy: str, scenario: Scenario) -> Companion:
    """Armed, with journal and flight recorder on the guest's disk, as it is on a server."""
    try:
        plan = compile_plan(find_policy(policy))
    except PolicyError as error:
        raise PolicyOfGuardError("; ".join(error.lines())) from None
    settings = Settings(plan, source=policy, dry_run=False, places=_places(scenario))
    settings.state = "/tmp/guard.state"
    if scenario.machine.programs_bytes:
        settings.journal = "/disk/journal.jsonl"
        settings.recording = "/disk/recording"
    return Companion(
        name=name,
        command=("/usr/bin/python3", "-I", "-S", "-c", _START),
        texts={_SETTINGS: marshal.dumps(to_plain(settings))},
        modules=(
            "oomkit.guard.bootstrap",
            "oomkit.guard.config",
            "oomkit.host.pidfd",
            "oomkit.guard.daemon",
            "oomkit.guard.flight_recorder",
            "oomkit.guard.recording_format",
            "oomkit.guard.bootstrap",
            "oomkit.host.libc",
            "oomkit.host.self_protection",
        ),
        paths=(os.path.dirname(os.path.dirname(os.path.abspath(oomkit.__file__))),),
        ready="started with policy",
    )


def _places(scenario: Scenario) -> Places:
    """Where the guest shows its cgroups."""
    where: dict[int, dict[str, Any]] = {
        2: {"cgroups": "/sys/fs/cgroup", "cgroup_version": 2},
        1: {"cgroups": "/cgroup/memory", "cgroup_version": 1},
    }
    versions = {group.version for group in scenario.cgroups}
    return Places(**where[max(versions)]) if versions else Places()
