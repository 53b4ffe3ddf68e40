"""Reading a sweep file: every fault of it at once, each with its place."""

import copy
import os
import tomllib
from collections.abc import Callable, Iterator, Sequence
from typing import Any, cast, get_args

import msgspec

from oomkit.policy import builtin
from oomkit.policy.read import policy_from
from oomkit.scenario import scenario_from
from oomkit.sweep.axes import POLICY, changed, changed_policy, read_axes
from oomkit.sweep.plan import MAX_RUNS, count_runs
from oomkit.sweep.spec import Axis, Bad, Base, Fleet, Guard, Sweep, Value, Want, Weights
from oomkit.sweep.spec import shown as shown_value
from oomkit.toml import units
from oomkit.toml.load import apply_overrides, blamed, load
from oomkit.toml.table import Fault, Table, TomlError, choice, integer, text

_TRIED = 20
"""Maximum number of values of an axis that are tried before anything is played."""

COMPARED = (
    "cost", "unusable_s", "work_lost_s", "kills", "innocents_killed", "protected_killed", "denied",
)  # fmt: skip
"""Columns of which less is better."""


def read_sweep(
    path: str, *, overrides: Sequence[str] = (), fleet_files: Sequence[str] = ()
) -> Sweep:
    """Read a sweep file.

    Args:
        path: the file; what it names is looked for beside it.
        overrides: changes such as ``runs=50``, made before it is checked.
        fleet_files: take machines and loads from these instead of what it names.

    Raises:
        TomlError: it, or a scenario that it names, can't be used; it lists all that is wrong.
    """
    return sweep_from(load(path), source=path, overrides=overrides, fleet_files=fleet_files)


def sweep_from(
    raw: dict[str, Any],
    *,
    source: str = "sweep",
    overrides: Sequence[str] = (),
    fleet_files: Sequence[str] = (),
) -> Sweep:
    """Make a sweep of decoded TOML.

    Raises:
        TomlError: something is wrong; it lists all that is.
    """
    faults: list[Fault] = []
    top = Table(apply_overrides(raw, overrides, faults), "", faults)
    folder = os.path.dirname(source)
    axes = (
        *read_axes(top.table("vary"), scale=False),
        *read_axes(top.table("scale"), scale=True),
    )
    guards = tuple(_guards(top, folder))
    bases = tuple(_bases(top, folder))
    sweep = Sweep(
        name=top.require("name", text, ""),
        about=top.take("about", text, ""),
        source=source,
        runs=top.take("runs", integer(1, MAX_RUNS), None),
        repeat=top.take("repeat", integer(1, MAX_RUNS), 1),
        seed=top.take("seed", integer(0, 2**63), 0),
        bases=() if fleet_files else bases,
        fleet=_fleet(top.table("fleet"), folder, fleet_files, given="fleet" in raw),
        axes=axes,
        guards=guards,
        want=_want(top.table("want"), axes, guards, given="want" in raw),
        weights=_weights(top.table("weights")),
    )
    top.done()
    if not faults:
        faults += _contradictions(sweep)
    if not faults:
        faults += _misfits(sweep)
    if faults:
        raise TomlError(source, blamed(top.raw, overrides, faults))
    return sweep


def _texts(value: Any) -> tuple[str, ...]:
    if not isinstance(value, list) or not value or not all(isinstance(v, str) for v in value):
        raise ValueError("a list of texts")
    if len(set(value)) < len(value):
        raise ValueError("a list of texts, each once")
    return tuple(text(one) for one in value)


def _bases(top: Table, folder: str) -> Iterator[Base]:
    for i, name in enumerate(top.take("scenarios", _texts, ())):
        path = os.path.join(folder, name)
        try:
            raw = load(path)
            scenario = scenario_from(copy.deepcopy(raw), source=path)
        except TomlError as error:
            for fault in error.faults:
                place = f"scenarios[{i}]: {path}" + (f": {fault.path}" if fault.path else "")
                top.faults.append(Fault(path=place, expected=fault.expected))
        else:
            yield Base(path=path, name=scenario.name, raw=raw)


