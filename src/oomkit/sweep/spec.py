"""The records of a sweep: what varies, over which loads, and what is wanted of the results."""

import math
import re
from collections.abc import Sequence
from decimal import Decimal
from typing import Any, Literal

import msgspec

from oomkit.printable import printable
from oomkit.render.quantities import human_bytes, seconds
from oomkit.toml import units

Kind = Literal["size", "duration", "rate", "number", "integer", "text", "flag"]
"""What a value is: bytes, seconds, bytes a second, or as written."""

Value = int | float | str | bool

Bad = Literal["freeze", "kill", "innocent_killed", "protected_killed", "denied", "panic"]
"""What a run must be free of; see :func:`oomkit.sweep.answer.is_free`."""


class Draw(msgspec.Struct, frozen=True, kw_only=True):
    """A distribution.

    Attributes:
        shape: ``uniform`` and ``log_uniform`` between ``a`` and ``b``; ``normal`` with mean ``a``
            and standard deviation ``b``; ``log_normal`` with median ``a``, two thirds of it
            within a factor ``b``.
        a: first parameter.
        b: second parameter.
        low: no draw is smaller; None: unbounded.
        high: no draw is larger; None: unbounded.
        whole: rounded to whole numbers.
    """

    shape: Literal["uniform", "log_uniform", "normal", "log_normal"]
    a: float
    b: float
    low: float | None = None
    high: float | None = None
    whole: bool = False


class Axis(msgspec.Struct, frozen=True, kw_only=True):
    """One thing that varies.

    Attributes:
        key: its key in a scenario (``machine.swap``, ``task.db.oom_score_adj``, ``task.*.spread``)
            or in a policy (``policy.KEY``).
        kind: what its values are.
        values: the values it takes, in order; empty with a distribution.
        weights: how often each of them is drawn, relative; empty: equally.
        draw: the distribution its values are drawn from; None with values.
        scale: the value the scenario has is multiplied by the drawn one, instead of replaced.
    """

    key: str
    kind: Kind
    values: tuple[Value, ...] = ()
    weights: tuple[float, ...] = ()
    draw: Draw | None = None
    scale: bool = False

    @property
    def column(self) -> str:
        """Name of its column in the results, with the unit."""
        if self.scale:
            return f"{self.key}_scale"
        units = {"size": "_bytes", "duration": "_s", "rate": "_bytes_s"}
        return self.key + units.get(self.kind, "")


class Weights(msgspec.Struct, frozen=True, kw_only=True):
    """What a run costs, in seconds: each objective with its price.

    Attributes:
        unusable_s: of a second in which the machine can't be used, frozen or down after a panic.
        work_lost_s: of a CPU second of work thrown away.
        kills: of a task killed.
        innocents_killed: on top, where it was innocent.
        protected_killed: on top, where it was protected.
        denied: of a request refused.
    """

    unusable_s: float = 1.0
    work_lost_s: float = 1.0
    kills: float = 5.0
    innocents_killed: float = 60.0
    protected_killed: float = 600.0
    denied: float = 5.0


class Want(msgspec.Struct, frozen=True, kw_only=True):
    """The question.

    Attributes:
        kind: ``best``: which values cost least; ``least``: the smallest value that keeps runs
            free of something; ``sensitivity``: how much the cost depends on each value.
        keys: ``policy`` or keys that vary.
        by: the column that is compared: ``cost`` or an objective.
        without: with ``least``: what must not happen.
        share: with ``least``: in which part of the runs at least, above 0 to 1.
    """

    kind: Literal["best", "least", "sensitivity"]
    keys: tuple[str, ...]
    by: str = "cost"
    without: tuple[Bad, ...] = ()
    share: float = 1.0


class Base(msgspec.Struct, frozen=True, kw_only=True):
    """A scenario that is varied.

    Attributes:
        path: its file.
        name: its name.
        raw: what the file says.
    """

    path: str
    name: str
    raw: dict[str, Any]


class Guard(msgspec.Struct, frozen=True, kw_only=True):
    """A policy that is compared.

    Attributes:
        name: its name.
        source: its file, or where else it comes from.
        raw: what the file says.
    """

    name: str
    source: str
    raw: dict[str, Any]


class Fleet(msgspec.Struct, frozen=True, kw_only=True):
    """How machines and their tasks are drawn from a table.

    Attributes:
        files: the table, or the files of a trace.
        unit_bytes: what the largest normalised size of a trace stands for.
        pack: requested memory of the tasks on a machine, as a multiple of its memory.
        window_s: how long a run looks at a machine.
        tasks: maximum number on a machine.
        swap_bytes: swap of each machine.
    """

    files: tuple[str, ...]
    unit_bytes: int = 256 * 2**30
    pack: float = 1.3
    window_s: float = 600.0
    tasks: int = 100
    swap_bytes: int = 0


