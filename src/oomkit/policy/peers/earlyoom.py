"""earlyoom's options, as a policy.

Facts of rfjakob/earlyoom, 1.7 (which Debian 12 ships), 1.8 and 1.9:

* main.c, ``main()``: the options, their defaults (10 and 5 % of memory and of swap); of ``-m`` and
  ``-M``, ``-s`` and ``-S`` together the lower counts; ``-S`` counts for nothing without swap.
* msg.c, ``parse_term_kill_tuple()``: ``TERM[,KILL]``; KILL is half of TERM where it is not given,
  and raises TERM where it is larger.
* main.c, ``lowmem_sig()``: both memory and swap have to be at or below their thresholds; without
  swap its share is 0 (meminfo.c).
* meminfo.c, ``parse_meminfo()``: from 1.8 on a share of memory is one of MemAvailable + AnonPages;
  before, of MemTotal.
* main.c, ``sleep_time_ms()``: it looks every 100 ms to 1 s, by 6000 kB and 800 kB a millisecond.
* kill.c, ``is_larger()``: the highest ``oom_score``, of equals the larger VmRSS; ``--prefer`` and
  ``--avoid`` add and take 300 points (with ``--sort-by-rss``, from 1.8 on, 3 GiB); expressions are
  held against the name alone; -1000 is skipped, any other adjustment counts as the kernel counts
  it. Up to 1.7 a process whose points are below 0 is not chosen.
* kill.c, ``kill_wait()``: SIGKILL follows SIGTERM only once memory is at or below KILL.
"""

import os
import re
from collections.abc import Sequence

from oomkit.policy.peers.command_line import assignments, command_lines, options, words_of
from oomkit.policy.peers.expressions import from_posix
from oomkit.policy.peers.found import Files, Found, Raw, one_fault, percent, size
from oomkit.policy.peers.units import Unit, system_unit

DEFAULTS = "/etc/default/earlyoom"
_PROGRAMS = ("/usr/bin/earlyoom", "/usr/local/bin/earlyoom", "/usr/sbin/earlyoom")
_VERSION = re.compile(rb"earlyoom v?(\d+)\.(\d+)[0-9A-Za-z.+~-]*\n")
_NEWEST = (1, 9)
_SHORT = "m:s:M:S:kingN:P:dvr:ph"
_LONG = {
    "prefer": True, "avoid": True, "ignore": True, "dryrun": False, "ignore-root-user": False,
    "sort-by-rss": False, "syslog": False, "kernel-oom": False, "help": False, "debug": False,
}  # fmt: skip
_SINCE_1_8 = ("--ignore", "--ignore-root-user", "--sort-by-rss", "--syslog")
_SINCE_1_9 = ("-P", "--kernel-oom")
_LEFT_OUT = {
    "-g": "the whole process group dies; here the process alone",
    "-N": "the script runs after a kill with EARLYOOM_* in its environment; it is "
    "how.after in a policy file, where it gets OOMKIT_*",
    "-P": "the program runs before a kill, 200 ms at most; name it as how.before in a policy file",
    "--kernel-oom": "the kernel's own killer is called to choose and kill; here the process "
    "with the highest oom_score is",
    "-k": "does nothing since 1.2",
    "-i": "does nothing since 1.7: a raised oom_score_adj counts",
    "-v": "prints the version and exits: earlyoom guards nothing",
    "-h": "prints help and exits: earlyoom guards nothing",
    "--help": "prints help and exits: earlyoom guards nothing",
}
_NO_EFFECT = {
    "-r": "how often it logs memory; nothing of that is decided by it",
    "-d": "it logs more",
    "--debug": "it logs more",
    "--syslog": "where it logs",
    "-p": "its own priority; oomkit guard sets its own",
}
_KIB = 1024


