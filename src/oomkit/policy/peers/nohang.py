"""nohang's configuration, as a policy.

Facts of hakavlad/nohang, 0.2.0 (which Debian ships) and 0.3.0; all is in ``src/nohang``:

* ``check_mem_swap_ex()``: MemAvailable and SwapFree both at or below their thresholds.
  ``check_zram_ex()``: what zram occupies, and MemAvailable. ``check_psi_ex()``: with swap alone,
  with MemAvailable, for ``psi_excess_duration``, and ``psi_post_action_delay`` after the last act.
* ``pid_to_badness()``: ``oom_score``, and what expressions found anywhere in a property add or
  take; what adds does so only for an ``oom_score_adj`` from 0 on; with
  ``ignore_positive_oom_score_adj`` a raised adjustment is taken off (0.3.0: two thirds of it),
  which ``oom_score`` holds as two thirds since Linux 5.9. ``fast_find_victim()``: the highest; a
  score of 0 is no candidate.
* ``implement_corrective_action()``: SIGTERM or a command first, SIGKILL after
  ``max_soft_exit_time`` or at the hard threshold; ``victim_cache_time`` for which no other is
  chosen.
* ``sleep_after_check_mem()``: it looks by what memory and swap could fill.
"""

import re

from oomkit.policy.peers.command_line import command_lines, words_of
from oomkit.policy.peers.found import Files, Found, Raw, one_fault, size, span
from oomkit.policy.peers.nohang_config import FIELDS, NO_FIELD, SEPARATOR, NohangConfig, parsed

CONFIGS = (
    "/etc/nohang/nohang-desktop.conf", "/etc/nohang/nohang.conf",
    "/usr/local/etc/nohang/nohang-desktop.conf", "/usr/local/etc/nohang/nohang.conf",
)  # fmt: skip
_SERVICES = ("nohang-desktop.service", "nohang.service")
_PSI_WINDOWS = {"avg10": 10, "avg60": 60, "avg300": 300}
_MOST_POINTS = 2000
"""No score is higher, so more changes nothing."""
_LOGS = (
    "print_config_at_startup", "print_mem_check_results", "min_mem_report_interval",
    "print_proc_table", "extra_table_info", "print_victim_status", "print_victim_cmdline",
    "max_victim_ancestry_depth", "print_statistics", "debug_psi", "debug_gui_notifications",
    "debug_sleep", "debug_threading", "separate_log", "hide_corrective_action_type",
)  # fmt: skip
_LEFT_OUT = {
    "fill_rate_zram": "zram is looked at as often as memory",
    "warning_exe": "the program runs instead of a notification of low memory; here it is logged",
    "min_post_warning_delay": "warnings are logged when they begin",
    "env_cache_time": "how long environments of sessions are remembered for notifications",
    "post_kill_exe": "the program runs after SIGKILL alone; how.after in a policy file runs after "
    "each death",
    "post_soft_action_delay": "nohang 0.2.0 and 0.3.0 read it and wait for something else",
    "post_zombie_delay": "a zombie has given its memory back",
    "exe_timeout": "commands may take a minute here",
}
_SILENT_IF = {
    "fill_rate_zram": "4000", "warning_exe": "", "min_post_warning_delay": "60",
    "env_cache_time": "300", "post_kill_exe": "", "post_soft_action_delay": "3",
    "post_zombie_delay": "0.1", "exe_timeout": "20",
}  # fmt: skip
"""As it comes: whoever changed it is told."""


def read_nohang(files: Files, where: str, *, given: bool) -> tuple[Raw, Found]:
    """What a nohang does.

    Args:
        files: reads them.
        where: its configuration; empty: the one that the machine's unit names.
        given: the root of ``files`` is a copy of a machine.

    Raises:
        TomlError: it can't be read or is wrong; it lists all that is.
    """
    found = Found("nohang")
    path = where or _path_here(files, running=not given)
    version = _version(files)
    found.version = version
    config = parsed(files.text(path), files.where(path), found)
    raw = _policy(config, version, found, files)
    found.check()
    return raw, found


def _path_here(files: Files, *, running: bool) -> str:
    """The configuration of the nohang that runs, else of the unit that is enabled."""
    for _, words in command_lines("nohang") if running else ():
        after = [i + 1 for i, word in enumerate(words) if word in ("-c", "--config")]
        if after and after[-1] < len(words):
            return words[after[-1]]
    enabled = "/etc/systemd/system/multi-user.target.wants"
    for service in _SERVICES:
        name = f"/etc/nohang/{service.removesuffix('.service')}.conf"
        if files.masks(f"{enabled}/{service}") and files.has(name):
            return name
    for path in reversed(CONFIGS):
        if files.has(path):
            return path
    raise one_fault(f"{files.root}{CONFIGS[1]}", "expected nohang's configuration there")


