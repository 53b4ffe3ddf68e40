"""systemd-oomd's configuration and that of the units, as a policy.

Facts of systemd 261 (the rules without ``.oomrule`` files: 247 and later):

* src/oom/oomd-conf.c, ``manager_set_defaults()``: 90 % of memory and swap, 60 % pressure, 30 s;
  ``ruleset_load_one()``: a ruleset without ``Action=`` or without a condition is ignored.
* src/oom/oomd-manager.c, ``monitor_swap_contexts_handler()``: every 150 ms; memory and swap both
  have to be used beyond the limit; candidates are below the units with ``ManagedOOMSwap=kill``.
  ``monitor_memory_pressure_contexts_handler()``: every second; ``avg10`` of ``full`` above the
  limit for as long as said (src/shared/psi-util.c, ``read_resource_pressure()``), pages scanned in
  the last 30 s, 15 s between two kills.
  ``recursively_get_cgroup_context()``: a candidate is a leaf, or has ``memory.oom.group``, which
  is not asked of the monitored cgroup itself. ``ruleset_check_conditions()``: the conditions of
  one ruleset hold together, several rulesets of a unit are alternatives.
  ``ruleset_execute_action()``: ``kill-by-swap`` chooses among all units with rules, the others in
  the unit; ``kill-by-pgscan`` ranks by what was scanned since the cgroup was made,
  ``ManagedOOMMemoryPressure=`` by the last second.
* src/oom/oomd-util.c, ``oomd_select_by_swap_usage()``: more than 5 % of all swap;
  ``oomd_fetch_cgroup_oom_preference()``: ``avoid`` and ``omit`` count of the candidate's own cgroup
  alone, if that is root's, or belongs to the owner of the monitored one (of swap: root).
* ``oomd_cgroup_kill()``: SIGKILL to all in the cgroup and below; ``oom_score_adj`` is not asked.
"""

import os
import re
import subprocess
from collections.abc import Callable
from typing import Any

from oomkit.policy.peers.found import Files, Found, Raw, by_name, one_fault, percent, span
from oomkit.policy.peers.oomd_units import Managed, from_units, shown
from oomkit.policy.peers.units import CONFIG, Entry, entries, seconds, share, standard_files

RULES = tuple(f"{one}/systemd/oomd/rules.d" for one in CONFIG)
_CONF = "systemd/oomd.conf"
_ACTIONS = ("kill-all", "kill-by-pgscan", "kill-by-swap")
_PROPERTIES = (
    "Id", "ControlGroup", "ManagedOOMSwap", "ManagedOOMMemoryPressure",
    "ManagedOOMMemoryPressureLimit", "ManagedOOMMemoryPressureDurationUSec",
    "ManagedOOMPreference", "OOMRules",
)  # fmt: skip
_SHOW = ("systemctl", "show", "*", "--no-pager", f"--property={','.join(_PROPERTIES)}")
_KEYS = {
    "SwapUsedLimit": share,
    "DefaultMemoryPressureLimit": share,
    "DefaultMemoryPressureDurationSec": seconds,
    "PrekillHookTimeoutSec": seconds,
}


def _action(text: str) -> str:
    if text not in _ACTIONS:
        raise ValueError(" or ".join(_ACTIONS))
    return text


_RULE_KEYS: dict[str, tuple[str, Callable[[str], Any], Any]] = {
    "MemoryPressureAbove": ("pressure", share, None),
    "SwapUsageMax": ("swap", share, None),
    "LastingSec": ("lasting_s", seconds, 0.0),
    "Action": ("action", _action, ""),
}
"""Attribute of a ruleset, what reads it, and what it is where nothing is said."""


class Limits:
    """What ``oomd.conf`` sets, at first as it comes.

    Attributes:
        swap_used: share of memory and of swap.
        pressure: share of time.
        duration_s: for how long.
    """

    def __init__(self) -> None:
        self.swap_used = 0.9
        self.pressure = 0.6
        self.duration_s = 30.0


class Ruleset:
    """One ``.oomrule`` file.

    Attributes:
        name: of it, without the suffix.
        place: the file.
        pressure, swap: what has to be exceeded; None: not asked.
        action: what is done then.
        lasting_s: for how long it has to be.
    """

    def __init__(self, name: str, place: str) -> None:
        self.name = name
        self.place = place
        self.pressure: float | None = None
        self.swap: float | None = None
        self.action = ""
        self.lasting_s = 0.0


