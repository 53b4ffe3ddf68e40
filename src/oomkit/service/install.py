"""The guard's service, put into the init system of this machine and taken out again."""

import os
import re
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterable, Sequence
from contextlib import suppress
from importlib import resources
from pathlib import Path

import msgspec

import oomkit
from oomkit.errors import OomkitError
from oomkit.files.safely import open_output, open_trusted
from oomkit.host.configuration import Daemon
from oomkit.policy import builtin
from oomkit.service.machine_kind import Kind, Machine

UNIT = "oomkit-guard.service"
POLICY = "/etc/oomkit/policy.toml"
_UNIT_FILE = f"/etc/systemd/system/{UNIT}"
_PACKAGED = (f"/usr/lib/systemd/system/{UNIT}", f"/lib/systemd/system/{UNIT}")
_SETTINGS = "/etc/default/oomkit-guard"
_SCRIPT = "/etc/init.d/oomkit-guard"
_SCRIPT_SETTINGS = "/etc/conf.d/oomkit-guard"
_DATA = ("/var/lib/oomkit", "/run/oomkit", "/var/log/oomkit-guard.log")
_DEFAULT_COMMAND = "/usr/local/bin/oomkit"
_PLAIN = re.compile(r"[\w@%+=:,./-]+")

Run = Callable[[Sequence[str]], None]


class ServiceError(OomkitError):
    """The service can't be installed or removed; the text says why, and what to do."""


class Plan(msgspec.Struct, frozen=True, kw_only=True):
    """What is to be done.

    Attributes:
        init: ``systemd`` or ``openrc``.
        machine: what the machine is used for.
        files: path to text and mode, for those that are not there yet.
        kept: paths of those that are there and stay as they are.
        commands: what is run after that, in order.
        settings: the file that says ``--act`` or ``--dry-run``.
    """

    init: str
    machine: Machine
    files: dict[str, tuple[str, int]]
    kept: tuple[str, ...]
    commands: tuple[tuple[str, ...], ...]
    settings: str


def plan_install(
    machine: Machine, command: str, *, act: bool, daemons: Iterable[Daemon], root: str = ""
) -> Plan:
    """Say what installing the service takes; nothing is changed.

    Args:
        machine: chooses the policy.
        command: the path of this program.
        act: arm the guard.
        daemons: what guards memory here already.
        root: what stands before paths of the file system.

    Raises:
        ServiceError: there is no init system that is known, the program could be changed by
            others, or another daemon acts already.
    """
    init = init_system(root)
    _expect_alone([one for one in daemons if act and one.acts is not False])
    _expect_ours(command)
    settings = _SETTINGS if init == "systemd" else _SCRIPT_SETTINGS
    option = "--act" if act else "--dry-run"
    wanted = {
        POLICY: (policy_text(machine), 0o644),
        settings: (_settings_text(option), 0o644),
    }
    commands: tuple[tuple[str, ...], ...]
    if init == "systemd":
        if not any(os.path.exists(f"{root}{path}") for path in _PACKAGED):
            wanted[_UNIT_FILE] = (_with_command("systemd", UNIT, command), 0o644)
        commands = (("systemctl", "daemon-reload"), ("systemctl", "enable", UNIT),
                    ("systemctl", "restart", UNIT))  # fmt: skip
    else:
        wanted[_SCRIPT] = (_with_command("openrc", "oomkit-guard", command), 0o755)
        commands = (("rc-update", "add", "oomkit-guard", "default"),
                    ("rc-service", "oomkit-guard", "restart"))  # fmt: skip
    kept = tuple(path for path in wanted if os.path.lexists(f"{root}{path}"))
    files = {path: wanted[path] for path in wanted if path not in kept}
    if act and settings in kept:
        raise ServiceError(
            f"{settings}: is there already and stays as it is; put --act into it, "
            f"then {' '.join(commands[-1])}"
        )
    return Plan(
        init=init, machine=machine, files=files, kept=kept, commands=commands, settings=settings
    )


def install(plan: Plan, *, run: Run, root: str = "") -> None:
    """Do what a plan says; what was made is removed again if the service does not start.

    Args:
        plan: of :func:`plan_install`.
        run: runs a command, and raises ``ServiceError`` if it fails.
        root: what stands before paths of the file system.

    Raises:
        ServiceError: a file can't be written, or a command failed.
    """
    made: list[str] = []
    try:
        for path, (text, mode) in plan.files.items():
            target = f"{root}{path}"
            os.makedirs(os.path.dirname(target), mode=0o755, exist_ok=True)
            with open_output(target) as file:
                made.append(target)
                os.fchmod(file.fileno(), mode)
                file.write(text.encode())
        for argv in plan.commands:
            run(argv)
    except OSError as error:
        _undo(made)
        raise ServiceError(f"{error.filename}: {error.strerror}") from None
    except ServiceError:
        _undo(made)
        raise


