"""systemd-oomd beside a scenario: a real systemd is process 1, and makes cgroups of its units.

Facts of systemd 257: systemd-oomd learns from process 1 alone (varlink,
``io.systemd.ManagedOOM.SubscribeManagedOOMCGroups``: src/core/core-varlink.c,
src/oom/oomd-manager.c) which cgroups to watch, and reads ``avoid`` and ``omit`` from extended
attributes that process 1 sets. A slice lies in that of its name up to the last dash.
"""

import glob
import os
import re

from oomkit.policy.peers.read import read_peer
from oomkit.real.companion import Companion, NoDaemonError
from oomkit.real.static_agent import agent
from oomkit.scenario.format import Scenario
from oomkit.toml.table import TomlError

PROGRAM = "/usr/lib/systemd/systemd-oomd"
SYSTEMD = "/usr/lib/systemd/systemd"
_SYSTEM = "usr/lib/systemd/system"
_FILES = (
    PROGRAM, SYSTEMD, "/usr/lib/systemd/systemd-executor", "/usr/bin/cat",
    "/usr/bin/sleep", f"/{_SYSTEM}/systemd-oomd.service", f"/{_SYSTEM}/systemd-oomd.socket",
)  # fmt: skip
_OF_PACKAGE = (
    "etc/systemd/oomd.conf", "etc/systemd/oomd.conf.d/*.conf", "usr/lib/systemd/oomd.conf.d/*.conf",
    f"{_SYSTEM}/*.d/10-oomd-*.conf",
)  # fmt: skip
"""What Debian's package sets, beside the program's own defaults."""
_PIPE = "/daemon"
_TAKEN = re.compile(r"\[|\s*(ManagedOOM\w*|Memory\w+|Slice)\s*=")
"""Lines of a service that count where there is no such program."""

_AGENT = """[Unit]
DefaultDependencies=no
Requires=systemd-oomd.service
Wants={units}
After=systemd-oomd.service {units}
[Service]
ExecStart=/init guest
LimitMEMLOCK=infinity
ManagedOOMPreference=omit
OOMPolicy=continue
OOMScoreAdjust=-1000
"""
_OOMD = f"""[Unit]
FailureAction=poweroff-immediate
[Service]
StandardInput=file:{_PIPE}
StandardOutput=file:{_PIPE}
Environment=SYSTEMD_LOG_TARGET=console SYSTEMD_LOG_COLOR=no
"""
_SERVICE = """[Unit]
DefaultDependencies=no
[Service]
Type=exec
ExecStart=/usr/bin/sleep infinity
OOMPolicy=continue
Slice={slice}
"""
_DELEGATED = """Delegate=yes
DelegateSubgroup=init.scope
"""
_TEXTS = {
    "/etc/systemd/system.conf": "[Manager]\nShowStatus=no\nLogLevel=warning\nLogTarget=kmsg\n"
    "DefaultTasksMax=infinity\n",
    "/etc/systemd/system/default.target": "[Unit]\nRequires=oomkit-agent.service\n",
    "/etc/systemd/system/systemd-oomd.service.d/oomkit.conf": _OOMD,
    "/etc/machine-id": f"{1:032x}\n",
    "/etc/os-release": "ID=guest\n",
    "/etc/passwd": "root:x:0:0:root:/root:/bin/false\nsystemd-oom:x:998:998::/:/bin/false\n",
    "/etc/group": "root:x:0:\nsystemd-oom:x:998:\n",
}