def _guards(top: Table, folder: str) -> Iterator[Guard]:
    """Built-in policies by their names, others by their files."""
    seen = set()
    for i, name in enumerate(top.take("policies", _texts, ())):
        path = name if name in builtin.NAMES else os.path.join(folder, name)
        try:
            raw = tomllib.loads(builtin.source(name)) if name in builtin.NAMES else load(path)
            policy = policy_from(copy.deepcopy(raw), source=path)
        except TomlError as error:
            for fault in error.faults:
                place = f"policies[{i}]: {path}" + (f": {fault.path}" if fault.path else "")
                top.faults.append(Fault(path=place, expected=fault.expected))
            continue
        if policy.name in seen:
            top.fault(f"policies[{i}]", f"expected a name of its own, not {policy.name!r} again")
        seen.add(policy.name)
        yield Guard(name=policy.name, source=path, raw=raw)


def _fleet(table: Table, folder: str, instead: Sequence[str], *, given: bool) -> Fleet | None:
    files = table.take("files", _texts, ())
    fleet = Fleet(
        files=tuple(instead) or tuple(os.path.join(folder, name) for name in files),
        unit_bytes=table.take("unit", units.size, 256 * 2**30),
        pack=table.take("pack", _pack, 1.3),
        window_s=table.take("window", units.duration, 600.0),
        tasks=table.take("tasks", integer(1, 10_000), 100),
        swap_bytes=table.take("swap", units.size, 0),
    )
    table.done()
    if not given and not instead:
        return None
    if not fleet.files:
        table.fault("files", "is missing; expected the files of a table or trace")
    return fleet


def _pack(value: Any) -> float:
    if isinstance(value, bool) or not isinstance(value, (int, float)) or not 0 < value <= 100:
        raise ValueError("a number above 0, at most 100")
    return float(value)


def _want(table: Table, axes: Sequence[Axis], guards: Sequence[Guard], *, given: bool) -> Want:
    known = {axis.key for axis in axes} | ({"policy"} if guards else set())

    def keys(value: Any) -> tuple[str, ...]:
        found = (value,) if isinstance(value, str) else _texts(value)
        for key in found:
            if key not in known:
                raise ValueError(f"of what varies: {', '.join(sorted(known)) or 'nothing'}")
        return found

    def all_or_keys(value: Any) -> tuple[str, ...]:
        return tuple(sorted(known - {"policy"})) if value is True else keys(value)

    if not given:
        best = len(guards) > 1 or not axes
        return Want(
            kind="best" if best else "sensitivity",
            keys=("policy",) if best else tuple(axis.key for axis in axes),
        )
    asked = [kind for kind in ("best", "least", "sensitivity") if kind in table.raw]
    if len(asked) != 1:
        table.fault("", "expected exactly one of best, least and sensitivity")
    want = Want(
        kind=cast(Any, asked[0] if asked else "best"),
        keys=table.take("best", keys, ())
        + table.take("least", keys, ())
        + table.take("sensitivity", all_or_keys, ()),
        by=table.take("by", choice(*COMPARED), "cost"),
        without=table.take("without", _bad, ()),
        share=table.take("in", _share, 1.0),
    )
    table.done()
    if asked == ["least"] and "without" not in table.raw:
        table.fault("without", f"is missing; expected one of {', '.join(get_args(Bad))}")
    for key in ("without", "in"):
        if asked and asked != ["least"] and key in table.raw:
            table.fault(key, "belongs to least")
    return want


def _bad(value: Any) -> tuple[Bad, ...]:
    found = (value,) if isinstance(value, str) else _texts(value)
    for one in found:
        if one not in get_args(Bad):
            raise ValueError(f"of {', '.join(get_args(Bad))}")
    return cast(tuple[Bad, ...], found)


def _share(value: Any) -> float:
    if isinstance(value, str):
        value = units.percent(value)
    if isinstance(value, bool) or not isinstance(value, (int, float)) or not 0 < value <= 1:
        raise ValueError('a share of the runs such as "99%"')
    return float(value)


def _weights(table: Table) -> Weights:
    default = msgspec.structs.asdict(Weights())
    weights = Weights(**{key: table.take(key, _weight, value) for key, value in default.items()})
    table.done()
    return weights


def _weight(value: Any) -> float:
    if isinstance(value, bool) or not isinstance(value, (int, float)) or not 0 <= value <= 1e9:
        raise ValueError("a number of seconds, 0 or more")
    return float(value)