def read_earlyoom(files: Files, where: str, *, given: bool) -> tuple[Raw, Found]:
    """What an earlyoom is told.

    Args:
        files: reads them.
        where: a file of variables or with a command line, ``/proc/PID/cmdline``, or options such as
            ``-m 5``; empty: the earlyoom that runs, else its unit and ``/etc/default/earlyoom``.
        given: the root of ``files`` is a copy of a machine: what runs on this one does not count.

    Raises:
        TomlError: something can't be read or is wrong; it lists all that is.
    """
    found = Found("earlyoom")
    version = _version(files)
    found.version = ".".join(map(str, version))
    if where.startswith("-"):
        place, words = "options", _words(found, "options", where)
    elif where:
        place, words = _of_file(files, where, found)
    else:
        place, words = _of_machine(files, found, given=given)
    raw = _policy(words, place, version, found)
    found.check()
    return raw, found


def _version(files: Files) -> tuple[int, int]:
    """The version by the text that the program prints; the newest known where it is not there."""
    for path in _PROGRAMS:
        try:
            with open(files.where(path), "rb") as file:
                match = _VERSION.search(file.read(1 << 20))
        except OSError:
            continue
        if match is not None:
            return int(match[1]), int(match[2])
    return _NEWEST


def _words(found: Found, place: str, text: str) -> list[str]:
    try:
        return words_of(text)
    except ValueError as error:
        found.fault(place, "", f"expected {error}")
        return []


def _of_file(files: Files, where: str, found: Found) -> tuple[str, list[str]]:
    if os.path.basename(where) == "cmdline":
        return where, _running(files, where)
    text = files.text(where)
    place = files.where(where)
    if "\0" in text:
        return place, text.rstrip("\0").split("\0")[1:]
    for number, line in enumerate(text.split("\n"), start=1):
        stripped = line.strip()
        if re.match(r"(\S*/)?earlyoom(\s|$)", stripped):
            return f"{place}:{number}", _words(found, f"{place}:{number}", stripped)[1:]
    return _of_variables(text, place, found)


def _of_variables(text: str, place: str, found: Found) -> tuple[str, list[str]]:
    """What ``$EARLYOOM_ARGS`` of a file of variables says."""
    said, others = assignments(text)
    args = [one for one in said if one.name == "EARLYOOM_ARGS"]
    for one in said:
        if one.name != "EARLYOOM_ARGS":
            found.leave_out(f"{place}:{one.line}", one.name, "earlyoom's unit does not use it")
    for number, line in others:
        found.fault(f"{place}:{number}", "", f'expected NAME="VALUE", not {line.strip()[:40]!r}')
    for earlier in args[:-1]:
        found.leave_out(
            f"{place}:{earlier.line}", earlier.name, f"set again in line {args[-1].line}"
        )
    if not args:
        found.traps.append(f"{place}: no EARLYOOM_ARGS=: earlyoom's defaults hold")
        return place, []
    at = f"{place}:{args[-1].line}"
    return at, _words(found, at, args[-1].value)


def _of_machine(files: Files, found: Found, *, given: bool) -> tuple[str, list[str]]:
    if not given:
        for path, words in command_lines("earlyoom"):
            if os.path.basename(words[0]) == "earlyoom":
                files.read.append(path)
                return path, words[1:]
    unit = system_unit(files, "earlyoom.service")
    if unit is None and not files.has(DEFAULTS):
        raise one_fault(
            files.root + DEFAULTS, "expected it, a unit earlyoom.service, or an earlyoom that runs"
        )
    if unit is None:
        return _of_variables(files.text(DEFAULTS), files.where(DEFAULTS), found)
    return _of_unit(files, unit, found)


def _of_unit(files: Files, unit: Unit, found: Found) -> tuple[str, list[str]]:
    """The command of a unit, with the variables that it takes from files."""
    commands = unit.all("Service", "ExecStart")
    if not commands:
        raise one_fault(unit.name, "expected ExecStart=")
    command = commands[-1]
    words = _words(found, command.place, command.value.lstrip("@-:+!"))[1:]
    place, all_words = command.place, []
    for word in words:
        name = word[1:].strip("{}") if word.startswith("$") else ""
        if not name:
            all_words.append(word)
            continue
        value = next(
            (e.value for e in reversed(unit.all("Service", "Environment"))
             if e.value.strip("\"'").startswith(f"{name}=")), ""
        ).strip("\"'").partition("=")[2]  # fmt: skip
        for one in unit.all("Service", "EnvironmentFile"):
            path = one.value.lstrip("-")
            if files.has(path):
                at, more = _of_variables(files.text(path), files.where(path), found)
                place, value = at, ""
                all_words += more
        all_words += _words(found, command.place, value)
    return place, all_words