def _version(files: Files) -> str:
    """0.3.0 takes two thirds of a raised adjustment off, 0.2.0 the whole."""
    for path in ("/usr/sbin/nohang", "/usr/local/sbin/nohang"):
        try:
            with open(files.where(path), "rb") as file:
                return "0.3.0" if b"oom_score_adj * 2 // 3" in file.read(1 << 20) else "0.2.0"
        except OSError:
            continue
    return "0.3.0"


def searched(expression: str) -> str:
    """A pattern that finds an expression anywhere; flags at its begin become those of a group."""
    flags = re.match(r"\(\?([aiLmsux]+)\)", expression)
    if flags is None:
        return f"search:{expression}"
    return f"search:(?{flags[1]}:{expression[flags.end() :]})"


def _policy(config: NohangConfig, version: str, found: Found, files: Files) -> Raw:
    memory = {level: config.amount(f"{level}_threshold_min_mem", 0, 50)
              for level in ("soft", "hard")}  # fmt: skip
    swap = {level: config.amount(f"{level}_threshold_min_swap", 0, 100, swap=True)
            for level in ("soft", "hard")}  # fmt: skip
    memory["warning"] = config.amount("warning_threshold_min_mem", 0, 100)
    swap["warning"] = config.amount("warning_threshold_min_swap", 0, 100, swap=True)
    levels = ["warning"] if config.truth("low_memory_warnings_enabled") else []
    levels += ["soft", "hard"]
    when = [_rule(level, available=memory[level], swap_free=swap[level]) for level in levels]
    when += _zram_rules(config, levels, memory)
    when += _psi_rules(config, levels, memory)
    whom: Raw = {
        "by": "oom_score", "oom_group": False, "least": "0", "most_processes": 1_000_000,
        "least_score": min(config.number("min_badness", 1), 1e6),
    }  # fmt: skip
    if config.truth("ignore_positive_oom_score_adj"):
        whom["raised_adj"] = 1.0 if version == "0.2.0" else 2 / 3
    whom.update(_adjusted(config))
    soft_exit_s = config.number("max_soft_exit_time", 0.1)
    cached_s = config.number("victim_cache_time", 0)
    slowest = config.number("max_sleep", 0.01, wrong=float("inf"))
    fastest = config.number("min_sleep", 0.01, slowest)
    raw: Raw = {
        "name": "nohang",
        "about": f"nohang {version} as it is configured here",
        "look": {
            "least": span(fastest), "most": span(slowest),
            "fill": f"{size(config.number('fill_rate_mem', 100) * 1024)}/s",
            "swap_fill": f"{size(config.number('fill_rate_swap', 100) * 1024)}/s",
        },
        "when": when,
        "whom": whom,
        "how": {
            "term_wait": span(soft_exit_s), "term_least": "0s", "give_up": "10s",
            "pause": span(fastest), "hard_pause": "0s", "together": False,
            "most_a_minute": 1_000_000,
            "notify": config.truth("post_action_gui_notifications"),
            "instead": list(_instead(config, files)),
        },
    }  # fmt: skip
    if cached_s != soft_exit_s:
        one = config.settings.get("victim_cache_time")
        why = "no other process is chosen for that long after SIGTERM; here for max_soft_exit_time"
        found.leave_out(one.place if one else config.path, "victim_cache_time", why)
    _name_the_rest(config)
    _traps(config, found, levels)
    return raw


def _rule(level: str, **conditions: object) -> Raw:
    return {"level": "warn" if level == "warning" else level, **conditions}


def _zram_rules(config: NohangConfig, levels: list[str], memory: dict[str, str]) -> list[Raw]:
    bounds = {"warning": (0, 100), "soft": (10, 90), "hard": (10, 90)}
    used = {level: config.amount(f"{level}_threshold_max_zram", *bounds[level])
            for level in ("warning", "soft", "hard")}  # fmt: skip
    if not config.truth("zram_checking_enabled"):
        return []
    return [_rule(level, available=memory[level], zram=used[level]) for level in levels]


def _psi_rules(config: NohangConfig, levels: list[str], memory: dict[str, str]) -> list[Raw]:
    most = {level: config.number(f"{level}_threshold_max_psi", 0 if level == "warning" else 1, 100)
            for level in ("warning", "soft", "hard")}  # fmt: skip
    for_s = config.number("psi_excess_duration", 0)
    pause_s = config.number("psi_post_action_delay", 10)
    metrics = config.text("psi_metrics")
    kind, _, window = metrics.partition("_")
    if kind not in ("some", "full") or window not in _PSI_WINDOWS:
        if "psi_metrics" in config.settings:
            one = config.settings["psi_metrics"]
            expected = "expected some_ or full_ and avg10, avg60 or avg300"
            config.found.fault(one.place, "psi_metrics", f"{expected}, not {metrics!r}")
        return []
    path = config.text("psi_path")
    if not config.truth("psi_checking_enabled"):
        return []
    if path != "/proc/pressure/memory":
        one = config.settings["psi_path"]
        why = "pressure of one cgroup beside the machine's memory; rules on pressure are left out"
        config.found.leave_out(one.place, f"psi_path = {path}", why)
        return []
    rules = []
    for level in levels:
        share = f"{max(most[level], 0.01):g}%"
        rule = _rule(level, available=memory[level], swap_used="0", **{f"psi_{kind}": share})
        rule["over"] = f"{_PSI_WINDOWS[window]}s"
        rule["decaying"] = True
        if level != "warning":
            rule.update({"for": span(for_s), "pause": span(pause_s)})
        rules.append(rule)
    return rules