def read_oomd(files: Files, where: str, *, given: bool) -> tuple[Raw, Found]:
    """What systemd-oomd would do.

    Args:
        files: reads them.
        where: one file: ``oomd.conf``, an ``.oomrule``, a unit, or what ``systemctl show`` printed;
            a folder with such files side by side; empty: what is below the root.
        given: the root of ``files`` is a copy of a machine: its systemd can't be asked.

    Raises:
        TomlError: something can't be read or is wrong; it lists all that is.
    """
    found = Found("systemd-oomd")
    found.version = "261"
    limits = Limits()
    rulesets: dict[str, Ruleset] = {}
    units: list[Managed] = []
    if where:
        for path in _files_at(files, where):
            text, place = files.text(path), files.where(path)
            if path.endswith(".oomrule"):
                _keep(_ruleset(text, path, place, found), rulesets)
            elif re.search(r"^(Id|ControlGroup)=", text, re.MULTILINE):
                units += shown(text, place, found)
            elif re.search(r"^\s*\[OOM\]", text, re.MULTILINE):
                _configure(limits, entries(text, place, found), found)
        units += from_units(files, where, found)
        if not files.read:
            raise one_fault(
                where, "expected oomd.conf, an .oomrule, a unit, or what systemctl show printed"
            )
    else:
        for path in standard_files(files, _CONF):
            _configure(limits, entries(files.text(path), files.where(path), found), found)
        for path in by_name(files, RULES, ".oomrule"):
            _keep(_ruleset(files.text(path), path, files.where(path), found), rulesets)
        live = None if given or files.root else _asked()
        if live is None:
            units += from_units(files, "", found)
        else:
            files.read.append(" ".join(_SHOW[:3]))
            units += shown(live, "systemctl show", found)
            units += from_units(files, "", found, users_alone=True)
    found.check()
    raw = _policy(limits, rulesets, units, found)
    return raw, found


def _files_at(files: Files, where: str) -> list[str]:
    if not files.is_directory(where):
        return [where]
    found = [f"{where}/{name}" for name in files.names(where)]
    conf = [path for path in found if path.endswith("oomd.conf") and files.has(path)]
    conf += by_name(files, (f"{where}/oomd.conf.d",), ".conf")
    rules = by_name(files, (where, f"{where}/rules.d"), ".oomrule")
    others = [p for p in found if p.endswith((".txt", ".show")) and files.has(p)]
    return [*conf, *rules, *others]


def _asked() -> str | None:
    """What this machine's systemd says of its units; None where there is none to ask."""
    if not os.path.isdir("/run/systemd/system"):
        return None
    try:
        done = subprocess.run(_SHOW, capture_output=True, timeout=20.0, check=True)
    except (OSError, subprocess.SubprocessError):
        return None
    return done.stdout.decode("utf-8", "replace")


def _configure(limits: Limits, said: list[Entry], found: Found) -> None:
    for one in said:
        parse = _KEYS.get(one.key) if one.section == "OOM" else None
        if parse is None:
            found.leave_out(
                one.place, f"[{one.section}] {one.key}", "systemd-oomd does not know it"
            )
            continue
        value: float | None = None
        if one.value:
            try:
                value = parse(one.value)
            except ValueError as error:
                found.fault(one.place, one.key, f"expected {error}, not {one.value!r}")
                continue
        if one.key == "SwapUsedLimit":
            limits.swap_used = 0.9 if value is None else value
        elif one.key == "DefaultMemoryPressureLimit":
            limits.pressure = 0.6 if value is None else value
        elif one.key == "DefaultMemoryPressureDurationSec":
            if value and not 1.0 <= value < float("inf"):
                found.fault(
                    one.place, one.key, f"expected 0, or a time from 1s on, not {one.value!r}"
                )
            limits.duration_s = value or 30.0
        elif value:
            found.leave_out(
                one.place, one.key, "programs are told of a kill, and waited for, first"
            )


def _ruleset(text: str, path: str, place: str, found: Found) -> Ruleset | None:
    ruleset = Ruleset(os.path.basename(path).removesuffix(".oomrule"), place)
    for one in entries(text, place, found):
        if one.section != "Rule" or one.key not in _RULE_KEYS:
            why = "systemd-oomd does not know it"
            found.leave_out(one.place, f"[{one.section}] {one.key}", why)
            continue
        attribute, parse, usual = _RULE_KEYS[one.key]
        try:
            setattr(ruleset, attribute, parse(one.value) if one.value else usual)
        except ValueError as error:
            found.fault(one.place, one.key, f"expected {error}, not {one.value!r}")
    lacks = ""
    if ruleset.pressure is None and ruleset.swap is None:
        lacks = "no MemoryPressureAbove= and no SwapUsageMax="
    elif not ruleset.action:
        lacks = "no Action="
    elif ruleset.lasting_s == float("inf"):
        lacks = "LastingSec=infinity"
    if lacks:
        found.traps.append(f"{place}: {lacks}: systemd-oomd ignores this ruleset")
        return None
    return ruleset


def _keep(ruleset: Ruleset | None, rulesets: dict[str, Ruleset]) -> None:
    if ruleset is not None:
        rulesets.setdefault(ruleset.name, ruleset)


