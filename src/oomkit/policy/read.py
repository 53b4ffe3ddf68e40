"""Reading a policy file: every fault of it at once, each with its place."""

import os
import tomllib
from collections.abc import Iterable, Sequence
from typing import Any, cast, get_args

from oomkit.policy import builtin
from oomkit.policy.peers import read as peers
from oomkit.policy.read_rules import (
    amount,
    count,
    dangers,
    number,
    pattern,
    positive,
    read_match,
    read_rule,
    seconds,
    share,
    size_kb,
)
from oomkit.policy.records import (
    Amount,
    By,
    Easement,
    How,
    Match,
    Origin,
    Policy,
    Polling,
    Preference,
    Reach,
    Supervisor,
    Takes,
    Whom,
)
from oomkit.policy.records import Instead as InsteadOf
from oomkit.toml import units
from oomkit.toml.load import apply_overrides, blamed, load
from oomkit.toml.table import Fault, Table, TomlError, choice, flag, integer, name, text


class PolicyError(TomlError):
    """A policy that can't be used; ``faults`` lists everything that is wrong with it."""


def read_policy(path: str, *, overrides: Sequence[str] = (), trusted: bool = False) -> Policy:
    """Read a policy file.

    Args:
        path: the file.
        overrides: changes such as ``whom.level=tree``, made before it is checked.
        trusted: refuse one that others can change.

    Raises:
        PolicyError: unreadable, no TOML, or wrong; it lists all that is wrong.
    """
    try:
        raw = load(path, trusted=trusted)
    except TomlError as error:
        raise PolicyError(error.source, error.faults) from None
    return policy_from(raw, source=path, overrides=overrides)


def policy_from(
    raw: dict[str, Any],
    *,
    source: str = "policy",
    overrides: Sequence[str] = (),
    origin: Origin | None = None,
) -> Policy:
    """Make a policy of decoded TOML.

    Args:
        raw: what the file says.
        source: the file's name.
        overrides: changes such as ``whom.level=tree``, made before it is checked.
        origin: the daemon that it is the configuration of; it may be as dangerous as that one.

    Raises:
        PolicyError: something is wrong; it lists all that is.
    """
    faults: list[Fault] = []
    raw = apply_overrides(raw, overrides, faults)
    top = Table(raw, "", faults)
    policy = Policy(
        name=top.require("name", name, ""),
        about=top.take("about", text, ""),
        look=_polling(top.table("look")),
        when=tuple(read_rule(table, foreign=origin is not None) for table in top.tables("when")),
        whom=_whom(top.table("whom")),
        how=_how(top.table("how")),
        origin=origin,
    )
    top.done()
    faults.extend(_contradictions(policy))
    if faults:
        raise PolicyError(source, blamed(raw, overrides, faults))
    return policy


def _polling(table: Table) -> Polling:
    usual = Polling()
    polling = Polling(
        min_interval_s=table.take("least", positive, usual.min_interval_s),
        max_interval_s=table.take("most", positive, usual.max_interval_s),
        fill_kb_s=table.take("fill", _rate_kb, usual.fill_kb_s),
        fill_cpu_kb_s=table.take("fill_cpu", _rate_kb, None),
        swap_fill_kb_s=table.take("swap_fill", _rate_kb, usual.swap_fill_kb_s),
        warm=table.take("warm", share, usual.warm),
    )
    table.done()
    if polling.min_interval_s > polling.max_interval_s:
        table.fault("least", f"expected no more than most ({polling.max_interval_s:g} s)")
    return polling


def _rate_kb(value: Any) -> float:
    return units.rate(value) / 1024


def _whom(table: Table) -> Whom:
    usual = Whom()
    whom = Whom(
        by=cast(By, table.take("by", choice(*get_args(By)), usual.by)),
        level=cast(Reach, table.take("level", choice(*get_args(Reach)), usual.level)),
        most_processes=table.take("most_processes", count, usual.most_processes),
        oom_group=table.take("oom_group", flag, usual.oom_group),
        least_kb=table.take("least", size_kb, usual.least_kb),
        least_score=table.take("least_score", number(-1e6, 1e6), None),
        raised_adj=table.take("raised_adj", number(0.0, 1.0), usual.raised_adj),
        growth=table.take("growth", number(0.0, 1.0), usual.growth),
        growth_over_s=table.take("growth_over", positive, usual.growth_over_s),
        work=table.take("work", number(0.0, 0.9), usual.work),
        adj=table.take("adj", number(0.0, 10.0), usual.adj),
        lasts_s=table.take("lasts", seconds, usual.lasts_s),
        cgroup=table.take("cgroup", pattern, None),
        spared_priority=table.take("spared_priority", integer(-(2**31), 2**31 - 1), None),
        never=tuple(_never(t) for t in table.tables("never")),
        prefer=(
            *(_preference(t, earlier=True) for t in table.tables("prefer")),
            *(_preference(t, earlier=False) for t in table.tables("avoid")),
        ),
        supervisors=tuple(_supervisor(t) for t in table.tables("supervisor")),
    )
    table.done()
    return whom


