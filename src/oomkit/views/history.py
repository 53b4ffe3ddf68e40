"""Records of the guard's history as a person reads them: one line each, or one in full."""

import textwrap
from collections.abc import Iterator, Sequence
from datetime import datetime
from typing import TYPE_CHECKING, Any

from oomkit.policy.engine.evidence import plain
from oomkit.printable import printable
from oomkit.render.quantities import human_bytes, seconds

if TYPE_CHECKING:
    from rich.table import Table

_KB = 1024
_COLUMN = 12
_ENDS = {
    "start": "guard started",
    "stop": "guard stopped",
    "reload": "policy read again",
    "warn": "memory gets short",
    "error": "error",
}
_OUTCOMES = {
    "died": "died",
    "spared": "memory came back, so it was spared",
    "survived": "did not die",
    "dry_run": "nothing was done (dry run)",
    "gone": "was gone already",
    "protected": "left alone: it was protected as its signal was due",
    "refused": "could not be signalled",
}


def local_time(time_s: float) -> str:
    """A moment in this machine's time zone, to the second."""
    try:
        return datetime.fromtimestamp(time_s).astimezone().strftime("%Y-%m-%d %H:%M:%S")
    except (OverflowError, OSError, ValueError):
        return f"{time_s:.0f} s"


def who(record: dict[str, Any]) -> str:
    """The victim, or empty."""
    victim = record.get("victim")
    source = victim if isinstance(victim, dict) else record
    comm, pid = source.get("comm"), source.get("pid")
    if comm is None and pid is None:
        return ""
    name = printable(f"{comm or '?'}[{pid if pid is not None else '?'}]")
    members = source.get("members")
    more = len(members) - 1 if isinstance(members, list) else 0
    return f"{name} +{more}" if more > 0 else name


def what(record: dict[str, Any]) -> str:
    """What happened, in a few words."""
    kind = record.get("kind")
    if kind == "act":
        return _act(record)
    if kind == "kernel_kill":
        return _kernel_kill(record)
    said = _ENDS.get(str(kind), printable(str(kind)))
    if kind == "reload" and record.get("ok") is False:
        said = "policy is wrong, the old one stays"
    text = record.get("text")
    if kind == "error" and text:
        return printable(str(text))
    parts = [said]
    if record.get("policy"):
        parts.append(f"policy {printable(str(record['policy']))}")
    if record.get("dry_run"):
        parts.append("dry run")
    if kind == "warn":
        parts += list(evidence_lines(record))
    if text:
        parts.append(printable(str(text)))
    return ": ".join([parts[0], ", ".join(parts[1:])]) if len(parts) > 1 else said


def _act(record: dict[str, Any]) -> str:
    policy = printable(str(record.get("policy", "?")))
    if record.get("dry_run"):
        victim = record.get("victim")
        expected = victim.get("expected_kb") if isinstance(victim, dict) else None
        would = f", would free {_size(expected)}" if expected else ""
        return f"would have been killed by {policy}{would}"
    if record.get("outcome") is None:
        return f"chosen by {policy}; how it ended is not known"
    if record.get("outcome") != "died":
        return f"chosen by {policy}: {_outcome(record)}"
    return f"killed by {policy}{_freed(record)}"


def _freed(record: dict[str, Any]) -> str:
    freed, after_ms = record.get("freed_kb"), record.get("freed_after_ms")
    if freed is None:
        return ""
    after = ""
    if isinstance(after_ms, (int, float)):
        short = after_ms < 1000.0
        after = f" after {after_ms:.0f} ms" if short else f" after {seconds(after_ms / 1000.0)}"
    return f", {_size(freed)} free{after}"


def _outcome(record: dict[str, Any]) -> str:
    outcome = str(record.get("outcome"))
    return _OUTCOMES.get(outcome, printable(outcome))


def _kernel_kill(record: dict[str, Any]) -> str:
    if record.get("seen") == "kmsg":
        return f"killed by the kernel ({record.get('scope', '?')} OOM)"
    count = record.get("count", "?")
    groups = record.get("cgroups")
    of = f" in {', '.join(map(printable, groups))}" if isinstance(groups, dict) and groups else ""
    return f"{count} killed by the kernel{of}; its log did not say whom"