def _running(files: Files, path: str) -> list[str]:
    try:
        with open(path, "rb") as file:
            data = file.read()
    except OSError as error:
        raise one_fault(path, error.strerror or str(error)) from None
    if not data:
        raise one_fault(path, "expected a command line; this process has none")
    files.read.append(path)
    return data.rstrip(b"\0").decode("utf-8", "surrogateescape").split("\0")[1:]


class _Thresholds:
    """The thresholds of one option: at SIGTERM and at SIGKILL."""

    def __init__(self, term: float, kill: float) -> None:
        self.term = term
        self.kill = kill


def _tuple(value: str, most: float | None) -> _Thresholds:
    """``TERM[,KILL]``.

    Raises:
        ValueError: something else; the text says what was expected.
    """
    first, comma, second = value.partition(",")
    term = _number(first, most)
    kill = _number(second, most) if comma else term / 2
    if term == 0.0 and kill == 0.0:
        raise ValueError("thresholds that are not both 0")
    return _Thresholds(max(term, kill), kill)


def _number(text: str, most: float | None) -> float:
    """A number as strtod() reads it: nothing reads as 0."""
    expected = "a number from 0 on" if most is None else f"a number from 0 to {most:g}"
    if not re.fullmatch(r"\s*([+-]?(\d+\.?\d*|\.\d+)([eE][+-]?\d+)?)?", text, re.ASCII):
        raise ValueError(f"{expected}, or two with a comma between them")
    number = float(text or 0)
    if number < 0.0 or number == float("inf") or (most is not None and number > most):
        raise ValueError(expected)
    return number


def _policy(words: Sequence[str], place: str, version: tuple[int, int], found: Found) -> Raw:
    try:
        asked = options(words, _SHORT, _LONG)
    except ValueError as error:
        found.fault(place, "", f"expected {error}")
        return {}
    said: dict[str, str] = {}
    thresholds: dict[str, _Thresholds] = {}
    for one in asked:
        said[one.name] = one.value
        if one.name in _LEFT_OUT:
            found.leave_out(place, " ".join((one.name, one.value)).strip(), _LEFT_OUT[one.name])
        elif one.name in _NO_EFFECT:
            found.leave_out(place, " ".join((one.name, one.value)).strip(), _NO_EFFECT[one.name])
        _needs_version(one.name, version, place, found)
        try:
            if one.name in ("-m", "-s", "-M", "-S"):
                most = {"-m": 99.0, "-s": 100.0}.get(one.name)
                thresholds[one.name] = _tuple(one.value, most)
            elif one.name == "-r":
                _number(one.value, None)
        except ValueError as error:
            found.fault(place, one.name, f"expected {error}, not {one.value!r}")
    raw: Raw = {
        "name": "earlyoom",
        "about": f"earlyoom {found.version} as it is configured here",
        "look": {"least": "100ms", "most": "1s", "fill": "6000M/s", "swap_fill": "800M/s"},
        "when": _rules(thresholds, version, dry_run="--dryrun" in said),
        "whom": _whom(said, place, version, found),
        "how": {
            "term_wait": "1h", "term_least": "0s", "give_up": "10s", "pause": "0s",
            "hard_pause": "0s", "together": False, "most_a_minute": 1_000_000,
            "notify": "-n" in said,
        },
    }  # fmt: skip
    _traps(said, thresholds, version, found)
    return raw


def _needs_version(name: str, version: tuple[int, int], place: str, found: Found) -> None:
    for names, since in ((_SINCE_1_8, (1, 8)), (_SINCE_1_9, (1, 9))):
        if name in names and version < since:
            text = ".".join(map(str, since))
            found.fault(place, name, f"expected earlyoom {text} for it; here is {found.version}")


