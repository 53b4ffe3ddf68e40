"""nohang's configuration, as a policy.

Facts of hakavlad/nohang, 0.2.0 (which Debian ships) and 0.3.0; all is in ``src/nohang``:

* reading: only lines that begin in the first column; ``KEY = VALUE``, each key once, those that are
  missing end it; ``@KEY ADJ /// RE``; what it does not know is ignored in silence.
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

from oomkit.policy.peers.command_line import words_of
from oomkit.policy.peers.files import Files
from oomkit.policy.peers.found import Found, Raw, one_fault, percent, size, span
from oomkit.policy.peers.running import command_lines

CONFIGS = (
    "/etc/nohang/nohang-desktop.conf", "/etc/nohang/nohang.conf",
    "/usr/local/etc/nohang/nohang-desktop.conf", "/usr/local/etc/nohang/nohang.conf",
)  # fmt: skip
_SERVICES = ("nohang-desktop.service", "nohang.service")
_SEPARATOR = "///"
_FIELDS = {
    "NAME": "comm", "CMDLINE": "cmdline", "UID": "user", "CGROUP_V2": "cgroup", "REALPATH": "exe",
}  # fmt: skip
_NO_FIELD = {
    "CGROUP_V1": "the systemd hierarchy of version 1; patterns here are about the memory cgroup",
    "CWD": "the working directory is not read here",
    "ENVIRON": "the environment is not read here",
}
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


class Setting:
    """One ``KEY = VALUE``.

    Attributes:
        value: without spaces around it.
        place: file and line.
    """

    def __init__(self, value: str, place: str) -> None:
        self.value = value
        self.place = place


class _Config:
    """The settings of a file, each checked as it is asked for."""

    def __init__(self, path: str, found: Found) -> None:
        self.path = path
        self.found = found
        self.settings: dict[str, Setting] = {}
        self.asked: set[str] = set()
        self.adjustments: list[tuple[str, str, str, str]] = []
        self.actions: list[tuple[str, str, str, str]] = []
        self.flags: dict[str, str] = {}

    def text(self, key: str) -> str:
        """The value of a key that has to be there."""
        self.asked.add(key)
        if key not in self.settings:
            self.found.fault(self.path, key, "is missing; nohang would not start")
            return ""
        return self.settings[key].value

    def number(
        self, key: str, low: float, high: float | None = None, *, wrong: float = 0.0
    ) -> float:
        """A number of a range; ``wrong`` stands for one that is wrong."""
        text = self.text(key)
        try:
            value = float(text) if re.fullmatch(r"[+-]?[\d.]+(e[+-]?\d+)?", text) else -1e300
        except ValueError:
            value = -1e300
        if value < low or (high is not None and value > high):
            rest = "on" if high is None else f"to {high:g}"
            self._wrong(key, f"a number from {low:g} {rest}")
            return wrong
        return value

    def truth(self, key: str) -> bool:
        """``True`` or ``False``; a key that is missing is false."""
        was_asked = key in self.asked
        self.asked.add(key)
        if key not in self.settings:
            return False
        text = self.settings[key].value
        if text not in ("True", "False") and not was_asked:
            self._wrong(key, "True or False")
        return text == "True"

    def amount(self, key: str, low: float, high: float, *, swap: bool = False) -> str:
        """An amount such as ``5 %`` or ``300 M``, as a policy writes it.

        Args:
            key: which.
            low: least share, percent.
            high: largest share.
            swap: it is one of swap.
        """
        text = self.text(key)
        number = text[:-1].strip() if text[-1:] in ("%", "M") else ""
        try:
            value = float(number) if re.fullmatch(r"\d*\.?\d+|\d+\.", number, re.ASCII) else -1.0
        except ValueError:
            value = -1.0
        if value < 0.0 or (text.endswith("%") and not low <= value <= high):
            what = "swap" if swap else "memory"
            self._wrong(key, f"{low:g} to {high:g} % of {what}, or a size with M behind it")
            return "0"
        return percent(value / 100) if text.endswith("%") else size(value * 1024)

    def _wrong(self, key: str, expected: str) -> None:
        if key in self.settings:
            one = self.settings[key]
            self.found.fault(one.place, key, f"expected {expected}, not {one.value!r}")


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
    config = _parsed(files.text(path), files.where(path), found)
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


def _parsed(text: str, path: str, found: Found) -> _Config:
    config = _Config(path, found)
    for number, line in enumerate(text.split("\n"), start=1):
        place = f"{path}:{number}"
        if line[:1] in ("", "#"):
            continue
        if line[:1] in (" ", "\t"):
            if line.strip() and not line.strip().startswith(("#", "@")) and "=" in line:
                found.leave_out(place, line.strip()[:40], "it is indented: nohang ignores it")
            continue
        if line.startswith("@"):
            _parse_optional(line, place, config)
            continue
        key, equals, value = (part.strip() for part in line.partition("="))
        if not equals:
            found.leave_out(place, key[:40], "no KEY = VALUE: nohang ignores it")
        elif key in config.settings:
            expected = f"expected it once; it is in {config.settings[key].place} as well"
            found.fault(place, key, expected)
        else:
            config.settings[key] = Setting(value, place)
    return config


def _parse_optional(line: str, place: str, config: _Config) -> None:
    found = config.found
    word = re.match(r"@(BADNESS_ADJ_RE|SOFT_ACTION_RE)_([A-Z_0-9]+)\b", line)
    if word is None:
        if line.rstrip() in ("@check_kmsg", "@debug_kmsg"):
            config.flags[line.strip()] = place
        else:
            found.leave_out(
                place, line.split(maxsplit=1)[0][:40], "nohang does not know it, and ignores it"
            )
        return
    first, separator, second = line[word.end() :].partition(_SEPARATOR)
    first, second = first.strip(), second.strip()
    if word[1] == "BADNESS_ADJ_RE":
        if word[2] not in (*_FIELDS, *_NO_FIELD):
            found.leave_out(place, word[0], "nohang does not know it, and ignores it")
        elif not separator or not re.fullmatch(r"[+-]?\d+", first, re.ASCII):
            expected = f"expected NUMBER {_SEPARATOR} EXPRESSION, not {line.strip()[:60]!r}"
            found.fault(place, word[0], expected)
        elif _is_expression(second, place, word[0], found):
            config.adjustments.append((word[2], first, second, place))
    elif word[2] not in ("NAME", "CGROUP_V1", "CGROUP_V2"):
        found.leave_out(place, word[0], "nohang does not know it, and ignores it")
    elif not separator or not second:
        expected = f"expected EXPRESSION {_SEPARATOR} COMMAND, not {line.strip()[:60]!r}"
        found.fault(place, word[0], expected)
    elif _is_expression(first, place, word[0], found):
        config.actions.append((word[2], first, second, place))


def _is_expression(text: str, place: str, key: str, found: Found) -> bool:
    try:
        re.compile(text)
    except (re.error, RecursionError, OverflowError) as error:
        found.fault(place, key, f"expected a regular expression ({error}), not {text[:60]!r}")
        return False
    return True


def searched(expression: str) -> str:
    """A pattern that finds an expression anywhere; flags at its begin become those of a group."""
    flags = re.match(r"\(\?([aiLmsux]+)\)", expression)
    if flags is None:
        return f"search:{expression}"
    return f"search:(?{flags[1]}:{expression[flags.end() :]})"


def _policy(config: _Config, version: str, found: Found, files: Files) -> Raw:
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


def _zram_rules(config: _Config, levels: list[str], memory: dict[str, str]) -> list[Raw]:
    bounds = {"warning": (0, 100), "soft": (10, 90), "hard": (10, 90)}
    used = {level: config.amount(f"{level}_threshold_max_zram", *bounds[level])
            for level in ("warning", "soft", "hard")}  # fmt: skip
    if not config.truth("zram_checking_enabled"):
        return []
    return [_rule(level, available=memory[level], zram=used[level]) for level in levels]


def _psi_rules(config: _Config, levels: list[str], memory: dict[str, str]) -> list[Raw]:
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
        if level != "warning":
            rule.update({"for": span(for_s), "pause": span(pause_s)})
        rules.append(rule)
    return rules


def _adjusted(config: _Config) -> Raw:
    prefer: dict[str, list[Raw]] = {"prefer": [], "avoid": []}
    for name, number, expression, place in config.adjustments:
        points = int(number)
        if name in _NO_FIELD:
            key = f"@BADNESS_ADJ_RE_{name} {number} {_SEPARATOR} {expression}"
            config.found.leave_out(place, key, _NO_FIELD[name])
            continue
        match: Raw = {_FIELDS[name]: searched(expression)}
        match["points"] = min(abs(points), _MOST_POINTS)
        if points > 0:
            match["unless_lowered"] = True
        prefer["prefer" if points > 0 else "avoid"].append(match)
        if name == "UID":
            why = "it is the effective user in nohang; here the real one, by number or name"
            config.found.leave_out(place, f"@BADNESS_ADJ_RE_UID {expression}", why)
    return {key: matches for key, matches in prefer.items() if matches}


def _instead(config: _Config, files: Files) -> "list[Raw]":
    found = []
    for name, expression, command, place in config.actions:
        key = f"@SOFT_ACTION_RE_{name} {expression}"
        if name in _NO_FIELD:
            config.found.leave_out(place, key, _NO_FIELD[name])
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
        found.append({_FIELDS[name]: searched(expression), "command": [program, *words[1:]]})
    return found


def _program(name: str, files: Files) -> str:
    if name.startswith("/"):
        return name
    places = ("/usr/local/sbin", "/usr/local/bin", "/usr/sbin", "/usr/bin", "/sbin", "/bin")
    return next(
        (f"{one}/{name}" for one in places if "/" not in name and files.has(f"{one}/{name}")), ""
    )


def _name_the_rest(config: _Config) -> None:
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


def _traps(config: _Config, found: Found, levels: list[str]) -> None:
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