def _policy(
    limits: Limits, rulesets: dict[str, Ruleset], units: list[Managed], found: Found
) -> Raw:
    swap = [one for one in units if one.swap]
    when = _swap_rule(limits, swap, units) if swap else []
    for unit in units:
        if unit.pressure:
            when.append(_pressure_rule(limits, unit, units))
    with_rules = [one for one in units if one.rules]
    for unit in with_rules:
        for name in unit.rules:
            ruleset = rulesets.get(name)
            if ruleset is None:
                found.traps.append(
                    f"{unit.place}: OOMRules={name}: there is no such ruleset: nothing happens"
                )
            else:
                when.append(_rule_of(ruleset, unit, with_rules, units))
    _traps(limits, rulesets, units, found)
    fast = bool(swap or with_rules)
    return {
        "name": "systemd-oomd",
        "about": "systemd-oomd as it is configured here; SIGKILL to whole cgroups",
        "look": {"least": "150ms" if fast else "1s", "most": "150ms" if fast else "1s"},
        "when": when,
        "whom": {
            "by": "reclaim_rate", "level": "cgroup", "most_processes": 1_000_000, "least": "0",
            "least_score": 0,
        },
        "how": {
            "term": False, "pause": "150ms", "hard_pause": "150ms", "together": False,
            "most_a_minute": 1_000_000,
        },
    }  # fmt: skip


def _swap_rule(limits: Limits, swap: list[Managed], units: list[Managed]) -> list[Raw]:
    rule: Raw = {
        "level": "hard",
        "available": percent(1.0 - limits.swap_used),
        "swap_used": percent(limits.swap_used),
        "by": "swap",
        "least": "5%",
        **_preferences(units, root_alone=True),
    }
    if not any(one.is_root for one in swap):
        rule["among"] = [one.pattern for one in swap]
    return [rule]


def _pressure_rule(limits: Limits, unit: Managed, units: list[Managed]) -> Raw:
    limit = limits.pressure if not unit.limit else unit.limit
    lasting_s = limits.duration_s if unit.duration_s is None else unit.duration_s
    return {
        "level": "hard",
        **_about(unit),
        "psi_full": percent(max(limit, 1e-4)),
        "reclaim": "1K/s",
        "over": "10s",
        "decaying": True,
        "for": span(lasting_s),
        "pause": "15s",
        **_preferences(units, root_alone=not unit.is_users),
    }


def _rule_of(
    ruleset: Ruleset, unit: Managed, with_rules: list[Managed], units: list[Managed]
) -> Raw:
    rule: Raw = {"level": "hard", "over": "10s", "for": span(ruleset.lasting_s), "pause": "0s"}
    if ruleset.pressure is not None:
        rule.update({"psi_full": percent(max(ruleset.pressure, 1e-4)), "decaying": True})
        rule.update(_about(unit))
    if ruleset.swap is not None:
        rule["swap_used"] = percent(ruleset.swap)
    if ruleset.action == "kill-by-swap":
        rule.update({"by": "swap", "least": "5%"}, **_preferences(units, root_alone=True))
        if not any(one.is_root for one in with_rules):
            rule["among"] = [one.pattern for one in with_rules]
        return rule
    if ruleset.pressure is None and not unit.is_root:
        rule["among"] = [unit.pattern]
    rule["by"] = "reclaim"
    if ruleset.action == "kill-all":
        rule["whole"] = True
        rule.setdefault("among", [unit.pattern]) if unit.is_root else None
        return rule
    rule.update(_preferences(units, root_alone=not unit.is_users))
    return rule


def _about(unit: Managed) -> Raw:
    """The root cgroup's pressure is the machine's."""
    return {} if unit.is_root else {"cgroup": unit.pattern}


def _preferences(units: list[Managed], *, root_alone: bool) -> Raw:
    counted = [one for one in units if not (root_alone and one.is_users)]
    found = {
        "spare": [one.pattern for one in counted if one.preference == "omit"],
        "last": [one.pattern for one in counted if one.preference == "avoid"],
    }
    return {key: patterns for key, patterns in found.items() if patterns}


def _traps(
    limits: Limits, rulesets: dict[str, Ruleset], units: list[Managed], found: Found
) -> None:
    add = found.traps.append
    if not any(one.swap or one.pressure or one.rules for one in units):
        add(
            "no unit has ManagedOOMSwap=kill, ManagedOOMMemoryPressure=kill or OOMRules=: "
            "systemd-oomd does nothing"
        )
        return
    if any(one.swap for one in units):
        used = percent(limits.swap_used)
        add(
            f"swap: acts only when memory and swap are both used beyond {used}, and only on a "
            "cgroup with more than 5% of all swap; without swap never"
        )
    elif not any(one.pressure for one in units):
        add(
            "nothing but rulesets acts: no unit has ManagedOOMSwap= or "
            "ManagedOOMMemoryPressure=kill"
        )
    used_rules = {name for one in units for name in one.rules}
    for name, ruleset in rulesets.items():
        if name not in used_rules:
            add(f"{ruleset.place}: no unit has OOMRules={name}: it is never used")
    for one in units:
        if one.preference in ("avoid", "omit"):
            about = f"{one.place}: ManagedOOMPreference={one.preference} of {one.name}"
            if one.name.endswith(".slice"):
                add(f"{about}: counts for no cgroup below it, only where that itself is chosen")
            if one.is_users:
                add(
                    f"{about}: a user's cgroup: does not count for swap, nor below a cgroup of root"
                )
    add(
        "a cgroup dies as a whole, by SIGKILL: a terminal's scope takes its shells and their work "
        "along, a session's scope the session"
    )
    add("oom_score_adj is not asked, -1000 either (oomkit spares what has it, and its cgroup)")