def companion(root: str, setting: str, scenario: Scenario) -> Companion:
    """What a guest needs in which a real systemd starts systemd-oomd, and then the agent.

    Args:
        root: where its packages' files are.
        setting: a file or folder with its configuration and units, as a policy
            ``systemd-oomd:SETTING`` takes it; empty: as its package sets it.
        scenario: what it will run beside; of its cgroups those that may be units become units.

    Raises:
        NoDaemonError: something can't be had in such a guest; the text says what.
    """
    if agent().kind != "static":
        raise NoDaemonError(f"systemd-oomd needs the static agent: {agent().why}")
    if any(group.version == 1 for group in scenario.cgroups):
        raise NoDaemonError("systemd-oomd needs cgroups of version 2, and the scenario has v1's")
    units = units_of(scenario)
    texts = {**_TEXTS, **(_given(setting) if setting else _of_package(root))}
    names = " ".join(_escaped(name) for name in dict.fromkeys(units.values()))
    texts["/etc/systemd/system/oomkit-agent.service"] = _AGENT.format(units=names)
    uids = {1000}
    for path, name in units.items():
        if name.endswith(".service"):
            text = _SERVICE.format(slice=path.rpartition("/")[0].rpartition("/")[2] or "-.slice")
            if any(group.name.startswith(f"{path}/") for group in scenario.cgroups):
                text += _DELEGATED
            if user := re.fullmatch(r"user@(\d+)\.service", name):
                text += f"User={user[1]}\n"
                uids.add(int(user[1]))
            texts[f"/{_SYSTEM}/{name}"] = text
    for uid in sorted(uids - {0, 998}):
        texts["/etc/passwd"] += f"user{uid}:x:{uid}:{uid}::/:/bin/false\n"
        texts["/etc/group"] += f"user{uid}:x:{uid}:\n"
    return Companion(
        name="systemd-oomd",
        command=("/usr/bin/cat", _PIPE),
        files={path: f"{root}{path}" for path in _FILES if os.path.exists(f"{root}{path}")},
        texts={path: text.encode() for path, text in texts.items()},
        root=root,
        pipes=(_PIPE,),
        process_1=SYSTEMD,
        units=frozenset(units),
    )


def units_of(scenario: Scenario) -> dict[str, str]:
    """Its cgroups, and those above them, that systemd may make: path to name of the unit."""
    names = {group.name for group in scenario.cgroups}
    for name in tuple(names):
        parts = name.split("/")
        names.update("/".join(parts[:i]) for i in range(1, len(parts)))
    units: dict[str, str] = {}
    for path in sorted(names, key=lambda one: (one.count("/"), one)):
        above, _, name = path.rpartition("/")
        if above and not units.get(above, "").endswith(".slice"):
            continue
        stem, _, kind = name.rpartition(".")
        parent = stem.rpartition("-")[0]
        is_slice = kind == "slice" and units.get(above, "") == (f"{parent}.slice" if parent else "")
        if is_slice or kind == "service":
            units[path] = name
    return units


def _escaped(name: str) -> str:
    """A unit's name as a word of a unit file."""
    return name.replace("%", "%%").replace("\\", "\\\\")


def _of_package(root: str) -> dict[str, str]:
    found = (path for pattern in _OF_PACKAGE for path in sorted(glob.glob(f"{root}/{pattern}")))
    return {path.removeprefix(root): _text(path) for path in found}


def _given(setting: str) -> dict[str, str]:
    """The files of a configuration, where systemd looks for them."""
    try:
        _, origin = read_peer("systemd-oomd", setting)
    except TomlError as error:
        raise NoDaemonError("; ".join(error.lines())) from None
    here = os.path.abspath(setting)
    machine = os.path.isdir(here) and any(os.path.isdir(f"{here}/{one}") for one in ("etc", "usr"))
    texts: dict[str, str] = {}
    for path in origin.files:
        text = _text(path)
        if path.endswith(".oomrule") or re.search(r"^(Id|ControlGroup)=", text, re.MULTILINE):
            raise NoDaemonError(
                f"{path}: the guest's systemd can't be given such a file; expected oomd.conf, "
                "units and their drop-ins"
            )
        if not re.search(r"^\s*(\[OOM\]|ManagedOOM)", text, re.MULTILINE):
            continue
        inside = os.path.relpath(path, here if os.path.isdir(here) else os.path.dirname(here))
        target = f"/{inside}" if machine else _place(inside)
        if re.search(r"/[^/]+\.service$", target):
            lines = [line for line in text.splitlines() if _TAKEN.match(line)]
            target, text = f"{target}.d/00-unit.conf", "\n".join([*lines, ""])
        texts[target] = text
    return texts


def _place(inside: str) -> str:
    is_conf = inside == "oomd.conf" or inside.startswith("oomd.conf.d/")
    return f"/etc/systemd/{inside}" if is_conf else f"/etc/systemd/system/{inside}"


def _text(path: str) -> str:
    try:
        with open(path, encoding="utf-8") as file:
            return file.read()
    except (OSError, UnicodeDecodeError) as error:
        raise NoDaemonError(f"{path}: {getattr(error, 'strerror', error)}") from None
