"""Reading one ``[[when]]``: conditions, and the level they call for."""

import re
import warnings
from collections.abc import Callable, Iterator
from typing import Any, cast, get_args

from oomkit.policy.compile import parted
from oomkit.policy.engine.conditions import CGROUP, EITHERS, KINDS, MACHINE, RAM, USERS
from oomkit.policy.records import Amount, By, Condition, Field, Level, Match, Rule
from oomkit.toml import units
from oomkit.toml.table import Table, choice, integer, text

count = integer(0, 1_000_000)

SHARE = 'a share such as "10%"'


def share(value: Any) -> float:
    """``"10%"`` as 0.1.

    Raises:
        ValueError: anything else; the text says what was expected.
    """
    part = units.percent(value) if isinstance(value, str) else None
    if part is None or part > 1.0:
        raise ValueError(SHARE)
    return part


def amount(value: Any) -> tuple[float, bool]:
    """``"10%"`` as (0.1, True), ``"300M"`` as kB and False.

    Raises:
        ValueError: anything else; the text says what was expected.
    """
    if isinstance(value, str) and value.strip().endswith("%"):
        return share(value), True
    try:
        return size_kb(value), False
    except ValueError as error:
        raise ValueError(f"{SHARE}, or {error}") from None


def size_kb(value: Any) -> float:
    """``"300M"`` as kB. A plain number is refused unless it is 0.

    Raises:
        ValueError: anything else; the text says what was expected.
    """
    size_bytes = units.size(value)
    if size_bytes and units.is_plain(value):
        raise ValueError(f"{units.SIZE}, with its unit")
    return size_bytes / 1024


def seconds(value: Any) -> float:
    """``"10m"`` as seconds. A plain number is refused unless it is 0.

    Raises:
        ValueError: anything else; the text says what was expected.
    """
    time_s = units.duration(value)
    if time_s and not isinstance(value, str):
        raise ValueError(f"{units.DURATION}, with its unit")
    return time_s


def positive(value: Any) -> float:
    """A duration above 0.

    Raises:
        ValueError: anything else; the text says what was expected.
    """
    time_s = seconds(value)
    if time_s < 0.001:
        raise ValueError(f"{units.DURATION}, from 1ms on")
    return time_s


def number(low: float, high: float) -> Callable[[Any], float]:
    """A parser of numbers in a range; it raises ValueError for anything else."""

    def parse(value: Any) -> float:
        if isinstance(value, bool) or not isinstance(value, (int, float)):
            raise ValueError(f"a number from {low:g} to {high:g}")
        if not low <= value <= high:
            raise ValueError(f"a number from {low:g} to {high:g}")
        return float(value)

    return parse


FIELDS: tuple[Field, ...] = get_args(Field)

COMM_BYTES = 15
"""The kernel cuts names (TASK_COMM_LEN, include/linux/sched.h)."""


def read_match(table: Table) -> Match:
    """A match from the fields of a table; other keys are left to the caller."""
    patterns = []
    for field in FIELDS:
        parse = _comm_patterns if field == "comm" else _patterns
        texts = table.take(field, parse, ())
        if texts:
            patterns.append((field, texts))
    if not any(field in table.raw for field in FIELDS):
        table.fault("", f"expected at least one of {', '.join(FIELDS)}")
    return Match(patterns=tuple(patterns))


def _patterns(value: Any) -> tuple[str, ...]:
    texts = value if isinstance(value, list) else [value]
    if not texts:
        raise ValueError('a pattern such as "sshd", "java*", "re:postgres(: .*)?", or several')
    return tuple(pattern(one) for one in texts)


def pattern(value: Any) -> str:
    """A glob, or a regular expression after ``re:`` or ``search:``.

    Raises:
        ValueError: neither; the text says what was expected.
    """
    one = text(value)
    kind, expression = parted(one)
    if kind:
        try:
            with warnings.catch_warnings():
                # What may mean something else in a later Python, such as [[:alpha:]], is a slip.
                warnings.simplefilter("error")
                re.compile(expression)
        except (re.error, RecursionError, OverflowError, Warning) as error:
            raise ValueError(f"a regular expression after {kind} ({error})") from None
    return one


def _comm_patterns(value: Any) -> tuple[str, ...]:
    texts = _patterns(value)
    for one in texts:
        literal = re.sub(r"\[[^]]*\]", "?", one).replace("*", "")
        if not parted(one)[0] and len(literal.encode()) > COMM_BYTES:
            raise ValueError(
                f"a name of at most {COMM_BYTES} bytes, which is all the kernel keeps of it "
                "(match exe or cmdline instead)"
            )
    return texts