def remove(*, run: Run, root: str = "") -> list[str]:
    """Stop the service and remove all that it and :func:`install` made, its history too.

    Args:
        run: runs a command, and raises ``ServiceError`` if it fails.
        root: what stands before paths of the file system.

    Returns:
        the paths that were removed.

    Raises:
        ServiceError: a package installed it, or a command or a removal failed.
    """
    init = init_system(root)
    packaged = next((path for path in _PACKAGED if os.path.exists(f"{root}{path}")), None)
    if packaged is not None:
        raise ServiceError(
            f"{packaged}: expected a service of oomkit guard --install; this one is a package's, "
            "which removes it: apt purge oomkit"
        )
    ours = (_UNIT_FILE, _SETTINGS) if init == "systemd" else (_SCRIPT, _SCRIPT_SETTINGS)
    found = [path for path in (*ours, POLICY, *_DATA) if os.path.lexists(f"{root}{path}")]
    if os.path.lexists(f"{root}{ours[0]}"):
        if init == "systemd":
            run(("systemctl", "disable", "--now", UNIT))
        else:
            run(("rc-service", "--ifstarted", "oomkit-guard", "stop"))
            run(("rc-update", "--all", "delete", "oomkit-guard"))
    for path in found:
        _remove(f"{root}{path}")
    with suppress(OSError):  # it is not there, or holds what others put into it
        os.rmdir(f"{root}{os.path.dirname(POLICY)}")
    if init == "systemd":
        run(("systemctl", "daemon-reload"))
    return found


def policy_text(machine: Machine) -> str:
    """The policy of a kind of machine: the default one, and whom it spares, with the reasons."""
    default = builtin.source("default").rstrip()
    name, _, rest = default.partition("\n")
    title = f'name = "{_name_of(machine.kind)}"' if name.startswith("name = ") else name
    head = (
        f"# Chosen by oomkit guard --install, for a {machine.kind}: {machine.evidence}.\n"
        "# It is yours: change it, then systemctl reload oomkit-guard. See docs/policy.md.\n"
    )
    spared = f"{_text('everywhere.toml')}\n{_text(f'{_name_of(machine.kind)}.toml')}"
    return f"{head}{title}\n{rest}\n\n{spared}"


def init_system(root: str = "") -> str:
    """``systemd`` or ``openrc``, whichever runs this machine.

    Raises:
        ServiceError: neither does.
    """
    if os.path.isdir(f"{root}/run/systemd/system"):
        return "systemd"
    if os.path.isdir(f"{root}/run/openrc"):
        return "openrc"
    raise ServiceError(
        "no service can be installed: expected a machine that systemd or OpenRC runs; contrib/ of "
        "the sources shows how the guard is started"
    )


def own_command() -> str:
    """The path under which this program can be started by the init system.

    Raises:
        ServiceError: there is none.
    """
    for path in (
        sys.argv[0],
        str(Path(sys.executable).with_name("oomkit")),
        shutil.which("oomkit"),
    ):
        if path and os.access(path, os.X_OK) and os.path.isfile(path):
            return os.path.realpath(path)
    raise ServiceError("oomkit: expected to be an installed command, such as by pipx or a package")


def run_command(argv: Sequence[str]) -> None:
    """Run a command of the init system.

    Raises:
        ServiceError: it failed; with what it said.
    """
    try:
        done = subprocess.run(argv, capture_output=True, text=True, check=False)
    except OSError as error:
        raise ServiceError(f"{argv[0]}: {error.strerror}") from None
    if done.returncode:
        said = " ".join((done.stderr or done.stdout).split()) or f"exit status {done.returncode}"
        raise ServiceError(f"{' '.join(argv)}: {said}")


def _expect_alone(acting: Sequence[Daemon]) -> None:
    if acting:
        one = acting[0]
        raise ServiceError(
            f"{one.name} (pid {one.pid}) ends processes already, and two daemons may both end one "
            f"for the same shortage: end it first ({stop_words(one)}), or install a dry run, "
            "without --act, beside it"
        )


def stop_words(daemon: Daemon) -> str:
    """What to type to end another daemon for good."""
    if daemon.name == "systemd-oomd":
        return "systemctl disable --now systemd-oomd.service systemd-oomd.socket"
    name = "oomkit-guard" if daemon.name.startswith("oomkit") else daemon.name
    return f"systemctl disable --now {name}"


def _expect_ours(command: str) -> None:
    """What root starts at each boot must be what only root can change."""
    if not _PLAIN.fullmatch(command):
        raise ServiceError(f"{command!r}: expected a path of plain characters for a service")
    try:
        os.close(open_trusted(command))
    except OSError as error:
        raise ServiceError(
            f"{command}: {error.strerror}; root would run it at each boot, so install oomkit where "
            "only root can write, such as by pipx install --global"
        ) from None


def _undo(made: Iterable[str]) -> None:
    for path in made:
        _remove(path)


def _remove(path: str) -> None:
    try:
        if os.path.isdir(path) and not os.path.islink(path):
            shutil.rmtree(path)
        else:
            os.unlink(path)
    except FileNotFoundError:
        return
    except OSError as error:
        raise ServiceError(f"{error.filename or path}: {error.strerror}") from None


def _settings_text(option: str) -> str:
    text = _shipped("systemd", "oomkit-guard.default")
    return text.replace("--dry-run --policy default", f"{option} --policy {POLICY}")


def _with_command(folder: str, name: str, command: str) -> str:
    return _shipped(folder, name).replace(_DEFAULT_COMMAND, command)


def _shipped(folder: str, name: str) -> str:
    """A file of contrib/: in the wheel beside this module, else in the sources."""
    beside = resources.files("oomkit.service").joinpath("contrib", folder, name)
    if beside.is_file():
        return beside.read_text(encoding="utf-8")
    path = Path(oomkit.__file__).parents[2] / "contrib" / folder / name
    try:
        return path.read_text(encoding="utf-8")
    except OSError:
        raise ServiceError(f"{folder}/{name}: is missing from this installation") from None


def _text(name: str) -> str:
    return resources.files("oomkit.service").joinpath(name).read_text(encoding="utf-8")


def _name_of(kind: Kind) -> str:
    return kind.replace(" ", "-")