def _supervisor(table: Table) -> Supervisor:
    supervisor = Supervisor(
        match=read_match(table),
        leads=table.flag("leads"),
        takes=cast(Takes, table.take("takes", choice(*get_args(Takes)), "children")),
        restart_s=table.take("restart", seconds, 0.0),
        factor=table.take("by", number(1.0, 1000.0), 10.0),
        because=table.require("because", text, ""),
    )
    table.done()
    return supervisor


def _never(table: Table) -> Match:
    match = read_match(table)
    table.done()
    return match


def _preference(table: Table, *, earlier: bool) -> Preference:
    match = read_match(table)
    by = table.take("by", number(1.0, 1000.0), 4.0)
    points = table.take("points", number(0.0, 2000.0), 300.0)
    size = table.take("size", size_kb, None)
    unless_lowered = table.flag("unless_lowered")
    table.done()
    sign = 1.0 if earlier else -1.0
    return Preference(
        match=match,
        factor=by**sign,
        points=sign * points,
        size_kb=None if size is None else sign * size,
        unless_lowered=unless_lowered,
    )


def _how(table: Table) -> How:
    usual = How()
    how = How(
        term=table.take("term", flag, usual.term),
        term_least_s=table.take("term_least", seconds, usual.term_least_s),
        term_wait_s=table.take("term_wait", seconds, usual.term_wait_s),
        give_up_s=table.take("give_up", positive, usual.give_up_s),
        pause_s=table.take("pause", seconds, usual.pause_s),
        hard_pause_s=table.take("hard_pause", seconds, usual.hard_pause_s),
        together=table.take("together", flag, usual.together),
        most_a_minute=table.take("most_a_minute", count, usual.most_a_minute),
        dry_run_pause_s=table.take("dry_run_pause", seconds, usual.dry_run_pause_s),
        notify=table.take("notify", flag, usual.notify),
        insist=table.take("insist", flag, usual.insist),
        evict=table.take("evict", flag, usual.evict),
        before=table.take("before", _command, ()),
        after=table.take("after", _command, ()),
        instead=tuple(_instead(t) for t in table.tables("instead")),
        reclaim=_easement(table, "reclaim"),
        throttle=_easement(table, "throttle"),
        freeze=_easement(table, "freeze"),
    )
    table.done()
    if how.most_a_minute < 1:
        table.fault("most_a_minute", "expected a whole number from 1 on")
    return how


_EASEMENTS = {
    "reclaim": Easement(kind="reclaim", amount=Amount(value=0.1, share=True), wait_s=2.0),
    "throttle": Easement(
        kind="throttle", amount=Amount(value=1.0, share=True), lasts_s=30.0, wait_s=5.0
    ),
    "freeze": Easement(kind="freeze", lasts_s=60.0, wait_s=10.0),
}
"""What is meant where a table says nothing else."""
_AMOUNTS = {"reclaim": "amount", "throttle": "high"}
"""What the amount of each is called."""


def _easement(how: Table, kind: str) -> Easement | None:
    table = how.table(kind)
    if kind not in how.raw:
        return None
    usual = _EASEMENTS[kind]
    key = _AMOUNTS.get(kind)
    easement = Easement(
        kind=usual.kind,
        amount=table.take(key, _some, usual.amount) if key is not None else usual.amount,
        lasts_s=table.take("time", _bounded, usual.lasts_s) if usual.lasts_s else 0.0,
        wait_s=table.take("wait", positive, usual.wait_s),
    )
    table.done()
    return easement


def _some(value: Any) -> Amount:
    some, is_share = amount(value)
    if some <= 0.0:
        raise ValueError('a share such as "10%" or a size, above 0')
    return Amount(value=some, share=is_share)


def _bounded(value: Any) -> float:
    time_s = positive(value)
    if time_s > MAX_LASTS_S:
        raise ValueError('a duration of at most "10m", after which it is taken back')
    return time_s


MAX_LASTS_S = 600.0
"""A throttle or a freeze lasts no longer."""


def _instead(table: Table) -> InsteadOf:
    match = read_match(table)
    command = table.require("command", _command, ())
    table.done()
    return InsteadOf(match=match, command=command)