PLENTY = 0.5
"""With more than this share available no process is killed, whatever a policy file says."""


def read_rule(table: Table, *, foreign: bool = False) -> Rule:
    """A rule from its table.

    Args:
        table: the table.
        foreign: it says what another daemon does, however dangerous that is.
    """
    rule = Rule(
        level=cast(Level, table.require("level", choice(*get_args(Level)), "warn")),
        conditions=tuple(_conditions(table)),
        over_s=table.take("over", _window, Rule(level="warn", conditions=()).over_s),
        for_s=table.take("for", seconds, 0.0),
        cgroup=table.take("cgroup", pattern, None),
        by=cast(By | None, table.take("by", choice(*get_args(By)), None)),
        among=table.take("among", _patterns, ()),
        least=table.take("least", _least, None),
        spare=table.take("spare", _patterns, ()),
        last=table.take("last", _patterns, ()),
        whole=table.flag("whole"),
        pause_s=table.take("pause", seconds, None),
        decaying=table.flag("decaying"),
    )
    table.done()
    _check(table, rule, foreign=foreign)
    return rule


def _least(value: Any) -> Amount:
    least, is_share = amount(value)
    return Amount(value=least, share=is_share)


def _conditions(table: Table) -> list[Condition]:
    found: list[Condition] = []
    for kind in KINDS.values():
        parse = _THRESHOLDS[kind.unit]
        if kind.unit == "kb":
            parse = _several(parse)
        values = table.take(kind.name, parse, None)
        found += (
            Condition(kind=kind.name, threshold=value, share=is_share)
            for value, is_share in ([values] if isinstance(values, tuple) else values or ())
        )
    return found


def _several(parse: Callable[[Any], Any]) -> Callable[[Any], Any]:
    """A parser of one threshold or of a list of them, all of which have to be met."""

    def parse_all(value: Any) -> Any:
        if not isinstance(value, list):
            return parse(value)
        if not value:
            raise ValueError("at least one threshold")
        return [parse(one) for one in value]

    return parse_all


def _share_of_time(value: Any) -> tuple[float, bool]:
    part = share(value)
    if part <= 0.0:
        raise ValueError('a share of time such as "10%", above 0')
    return part, False


_THRESHOLDS: dict[str, Callable[[Any], tuple[float, bool]]] = {
    "kb": amount,
    "share": _share_of_time,
    "kb/s": lambda value: (units.rate(value) / 1024, False),
    "s": lambda value: (positive(value), False),
}
"""By the unit of a kind: a threshold, and whether it is a share of an amount."""


def _window(value: Any) -> float:
    window_s = seconds(value)
    if not 0.1 <= window_s <= 600.0:
        raise ValueError('a duration from "100ms" to "10m"')
    return window_s


def _check(table: Table, rule: Rule, *, foreign: bool) -> None:
    """Refuse rules that can't hold, and those that would kill while memory is plentiful."""
    kinds = [KINDS[condition.kind] for condition in rule.conditions]
    if not kinds and not any(name in table.raw for name in KINDS):
        table.fault("", f"expected at least one condition: {', '.join(KINDS)}")
    if rule.cgroup is None:
        for kind in kinds:
            if kind.scope == CGROUP:
                table.fault(kind.name, "expected a cgroup beside it: the machine has no limit")
    elif kinds and all(kind.scope == MACHINE for kind in kinds):
        names = (kind.name for kind in KINDS.values() if kind.scope != MACHINE)
        table.fault("cgroup", f"expected one of {', '.join(names)} beside it")
    if rule.decaying and not any(kind.is_pressure for kind in kinds):
        table.fault("decaying", "expected psi_some or psi_full beside it: what decays")
    if rule.whole and rule.cgroup is None and not rule.among:
        table.fault("whole", "expected cgroup or among beside it: what is killed as a whole")
    if not foreign:
        for key, expected in dangers(rule):
            table.fault(key, expected)


def dangers(rule: Rule) -> Iterator[tuple[str, str]]:
    """What would kill while memory is plentiful: key, and what is expected."""
    kinds = [KINDS[condition.kind] for condition in rule.conditions]
    if rule.level in ("warn", "ease"):
        return
    if kinds and all(kind.is_pressure for kind in kinds):
        yield (
            "",
            "expected more than pressure for a kill: memory, swap, refault, swap_in or reclaim",
        )
    for kind, condition in zip(kinds, rule.conditions, strict=True):
        of_ram = condition.share and kind.whole in (RAM, EITHERS, USERS)
        if of_ram and kind.lower_is_worse and condition.threshold > PLENTY:
            yield kind.name, 'expected at most "50%" for a kill'