def full(number: int, record: dict[str, Any]) -> Iterator[str]:
    """Yield the lines of one record, all that it says."""
    yield f"#{number} {local_time(record['time_s'])}  {who(record)} {what(record)}".rstrip()
    if record.get("kind") != "act":
        for name in sorted(set(record) - _KNOWN):
            value = record[name]
            texts = value if isinstance(value, list) else [value]
            words = (printable(_plain(text, name)) for text in texts)
            yield from _listed(_LABELS.get(name, name.replace("_", " ")), words)
        return
    rule = "" if record.get("rule") is None else f"rule {record['rule'] + 1}, "
    yield f"{'policy':<12}{printable(str(record.get('policy', '?')))} ({rule}{record.get('level')})"
    yield from _listed("why now", evidence_lines(record))
    victim = record.get("victim")
    if isinstance(victim, dict):
        yield from _listed("whom", _victim(victim))
    if record.get("reason"):
        yield f"{'why it':<12}{printable(str(record['reason']))}"
    yield from _listed("signals", _signals(record))
    if record.get("freed_kb") is not None:
        yield f"{'freed':<12}{_freed(record).removeprefix(', ')}"
    if record.get("outcome") is not None:
        yield f"{'outcome':<12}{_outcome(record)}"


def hanging(line: str, width: int) -> str:
    """A line of :func:`full`, wrapped below its text; a path or name stays whole."""
    indent = _COLUMN if len(line) > _COLUMN and line[_COLUMN - 1] == " " else 2
    return textwrap.fill(
        line,
        max(width, 2 * indent),
        subsequent_indent=" " * indent,
        break_long_words=False,
        break_on_hyphens=False,
        drop_whitespace=True,
    )


_KNOWN = frozenset(
    {"schema", "kind", "time_s", "mono_s", "boot_id", "lines", "pid", "comm", "text", "evidence"}
)


_LABELS = {
    "kernel_s": "kernel time",
    "seen": "seen in",
    "ok": "taken",
    "cgroups": "in cgroups",
    "resumed": "taken over",
    "lost": "lost",
}
"""What fields are called where a person reads them; others by their names."""

_VALUES = {
    ("seen", "kmsg"): "the kernel's log (/dev/kmsg)",
    ("seen", "vmstat"): "the kernel's counter of kills (/proc/vmstat)",
    ("scope", "global"): "the machine",
    ("scope", "memcg"): "a memory cgroup",
}


def _plain(value: object, name: str) -> str:
    if isinstance(value, str) and (name, value) in _VALUES:
        return _VALUES[name, value]
    if name == "kernel_s" and isinstance(value, (int, float)):
        return f"{value:.6f} s after boot"
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, dict):
        return ", ".join(f"{key} {item}" for key, item in value.items())
    return str(value)


def _listed(name: str, lines: Iterator[str]) -> Iterator[str]:
    for line in lines:
        yield f"{name:<12}{line}"
        name = ""


def evidence_lines(record: dict[str, Any]) -> Iterator[str]:
    """Yield the conditions of an act or a warning, with what was measured."""
    for one in record.get("evidence") or ():
        measured, threshold, unit = one.get("measured"), one.get("threshold"), one.get("unit")
        if measured is None:
            yield f"{one['name']} is not known here"
            continue
        falls = one["name"] in ("available", "swap_free", "limit_left", "empty_within")
        bound = "at most" if falls else "at least"
        held = f", for {seconds(one['held_s'])}" if one.get("held_s") else ""
        over = f" over {seconds(one['over_s'])}" if one.get("over_s") else ""
        where = f" of {printable(one['cgroup'])}" if one.get("cgroup") else ""
        fails = "" if one["holds"] else ": does not hold"
        yield (
            f"{one['name']}{where} {_measured(measured, unit)}{over} "
            f"({bound} {_measured(threshold, unit)}){held}{fails}"
        )


def _measured(value: float, unit: str | None) -> str:
    if unit == "kb":
        return _size(value)
    if unit == "kb/s":
        return f"{_size(value)}/s"
    if unit == "share":
        return f"{value * 100:.3g} %"
    return seconds(value) if unit == "s" else f"{value:g}"