class Sweep(msgspec.Struct, frozen=True, kw_only=True):
    """A sweep file.

    Attributes:
        name: for the reader.
        about: for the reader.
        source: the file.
        runs: how many points are drawn at random; None: the whole grid is played.
        repeat: in a grid: how many seeds each point is played with.
        seed: moves everything that is drawn.
        bases: the scenarios that are varied; empty with a fleet.
        fleet: where machines and loads come from instead.
        axes: what varies.
        guards: the policies; each point is played with each. Empty: the kernel alone.
        want: the question.
        weights: what a run costs.
    """

    name: str
    about: str = ""
    source: str
    runs: int | None = None
    repeat: int = 1
    seed: int = 0
    bases: tuple[Base, ...] = ()
    fleet: Fleet | None = None
    axes: tuple[Axis, ...] = ()
    guards: tuple[Guard, ...] = ()
    want: Want
    weights: Weights = Weights()

    @property
    def crossed(self) -> tuple[Axis, ...]:
        """The axes of the question: every point is played with every value of theirs."""
        if self.want.kind == "sensitivity":
            return ()
        return tuple(axis for axis in self.axes if axis.key in self.want.keys)


_WITH_UNIT = re.compile(r"[\d.]+\s*[KMGTkmgt](?:i?B)?|[\d.]+\s*B")

_PLAIN = re.compile(r"\d+")

_EXPECTED = "values of one kind (sizes, durations, rates, numbers or texts)"


def kind_of(value: Any) -> Kind | None:
    """What a value is; None for one that fits several kinds (``0``, ``"0"``).

    A lower-case ``m`` after a number means minutes; sizes are written ``"30M"``.

    Raises:
        ValueError: none of them.
    """
    if isinstance(value, bool):
        return "flag"
    if isinstance(value, int):
        return None
    if isinstance(value, float):
        if not math.isfinite(value):
            raise ValueError("a finite number")
        return "number"
    if not isinstance(value, str) or not value.isprintable():
        raise ValueError("a number, true or false, or a text")
    if value.endswith("/s"):
        units.rate(value)
        return "rate"
    if _is(units.duration, value):
        return "duration"
    if _WITH_UNIT.fullmatch(value.strip()) and _is(units.size, value):
        return "size"
    if re.fullmatch(r"[\d.]+\s*%", value):
        return "number"
    return None if _PLAIN.fullmatch(value) else "text"


def as_kind(values: Sequence[Any]) -> tuple[Kind, tuple[Value, ...]]:
    """The kind all values have in common, and the values as numbers of its unit.

    Raises:
        ValueError: there is none.
    """
    kinds = {kind_of(value) for value in values} - {None}
    if len(kinds) > 1:
        raise ValueError(_EXPECTED)
    kind = kinds.pop() if kinds else None
    if kind is None:
        kind = "text" if any(isinstance(value, str) for value in values) else "integer"
    try:
        return kind, tuple(_parsed(kind, value) for value in values)
    except ValueError as error:
        raise ValueError(f"{_EXPECTED}; {error}") from None


def _parsed(kind: Kind, value: Any) -> Value:
    if kind == "size":
        return units.size(value)
    if kind == "duration":
        return units.duration(value)
    if kind == "rate":
        return units.rate(value)
    if kind == "text":
        if not isinstance(value, str):
            raise ValueError("a text")
        return value
    if kind == "number":
        if isinstance(value, str):
            return float(value.rstrip("% ")) / 100
        return float(value)
    return bool(value) if kind == "flag" else int(value)


def written(kind: Kind, value: Value) -> Value:
    """A value as a scenario's TOML can hold it."""
    if kind == "rate":
        return f"{max(round(float(value)), 1)}B/s"
    if kind == "size":
        return f"{round(float(value))}B"
    if kind == "duration":
        return f"{Decimal(repr(float(value))):f}s"
    return value


def shown(kind: Kind, value: Value) -> str:
    """A value as a person reads it."""
    if kind == "size":
        return human_bytes(float(value))
    if kind == "rate":
        return f"{human_bytes(float(value))}/s"
    if kind == "duration":
        return seconds(float(value))
    if kind == "number":
        return f"{float(value):.4g}"
    if kind == "flag":
        return "true" if value else "false"
    return printable(str(value))


def value_of(axis: Axis, value: Value) -> str:
    """A value of an axis as a person reads it."""
    return f"x {float(value):.3g}" if axis.scale else shown(axis.kind, value)


def exact(axis: Axis, value: Value) -> str:
    """A value of an axis to its last digit, to distinguish it from close ones."""
    units = {"size": " B", "duration": " s", "rate": " B/s"}
    return f"{'x ' if axis.scale else ''}{printable(str(value))}{units.get(axis.kind, '')}"


def _is(parse: Any, value: Any) -> bool:
    try:
        parse(value)
    except ValueError:
        return False
    return True