def _command(value: Any) -> tuple[str, ...]:
    expected = 'a program and its arguments such as ["/usr/bin/logger", "{comm}"]'
    if not isinstance(value, list) or not value:
        raise ValueError(expected)
    if not all(isinstance(word, str) and word.isprintable() for word in value) or not value[0]:
        raise ValueError(expected)
    if not value[0].startswith("/"):
        raise ValueError(f"{expected}, the program with its whole path")
    return tuple(value)


def _contradictions(policy: Policy) -> Iterable[Fault]:
    """What is wrong between the parts of a policy."""
    if policy.whom.most_processes < 1:
        yield Fault(path="whom.most_processes", expected="expected a whole number from 1 on")
    if policy.whom.cgroup is not None and policy.whom.level != "cgroup":
        yield Fault(path="whom.cgroup", expected='expected whom.level = "cgroup" beside it')
    eases = [i for i, rule in enumerate(policy.when) if rule.level == "ease"]
    acts = policy.how.easements()
    if eases and not acts:
        yield Fault(
            path=f"when[{eases[0]}].level",
            expected='expected how.reclaim, how.throttle or how.freeze beside "ease": what is done',
        )
    if acts and not eases:
        yield Fault(
            path=f"how.{acts[0].kind}", expected='expected a rule with level = "ease" beside it'
        )
    for i, rule in enumerate(policy.when):
        by = rule.by or policy.whom.by
        if rule.least is not None and by != "swap":
            yield Fault(path=f"when[{i}].least", expected='expected by = "swap" beside it')
        if rule.whole and policy.whom.level != "cgroup":
            yield Fault(
                path=f"when[{i}].whole", expected='expected whom.level = "cgroup" beside it'
            )
        if by in ("reclaim", "reclaim_rate", "over_request") and policy.whom.level != "cgroup":
            path = f"when[{i}].by" if rule.by else "whom.by"
            yield Fault(
                path=path, expected=f'expected whom.level = "cgroup": {by} is measured per cgroup'
            )


def find_policy(name: str, *, overrides: Sequence[str] = (), trusted: bool = False) -> Policy:
    """Return the built-in policy of that name, a daemon's configuration, or else that file's.

    Args:
        name: of a built-in policy; ``earlyoom:``, ``nohang:`` or ``systemd-oomd:`` and nothing, a
            file or a folder; a file.
        overrides: changes such as ``whom.level=tree``, made before it is checked.
        trusted: refuse a file that others can change.

    Raises:
        PolicyError: unreadable, no TOML, or wrong; it lists all that is wrong.
    """
    peer = peers.parted(name)
    if peer is not None:
        return _of_peer(*peer, overrides=overrides, trusted=trusted)
    if name in builtin.NAMES:
        raw = tomllib.loads(builtin.source(name))
        return policy_from(raw, source=f"built-in policy {name}", overrides=overrides)
    if os.sep not in name and not name.endswith(".toml") and not os.path.exists(name):
        known = ", ".join((*builtin.NAMES, *(f"{one}:[PATH]" for one in peers.DAEMONS)))
        raise PolicyError(
            name, [Fault(path="", expected=f"expected a policy file or one of {known}")]
        )
    return read_policy(name, overrides=overrides, trusted=trusted)


def _of_peer(daemon: str, where: str, *, overrides: Sequence[str], trusted: bool) -> Policy:
    if daemon == "kubelet":
        expected = "expected oomkit run for it: a kubelet evicts pods, of which it knows more"
        raise PolicyError(f"{daemon}:{where}", [Fault(path="", expected=expected)])
    try:
        raw, origin = peers.read_peer(daemon, where, trusted=trusted)
    except TomlError as error:
        raise OthersError(error) from None
    return policy_from(raw, source=f"{daemon}:{where}", overrides=overrides, origin=origin)


def refuse_dangers(policy: Policy, source: str) -> None:
    """Refuse what a policy file may not say, and a daemon's configuration may.

    Raises:
        PolicyError: it would kill while memory is plentiful.
    """
    faults = [
        Fault(path=f"when[{i}]{'.' if key else ''}{key}", expected=f"{expected} by oomkit guard")
        for i, rule in enumerate(policy.when)
        for key, expected in dangers(rule)
    ]
    if faults:
        raise PolicyError(source, faults)


class OthersError(PolicyError):
    """A daemon's configuration that can't be used; each line names its own file."""

    def __init__(self, error: TomlError) -> None:
        self._lines = error.lines()
        super().__init__(error.source, error.faults)

    def lines(self) -> list[str]:
        """One line a fault."""
        return self._lines