def _victim(victim: dict[str, Any]) -> Iterator[str]:
    yield f"{who({'victim': victim})}, {_owner(victim)}, {victim.get('level', 'process')}"
    for name in ("cmdline", "unit", "cgroup", "container", "name", "note"):
        if victim.get(name):
            yield f"{name} {printable(str(victim[name]))}"
    members = victim.get("members") or ()
    if len(members) > 1:
        yield "with " + ", ".join(printable(f"{m['comm']}[{m['pid']}]") for m in members[1:])


def _owner(victim: dict[str, Any]) -> str:
    if victim.get("user"):
        return f"user {printable(str(victim['user']))}"
    return "user not known" if victim.get("uid") is None else f"uid {victim['uid']}"


def _signals(record: dict[str, Any]) -> Iterator[str]:
    begin = record.get("mono_s")
    for one in record.get("signals") or ():
        t_s = one.get("t_s")
        at = f"+{t_s - begin:.3f} s " if t_s is not None and begin is not None else ""
        failed = f": {printable(str(one['error']))}" if one.get("error") else ""
        why = f" ({printable(str(one['why']))})" if one.get("why") else ""
        yield f"{at}SIG{one.get('name', '?')} to {one.get('pid', '?')}{why}{failed}"


def _size(kb: float) -> str:
    return human_bytes(kb * _KB)


_SIZES = ("gain_kb", "rss", "swap", "growth")
"""First factors that are sizes, and so make the score one."""

_STYLES = {"kernel_kill": "red", "act": "yellow", "error": "red", "warn": "dim"}


def history_table(entries: Sequence[tuple[int, dict[str, Any]]]) -> "Table":
    """Lay out records, a row each, in the order given."""
    table = _table(("#", "right"), ("time", "left"), ("who", "left"))
    table.add_column("what")
    from rich.text import Text

    for number, record in entries:
        cells = (str(number), local_time(record["time_s"]), who(record), what(record))
        style = _STYLES.get(str(record.get("kind")))
        if record.get("kind") == "act" and record.get("dry_run"):
            style = None
        table.add_row(*map(Text, cells), style=style)
    return table


def candidates_table(record: dict[str, Any]) -> "Table":
    """Lay out the candidates an act was chosen from, and what their scores were made of."""
    from rich.text import Text

    table = _table(
        ("pid", "right"), ("name", "left"), ("frees", "right"), ("swap", "right"), ("adj", "right"),
        ("score", "right"),
    )  # fmt: skip
    table.add_column("factors")
    victim = record.get("victim")
    chosen = victim.get("pid") if isinstance(victim, dict) else None
    for row in record.get("candidates") or ():
        factors = row.get("factors") or {}
        in_kb = next(iter(factors), "") in _SIZES
        parts = [
            f"{printable(name.removesuffix('_kb'))} {_number(value, size=in_kb and not i)}"
            for i, (name, value) in enumerate(factors.items())
        ]
        if row.get("dies_with"):
            parts.append(f"with {row['dies_with']} more")
        cells = (
            str(row.get("pid")),
            printable(str(row.get("comm"))),
            human_bytes((row.get("freed_kb") or 0) * 1024),
            human_bytes(row["swap_kb"] * 1024) if row.get("swap_kb") else "-",
            str(row.get("oom_score_adj", "")),
            "-" if row.get("verdict") else _number(row.get("score") or 0, size=in_kb),
            printable(row.get("verdict") or "") or ", ".join(parts),
        )
        style = "dim" if row.get("verdict") else "bold" if row.get("pid") == chosen else None
        table.add_row(*map(Text, cells), style=style)
    return table


def _number(value: float | None, *, size: bool) -> str:
    if value is None:
        return "?"
    return human_bytes(value * 1024) if size else plain(value)


def _table(*columns: tuple[str, Any]) -> "Table":
    from rich.table import Table

    table = Table(box=None, pad_edge=False, header_style="bold", padding=(0, 1, 0, 0))
    for heading, justify in columns:
        table.add_column(heading, justify=justify, no_wrap=True)
    return table