def _adjusted(config: NohangConfig) -> Raw:
    prefer: dict[str, list[Raw]] = {"prefer": [], "avoid": []}
    for name, number, expression, place in config.adjustments:
        points = int(number)
        if name in NO_FIELD:
            key = f"@BADNESS_ADJ_RE_{name} {number} {SEPARATOR} {expression}"
            config.found.leave_out(place, key, NO_FIELD[name])
            continue
        match: Raw = {FIELDS[name]: searched(expression)}
        match["points"] = min(abs(points), _MOST_POINTS)
        if points > 0:
            match["unless_lowered"] = True
        prefer["prefer" if points > 0 else "avoid"].append(match)
        if name == "UID":
            why = "it is the effective user in nohang; here the real one, by number or name"
            config.found.leave_out(place, f"@BADNESS_ADJ_RE_UID {expression}", why)
    return {key: matches for key, matches in prefer.items() if matches}


def _instead(config: NohangConfig, files: Files) -> "list[Raw]":
    found = []
    for name, expression, command, place in config.actions:
        key = f"@SOFT_ACTION_RE_{name} {expression}"
        if name in NO_FIELD:
            config.found.leave_out(place, key, NO_FIELD[name])
            continue
        try:
            words = words_of(command)
        except ValueError as error:
            config.found.fault(place, key, f"expected {error}")
            continue
        program = _program(words[0], files) if words else ""
        if not program or not all(word.isprintable() for word in words):
            why = f"{command.split()[0]!r} is found in no directory of programs"
            config.found.leave_out(place, key, why)
            continue
        if "$SERVICE" in command:
            why = "$SERVICE is empty in nohang where it is no service; {unit} may be another unit"
            config.found.leave_out(place, key, why)
        words = [
            w.replace("$PID", "{pid}").replace("$NAME", "{comm}").replace("$SERVICE", "{unit}")
            for w in words
        ]
        found.append({FIELDS[name]: searched(expression), "command": [program, *words[1:]]})
    return found


def _program(name: str, files: Files) -> str:
    if name.startswith("/"):
        return name
    places = ("/usr/local/sbin", "/usr/local/bin", "/usr/sbin", "/usr/bin", "/sbin", "/bin")
    return next(
        (f"{one}/{name}" for one in places if "/" not in name and files.has(f"{one}/{name}")), ""
    )


def _name_the_rest(config: NohangConfig) -> None:
    found = config.found
    for key, why in _LEFT_OUT.items():
        value = config.text(key)
        if key in config.settings and value != _SILENT_IF[key]:
            found.leave_out(config.settings[key].place, f"{key} = {value}", why)
    config.asked.update(_LOGS)
    logs = [key for key in _LOGS if key in config.settings]
    if logs:
        place = config.settings[logs[0]].place
        found.leave_out(place, ", ".join(logs), "what nohang logs; nothing is decided by it")
    if "@check_kmsg" in config.flags:
        why = "nohang does nothing for a second after the kernel killed"
        found.leave_out(config.flags["@check_kmsg"], "@check_kmsg", why)
    if "@debug_kmsg" in config.flags:
        found.leave_out(config.flags["@debug_kmsg"], "@debug_kmsg", "it logs more")
    for key, one in config.settings.items():
        if key not in config.asked:
            found.leave_out(one.place, key, "nohang does not know it, and ignores it")


def _traps(config: NohangConfig, found: Found, levels: list[str]) -> None:
    add = found.traps.append
    if not config.truth("psi_checking_enabled"):
        add(
            "psi_checking_enabled is not True: with swap left it does nothing, however much the "
            "machine thrashes"
        )
    else:
        add("pressure counts only on a machine with swap")
    if not config.truth("zram_checking_enabled"):
        add("zram_checking_enabled is not True: zram counts as swap, whatever RAM it takes")
    if config.text("soft_threshold_min_mem") == config.text("hard_threshold_min_mem") and (
        config.text("soft_threshold_min_swap") == config.text("hard_threshold_min_swap")
    ):
        add(
            "soft and hard thresholds are the same: SIGKILL at once, nothing is asked to exit first"
        )
    if not config.truth("ignore_positive_oom_score_adj"):
        add(
            "a raised oom_score_adj counts as if the process were larger: browsers' tabs die "
            "before what fills memory"
        )
    if not any(int(number) < 0 for _, number, _, _ in config.adjustments):
        add(
            "no process is avoided: a database, the desktop or sshd dies if its oom_score is "
            "highest"
        )
    if "warning" not in levels:
        add("low_memory_warnings_enabled is not True: nobody is warned")
