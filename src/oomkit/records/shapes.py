"""What JSON values the annotation of a field takes, and what is raised where they are others."""

import types
from functools import cache
from typing import TYPE_CHECKING, Any, Literal, Union, get_args, get_origin, get_type_hints

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable


class DecodeError(Exception):
    """A text is not JSON."""


class ValidationError(DecodeError):
    """A value is not of the type it should be; the message names the place."""


_ORDER = ("bool", "int", "float", "str", "object", "array", "null")
_SCALARS = {bool: "bool", int: "int", float: "float", str: "str", type(None): "null"}


class Shape:
    """The values that one type takes.

    Attributes:
        anything: any value is taken.
        direct: Python types of values that are taken as they are.
        kinds: JSON's kinds of value that are taken.
        words: the strings that are taken; None: all, where strings are.
        numbers: the integers that are taken; None: all, where integers are.
        array: what makes a sequence of the items of an array.
        items: shape of every item of an array.
        places: shapes of the items of an array of one length.
        values: shape of the values of an object that is a dictionary.
        record: the class of an object that is a record.
    """

    __slots__ = (
        "anything", "array", "direct", "items", "kinds", "numbers", "places", "record", "values",
        "words",
    )  # fmt: skip

    def __init__(self) -> None:
        self.anything = False
        self.direct: set[type] = set()
        self.kinds: set[str] = set()
        self.words: frozenset[str] | None = None
        self.numbers: frozenset[int] | None = None
        self.array: Callable[[Iterable[Any]], Any] = list
        self.items: Shape | None = None
        self.places: tuple[Shape, ...] | None = None
        self.values: Shape | None = None
        self.record: Fields | None = None

    @property
    def expected(self) -> str:
        """The kinds of values that are taken, as errors name them."""
        return " | ".join(kind for kind in _ORDER if kind in self.kinds)


class Fields:
    """The fields of a class of records.

    Attributes:
        kind: the class.
        shapes: the shape of each field.
        required: those without a default.
        strict: others are refused.
    """

    __slots__ = ("kind", "required", "shapes", "strict")

    def __init__(self, kind: Any, shapes: dict[str, Shape]) -> None:
        self.kind = kind
        self.shapes = shapes
        defaults = kind.__struct_defaults__
        self.required = tuple(name for name in kind.__struct_fields__ if name not in defaults)
        self.strict = bool(kind.__struct_strict__)


@cache
def shape_of(annotation: Any) -> Shape:
    """The shape of a type.

    Raises:
        TypeError: no JSON value is of this type.
    """
    shape = Shape()
    for one in _options(annotation):
        _take(shape, one)
    return shape


def _options(annotation: Any) -> tuple[Any, ...]:
    if get_origin(annotation) in (Union, types.UnionType):
        return tuple(one for option in get_args(annotation) for one in _options(option))
    return (annotation,)


def _take(shape: Shape, kind: Any) -> None:
    origin = get_origin(kind)
    args = get_args(kind)
    if kind is Any or kind is object:
        shape.anything = True
    elif kind is None:
        _scalar(shape, type(None))
    elif kind in _SCALARS:
        _scalar(shape, kind)
    elif origin is Literal:
        _literal(shape, args)
    elif origin is tuple and not (len(args) == 2 and args[1] is ...):
        _one_of(shape, "array")
        shape.array, shape.places = tuple, tuple(map(shape_of, args))
    elif kind in (list, tuple) or origin in (list, tuple):
        _one_of(shape, "array")
        shape.array = tuple if tuple in (kind, origin) else list
        shape.items = shape_of(args[0] if args else Any)
    elif kind is dict or origin is dict:
        _one_of(shape, "object")
        shape.values = shape_of(args[1] if args else Any)
    elif hasattr(kind, "__struct_fields__"):
        _one_of(shape, "object")
        shape.record = fields_of(kind)
    else:
        raise TypeError(f"Type {kind!r} is not supported")


def _scalar(shape: Shape, kind: type) -> None:
    shape.kinds.add(_SCALARS[kind])
    shape.direct.add(kind)


def _literal(shape: Shape, options: tuple[Any, ...]) -> None:
    words = frozenset(one for one in options if isinstance(one, str))
    numbers = frozenset(one for one in options if type(one) is int)
    if None in options:
        _scalar(shape, type(None))
    if words:
        _one_of(shape, "str")
        shape.words = words
    if numbers:
        _one_of(shape, "int")
        shape.numbers = numbers


def _one_of(shape: Shape, kind: str) -> None:
    if kind in shape.kinds:
        raise TypeError(f"Type unions can't hold more than one {kind}-like type")
    shape.kinds.add(kind)


@cache
def fields_of(kind: Any) -> Fields:
    """The fields of a class of records, with their shapes."""
    hints = get_type_hints(kind)
    return Fields(kind, {name: shape_of(hints[name]) for name in kind.__struct_fields__})