def _rules(
    thresholds: dict[str, _Thresholds], version: tuple[int, int], *, dry_run: bool
) -> list[Raw]:
    memory = "available_user" if version >= (1, 8) else "available"
    usual = _Thresholds(10.0, 5.0)
    rules = []
    for level in ("term", "kill"):
        rule: Raw = {"level": {"term": "soft", "kill": "hard"}[level]}
        if dry_run:
            rule["level"] = "warn"
        if "-m" in thresholds or "-M" not in thresholds:
            rule[memory] = percent(getattr(thresholds.get("-m", usual), level) / 100)
        if "-M" in thresholds:
            # MemAvailable is held against that share of MemTotal: 1.8 and later hold it against
            # MemAvailable + AnonPages, of which the same share is a little less.
            rule["available"] = [
                size(getattr(thresholds["-M"], level)),
                *([rule.pop("available")] if "available" in rule else []),
            ]
        if "-s" in thresholds or "-S" not in thresholds:
            rule["swap_free"] = [percent(getattr(thresholds.get("-s", usual), level) / 100)]
        if "-S" in thresholds:
            rule.setdefault("swap_free", []).append(size(getattr(thresholds["-S"], level)))
        rules.append(rule)
    return rules


def _whom(said: dict[str, str], place: str, version: tuple[int, int], found: Found) -> Raw:
    whom: Raw = {
        "by": "rss" if "--sort-by-rss" in said else "oom_score",
        "oom_group": False,
        "least": "0",
        # kill.c: `victim` begins with 0 points up to 1.7, with -9999 from 1.8 on.
        "least_score": 0 if version < (1, 8) else -9998,
        "most_processes": 1_000_000,
    }
    if "--sort-by-rss" in said:
        whom["least_score"] = -1_000_000
    never: list[Raw] = []
    if "--ignore-root-user" in said:
        never.append({"user": "0"})
    for option in ("--ignore", "--prefer", "--avoid"):
        if option not in said:
            continue
        try:
            match = {"comm": f"search:{from_posix(said[option])}"}
        except ValueError as error:
            found.fault(place, option, f"expected {error}, not {said[option]!r}")
            continue
        if option == "--ignore":
            never.append(match)
        else:
            whom[option[2:]] = [{**match, "points": 300, "size": "3G"}]
    if never:
        whom["never"] = never
    return whom


def _traps(
    said: dict[str, str], thresholds: dict[str, _Thresholds], version: tuple[int, int], found: Found
) -> None:
    memory = thresholds.get("-m") or thresholds.get("-M") or _Thresholds(10.0, 5.0)
    swap = thresholds.get("-s") or thresholds.get("-S") or _Thresholds(10.0, 5.0)
    add = found.traps.append
    if "--dryrun" in said:
        add("--dryrun: earlyoom only logs, and kills nothing")
    if memory.kill == 0.0 or swap.kill == 0.0:
        add(
            "the SIGKILL threshold is 0: a process that ignores SIGTERM is never killed, and "
            "memory runs out"
        )
    elif memory.term == memory.kill and swap.term == swap.kill:
        add("both thresholds are the same: SIGKILL at once, nothing is asked to exit first")
    if thresholds.get("-m") and memory.term > 50.0:
        add(f"-m {memory.term:g}: it acts while more than half of memory is available")
    if not {"-s", "-S"} & thresholds.keys() or swap.term < 100.0:
        add(
            "both memory and swap have to be low: with swap left it does nothing, however much the "
            "machine thrashes (-s 100 ignores swap)"
        )
    if "--prefer" not in said and "--avoid" not in said and "--ignore" not in said:
        add("no name is spared: a database, the desktop or sshd dies if its oom_score is highest")
    elif "--avoid" not in said and "--ignore" not in said:
        add("no name is avoided: what --prefer does not match dies by its oom_score")
    if "--avoid" in said and "--sort-by-rss" not in said:
        add(
            "--avoid only takes 300 points: what is larger by three tenths of memory dies all "
            "the same"
        )
    if "--sort-by-rss" in said:
        add("--sort-by-rss: oom_score_adj does not count, but for -1000; nor does swap")
    else:
        add(
            "a raised oom_score_adj counts as if the process were larger (300 as three tenths of "
            "memory): browsers' tabs die before what fills memory"
        )
    if version >= (1, 8) and "-M" in thresholds:
        add(
            "-M is made a share of MemTotal and held against MemAvailable + AnonPages: it acts "
            "later"
        )
