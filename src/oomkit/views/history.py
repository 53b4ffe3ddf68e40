"""Records of the guard's history as a person reads them: one line each, or one in full."""

import textwrap
from collections.abc import Iterator, Sequence
from datetime import datetime
from typing import Any

from oomkit.history.records import (
    Act,
    Eased,
    Evidence,
    KernelKill,
    Member,
    Record,
    Reloaded,
    Victim,
    Warned,
)
from oomkit.policy.engine.conditions import KINDS
from oomkit.policy.engine.evidence import SHOWN, plain, start_words
from oomkit.printable import printable
from oomkit.render.document import Table
from oomkit.render.layout import Column, unbroken
from oomkit.render.quantities import kb, seconds, time_share, uptime

_COLUMN = 12
_ENDS = {
    "start": "guard started",
    "stop": "guard stopped",
    "reload": "policy reloaded",
    "warn": "low memory",
    "error": "error",
}
_OUTCOMES = {
    "died": "died",
    "spared": "memory recovered, so it was spared",
    "survived": "did not exit",
    "dry_run": "nothing was done (dry run)",
    "gone": "had exited already",
    "protected": "not signalled: it had become protected",
    "refused": "could not be signalled",
}


def local_time(time_s: float) -> str:
    """A moment in this machine's time zone, to the second."""
    try:
        return datetime.fromtimestamp(time_s).astimezone().strftime("%Y-%m-%d %H:%M:%S")
    except (OverflowError, OSError, ValueError):
        return f"{time_s:.0f} s"


def victim_of(record: Record) -> str:
    """The victim, or empty."""
    one = record.victim if isinstance(record, (Act, Eased)) else record
    if not isinstance(one, (Victim, KernelKill)) or (one.comm is None and one.pid is None):
        return ""
    name = _process(one)
    members = one.members if isinstance(one, Victim) else None
    return f"{name} +{len(members) - 1}" if members and len(members) > 1 else name


def _process(one: Victim | KernelKill | Member) -> str:
    return printable(f"{one.comm or '?'}[{one.pid if one.pid is not None else '?'}]")


def what(record: Record) -> str:
    """What happened, in a few words."""
    if isinstance(record, Act):
        return _act(record)
    if isinstance(record, Eased):
        return _eased(record)
    if isinstance(record, KernelKill):
        return _kernel_kill(record)
    if record.kind == "error" and record.text:
        return printable(record.text)
    said = _ENDS.get(record.kind, printable(record.kind))
    if isinstance(record, Reloaded) and record.ok is False:
        said = "policy reload failed, keeping the old one"
    parts = []
    if record.policy:
        parts.append(f"policy {printable(record.policy)}")
    if record.dry_run:
        parts.append("dry run")
    if isinstance(record, Warned):
        parts += list(evidence_lines(record.evidence))
    if record.text:
        parts.append(printable(record.text))
    return f"{said}: {', '.join(parts)}" if parts else said


def _act(record: Act) -> str:
    policy = printable(record.policy or "?")
    if record.dry_run:
        expected = record.victim.expected_kb if record.victim is not None else None
        would = f", would free {kb(expected)}" if expected else ""
        return f"would have been killed by {policy}{would}"
    if record.outcome is None:
        return f"chosen by {policy}; outcome unknown"
    if record.outcome != "died":
        return f"chosen by {policy}: {_outcome(record.outcome)}"
    return f"killed by {policy}{_freed(record)}"


_EASED = {"reclaim": "reclaimed from", "throttle": "throttled", "freeze": "frozen"}


def _eased(record: Eased) -> str:
    """A softer act, in a few words."""
    done = _EASED.get(record.act or "", printable(record.act or "?"))
    where = f" {printable(record.place)}" if record.place else ""
    by = f"{done}{where} by {printable(record.policy or '?')}"
    if record.dry_run:
        return f"would have been {by}"
    if record.outcome == "refused":
        return f"not {by}: {printable(record.text or '?')}"
    return f"{by}, {'; '.join(_how_it_ended(record))}"


def _how_it_ended(record: Eased) -> Iterator[str]:
    if record.outcome == "done":
        yield f"{kb(record.freed_kb)} less in use" if record.freed_kb is not None else "done"
    elif record.outcome == "taken back":
        after = f" after {seconds(record.after_ms / 1000)}" if record.after_ms is not None else ""
        yield f"taken back{after}"
    elif record.outcome == "left":
        yield "left as it is, since something else changed it"
    elif record.outcome == "gone":
        yield "over, since it is gone"
    elif record.act == "reclaim":
        yield "under way"
    else:
        lasts = seconds(record.lasts_s) if record.lasts_s is not None else "?"
        yield f"for {lasts}; its end is not recorded"
    if record.text:
        yield printable(record.text)