def _contradictions(sweep: Sweep) -> Iterator[Fault]:
    """What is wrong between the parts."""
    if not sweep.bases and sweep.fleet is None:
        yield Fault(path="scenarios", expected="is missing; expected scenario files or a [fleet]")
    if sweep.bases and sweep.fleet is not None:
        yield Fault(path="fleet", expected="expected scenarios or a [fleet], not both")
    if sweep.runs is None and sweep.fleet is not None:
        yield Fault(path="runs", expected="is missing; the number of draws from the fleet")
    if sweep.runs is not None and sweep.repeat > 1:
        yield Fault(path="repeat", expected="expected runs or repeat, not both")
    columns = [axis.column for axis in sweep.axes]
    for column in {column for column in columns if columns.count(column) > 1}:
        yield Fault(path=f"vary.{column}", expected="expected to vary one way only")
    for axis in sweep.axes:
        place = f"{'scale' if axis.scale else 'vary'}.{axis.key}"
        crossed = axis in sweep.crossed
        if axis.key.startswith(POLICY) and not sweep.guards:
            yield Fault(path=place, expected="expected policies, of which that is a key")
        if axis.draw is not None and (crossed or sweep.runs is None):
            why = f"[want] {sweep.want.kind}" if crossed else "a grid (there are no runs)"
            yield Fault(path=place, expected=f"expected values, not a distribution, for {why}")
        if crossed and sweep.want.kind == "least" and axis.kind in ("text", "flag"):
            yield Fault(path=place, expected="expected numbers, of which one can be the least")
    if (total := count_runs(sweep)) > MAX_RUNS:
        yield Fault(path="", expected=f"expected at most {MAX_RUNS:,} runs in all, not {total:,}")


def _misfits(sweep: Sweep) -> Iterator[Fault]:
    """Values that a scenario or a policy does not take, the first of each axis."""
    for axis in sweep.axes:
        if axis.key.startswith(POLICY):
            faults = (_policy_misfit(axis, guard) for guard in sweep.guards)
        else:
            faults = (_scenario_misfit(axis, base) for base in sweep.bases)
        found = next((fault for fault in faults if fault is not None), None)
        if found is not None:
            place = f"{'scale' if axis.scale else 'vary'}.{axis.key}"
            yield Fault(path=place, expected=found)


def _scenario_misfit(axis: Axis, base: Base) -> str | None:
    def attempt(value: Value) -> None:
        raw = copy.deepcopy(base.raw)
        changed(raw, [axis], [value])
        scenario_from(raw)

    return _misfit(axis, base.path, attempt)


def _policy_misfit(axis: Axis, guard: Guard) -> str | None:
    def attempt(value: Value) -> None:
        raw = copy.deepcopy(guard.raw)
        changed_policy(raw, [axis], [value])
        policy_from(raw)

    return _misfit(axis, guard.source, attempt)


def _misfit(axis: Axis, source: str, attempt: Callable[[Value], None]) -> str | None:
    for value in _samples(axis):
        try:
            attempt(value)
        except ValueError as error:
            fault = error.faults[0] if isinstance(error, TomlError) else None
            reason = f"{fault.path}: {fault.expected}" if fault is not None else str(error)
            return f"with {shown_value(axis.kind, value)} in {source}: {reason}"
    return None


def _samples(axis: Axis) -> list[Value]:
    if axis.draw is None:
        step = max(len(axis.values) // _TRIED, 1)
        return [*axis.values[::step], axis.values[-1]]
    draw = axis.draw
    low, high = (draw.a, draw.b) if "uniform" in draw.shape else (draw.a, draw.a)
    if draw.low is not None:
        low = max(low, draw.low)
    if draw.high is not None:
        high = min(high, draw.high)
    return [round(one) if draw.whole else one for one in (low, high)]


def fleet_sweep(files: Sequence[str], *, overrides: Sequence[str] = ()) -> Sweep:
    """The sweep of a fleet without a sweep file: policies compared on machines drawn from it.

    Raises:
        TomlError: an override is wrong.
    """
    return sweep_from(
        {"name": "fleet", "runs": 200, "policies": list(builtin.OF_ANY_MACHINE)},
        source="fleet",
        overrides=overrides,
        fleet_files=files,
    )