def _freed(record: Act) -> str:
    freed, after_ms = record.freed_kb, record.freed_after_ms
    if freed is None:
        return ""
    after = ""
    if after_ms is not None:
        short = after_ms < 1000.0
        after = f" after {after_ms:.0f} ms" if short else f" after {seconds(after_ms / 1000.0)}"
    return f", {kb(freed)} free{after}"


def _outcome(outcome: str) -> str:
    return _OUTCOMES.get(outcome, printable(outcome))


def _kernel_kill(record: KernelKill) -> str:
    if record.seen == "kmsg":
        return f"killed by the kernel ({record.scope or '?'} OOM)"
    count = "?" if record.count is None else record.count
    of = f" in {', '.join(map(printable, record.cgroups))}" if record.cgroups else ""
    return f"{count} killed by the kernel{of}; its log does not name them"


def full(number: int, record: Record, values: dict[str, Any]) -> Iterator[str]:
    """Yield the lines of one record, all that it says.

    Args:
        number: of the record in its store.
        record: the record.
        values: all that the daemon wrote of it.
    """
    yield f"#{number} {local_time(record.time_s)}  {victim_of(record)} {what(record)}".rstrip()
    if not isinstance(record, (Act, Eased)):
        for name in sorted(set(values) - _KNOWN):
            value = values[name]
            texts = value if isinstance(value, list) else [value]
            words = (printable(_plain(text, name)) for text in texts)
            yield from _listed(_LABELS.get(name, name.replace("_", " ")), words)
        return
    rule = "" if record.rule is None else f"rule {record.rule + 1}, "
    level, by = ("ease", "culprit") if isinstance(record, Eased) else (record.level, "victim")
    yield f"{'policy':<12}{printable(record.policy or '?')} ({rule}{level})"
    yield from _listed("why now", evidence_lines(record.evidence))
    if record.victim is not None:
        yield from _listed(by, _victim(record.victim))
    if record.reason:
        yield f"{'why it':<12}{printable(record.reason)}"
    yield from _full_eased(record) if isinstance(record, Eased) else _full_act(record)


def _full_act(record: Act) -> Iterator[str]:
    yield from _listed("starts", starts_lines(record))
    yield from _listed("signals", _signals(record))
    if record.freed_kb is not None:
        yield f"{'freed':<12}{_freed(record).removeprefix(', ')}"
    if record.outcome is not None:
        yield f"{'outcome':<12}{_outcome(record.outcome)}"


def starts_lines(record: Act) -> Iterator[str]:
    """What was learnt of the starts of services that could have been chosen."""
    could = [row for row in record.candidates or () if not row.verdict][:SHOWN]
    known = {start.service: start for row in could for start in row.starts or ()}
    for start in known.values():
        if start.service is not None and start.cpu_s is not None and start.times is not None:
            yield printable(start_words(start.service, start.cpu_s, start.times))


def _full_eased(record: Eased) -> Iterator[str]:
    if record.place:
        yield f"{'cgroup':<12}{printable(record.place)}"
    if record.value:
        before = f", was {printable(record.before)}" if record.before else ""
        yield f"{'written':<12}{printable(record.value)}{before}"
    yield from _listed("outcome", _how_it_ended(record))


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
        return uptime(value)
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, dict):
        return ", ".join(f"{key} {item}" for key, item in value.items())
    return str(value)


def _listed(name: str, lines: Iterator[str]) -> Iterator[str]:
    for line in lines:
        yield f"{name:<12}{line}"
        name = ""


def evidence_lines(evidence: Sequence[Evidence] | None) -> Iterator[str]:
    """Yield the conditions of an act or a warning, with what was measured."""
    for one in evidence or ():
        if one.measured is None or one.threshold is None:
            yield f"{printable(one.name)} is not known here"
            continue
        bound = "at most" if _lower_is_worse(one) else "at least"
        held = f", for {seconds(one.held_s)}" if one.held_s else ""
        over = f" over {seconds(one.over_s)}" if one.over_s else ""
        where = f" of {printable(one.cgroup)}" if one.cgroup else ""
        fails = "" if one.holds else ": does not hold"
        yield (
            f"{printable(one.name)}{where} {_measured(one.measured, one.unit)}{over} "
            f"({bound} {_measured(one.threshold, one.unit)}){held}{fails}"
        )


def _lower_is_worse(one: Evidence) -> bool:
    """Whether a condition holds below its threshold, also of a kind unknown here."""
    kind = KINDS.get(one.name)
    if kind is not None:
        return kind.lower_is_worse
    return ((one.measured or 0.0) <= (one.threshold or 0.0)) == one.holds


def _measured(value: float, unit: str | None) -> str:
    if unit == "kb":
        return kb(value)
    if unit == "kb/s":
        return f"{kb(value)}/s"
    if unit == "share":
        return time_share(value)
    return seconds(value) if unit == "s" else f"{value:g}"


def _victim(victim: Victim) -> Iterator[str]:
    members = victim.members or ()
    more = f" +{len(members) - 1}" if len(members) > 1 else ""
    yield f"{_process(victim)}{more}, {_owner(victim)}, {printable(victim.level or 'process')}"
    for name in ("cmdline", "unit", "cgroup", "container", "name", "note"):
        value = getattr(victim, name)
        if value:
            yield f"{name} {printable(value)}"
    if len(members) > 1:
        yield f"with {', '.join(map(_process, members[1:]))}"


def _owner(victim: Victim) -> str:
    if victim.user:
        return f"user {printable(victim.user)}"
    return "user not known" if victim.uid is None else f"uid {victim.uid}"


def _signals(record: Act) -> Iterator[str]:
    for one in record.signals or ():
        known = one.t_s is not None and record.mono_s is not None
        at = f"+{(one.t_s or 0.0) - (record.mono_s or 0.0):.3f} s " if known else ""
        failed = f": {printable(one.error)}" if one.error else ""
        why = f" ({printable(one.why)})" if one.why else ""
        pid = "?" if one.pid is None else one.pid
        yield f"{at}SIG{printable(one.name or '?')} to {pid}{why}{failed}"


_SIZES = ("gain_kb", "rss", "swap", "growth")
"""First factors that are sizes, and so make the score one."""

_STYLES = {"kernel_kill": "red", "act": "yellow", "error": "red", "warn": "dim"}


def history_table(entries: Sequence[tuple[int, Record]]) -> Table:
    """Records, a row each, in the order given."""
    records = [record for _, record in entries]
    whats = [unbroken(what(record)) for record in records]
    columns = [
        Column(heading="#", cells=[str(number) for number, _ in entries], right=True),
        Column(heading="time", cells=[local_time(record.time_s) for record in records]),
        Column(heading="process", cells=[victim_of(record) for record in records], leaves=1),
        Column(heading="what", cells=whats, words=True),
    ]
    return Table(columns=columns, styles=[_style(record) for record in records], gap=1)


def _style(record: Record) -> str:
    if isinstance(record, Act) and record.dry_run:
        return ""
    return _STYLES.get(record.kind, "")


def candidates_table(record: Act) -> Table:
    """The candidates an act was chosen from, and what their scores were made of."""
    chosen = record.victim.pid if record.victim is not None else None
    rows, styles = [], []
    for row in record.candidates or ():
        factors = row.factors or {}
        in_kb = next(iter(factors), "") in _SIZES
        parts = [
            f"{printable(name.removesuffix('_kb'))} {_number(value, size=in_kb and not i)}"
            for i, (name, value) in enumerate(factors.items())
        ]
        if row.dies_with:
            parts.append(f"with {row.dies_with} more")
        rows.append(
            (
                str(row.pid),
                printable(str(row.comm)),
                kb(row.freed_kb or 0),
                kb(row.swap_kb) if row.swap_kb else "-",
                "" if row.oom_score_adj is None else str(row.oom_score_adj),
                "-" if row.verdict else _number(row.score or 0, size=in_kb),
                unbroken(printable(row.verdict or "") or ", ".join(parts)),
            )
        )
        styles.append("dim" if row.verdict else "bold" if row.pid == chosen else "")
    cells = list(map(list, zip(*rows, strict=True))) or [[]] * 7
    pid, comm, frees, swap, adj, score, why = cells
    columns = [
        Column(heading="pid", cells=pid, right=True),
        Column(heading="name", cells=comm, folds=True),
        Column(heading="frees", cells=frees, right=True, leaves=3),
        Column(heading="swap", cells=swap, right=True, leaves=1),
        Column(heading="adj", cells=adj, right=True, leaves=2),
        Column(heading="score", cells=score, right=True),
        Column(heading="factors", cells=why, words=True),
    ]
    return Table(columns=columns, styles=styles, gap=1)


def _number(value: float | None, *, size: bool) -> str:
    if value is None:
        return "?"
    return kb(value) if size else plain(value)
