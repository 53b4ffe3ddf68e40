"""Records by the standard library alone.

Classes have slots. What makes an instance is written out by ``exec`` when the first one is made, so
that a class costs next to nothing until then.
"""

import sys
from collections.abc import Callable, Sequence
from typing import (
    TYPE_CHECKING,
    Any,
    ClassVar,
    TypeVar,
    dataclass_transform,
    get_args,
    get_origin,
    get_type_hints,
)

from oomkit.records.json_text import DecodeError, ValidationError, from_json, to_builtins, to_json

__all__ = [
    "DecodeError",
    "Record",
    "ValidationError",
    "as_dict",
    "field_names",
    "from_json",
    "from_texts",
    "replace",
    "to_builtins",
    "to_json",
]

R = TypeVar("R", bound="Record")

_MISSING: Any = type("missing", (), {"__repr__": lambda _: "..."})()
_FRESH = (list, dict, set)
"""Empty ones as a default are made again for each instance."""

_set = object.__setattr__


def _annotations(namespace: dict[str, Any]) -> dict[str, Any]:
    """The annotations of a class that is being made, evaluated or not."""
    if sys.version_info >= (3, 14):
        import annotationlib

        annotate = annotationlib.get_annotate_from_class_namespace(namespace)
        if annotate is not None:
            return annotationlib.call_annotate_function(annotate, annotationlib.Format.FORWARDREF)
    return dict(namespace.get("__annotations__", {}))


def _is_field(annotation: Any) -> bool:
    if isinstance(annotation, str):
        return not annotation.removeprefix("typing.").startswith("ClassVar")
    return annotation is not ClassVar and get_origin(annotation) is not ClassVar


@dataclass_transform(kw_only_default=False, frozen_default=False)
class RecordType(type):
    """Makes classes of records; the keywords mean what they mean to msgspec."""

    __struct_fields__: tuple[str, ...]
    __struct_defaults__: dict[str, Any]
    __struct_frozen__: bool
    __struct_strict__: bool
    __struct_positional__: tuple[str, ...]

    def __new__(
        mcs,
        name: str,
        bases: tuple[type, ...],
        namespace: dict[str, Any],
        *,
        frozen: bool = False,
        kw_only: bool = False,
        forbid_unknown_fields: bool = False,
        gc: bool = True,  # noqa: ARG004 - what msgspec alone heeds
    ) -> "RecordType":
        """Make a class.

        Args:
            name: its name.
            bases: what it derives from.
            namespace: its body.
            frozen: instances can't be changed, and can be hashed.
            kw_only: fields are given by name alone.
            forbid_unknown_fields: JSON with a field that the class has not is refused.
            gc: of use to msgspec only.
        """
        fields: dict[str, None] = {}
        defaults: dict[str, Any] = {}
        positional: list[str] = []
        for base in reversed(bases):
            if isinstance(base, RecordType):
                fields.update(dict.fromkeys(base.__struct_fields__))
                defaults.update(base.__struct_defaults__)
                positional += base.__struct_positional__
                frozen = frozen or base.__struct_frozen__
                forbid_unknown_fields = forbid_unknown_fields or base.__struct_strict__
        own = [key for key, kind in _annotations(namespace).items() if _is_field(kind)]
        body = dict(namespace)
        for key in own:
            if key in body:
                defaults[key] = _checked(name, key, body.pop(key))
        slots = tuple(key for key in own if key not in fields)
        fields.update(dict.fromkeys(own))
        if not kw_only:
            positional += [key for key in own if key not in positional]
        body["__slots__"] = slots
        body["__match_args__"] = tuple(positional)
        body["__struct_fields__"] = tuple(fields)
        body["__struct_defaults__"] = defaults
        body["__struct_frozen__"] = frozen
        body["__struct_strict__"] = forbid_unknown_fields
        body["__struct_positional__"] = tuple(positional)
        if not bases:
            return super().__new__(mcs, name, bases, body)
        if "__init__" not in body:
            body["__init__"] = _first_init
        if frozen:
            body.setdefault("__setattr__", _refuse)
            body.setdefault("__delattr__", _refuse)
            body.setdefault("__hash__", _hash)
        else:
            body.setdefault("__hash__", None)
        return super().__new__(mcs, name, bases, body)

    def __init__(cls, name: str, bases: tuple[type, ...], body: dict[str, Any], **_: Any) -> None:
        """Take the keywords that ``__new__`` has seen to."""
        super().__init__(name, bases, body)


def _checked(kind: str, key: str, default: Any) -> Any:
    if isinstance(default, _FRESH) and default:
        raise TypeError(f"{kind}.{key}: a default that can be changed has to be empty")
    return default


def _refuse(self: "Record", *_: Any) -> None:
    raise AttributeError(f"immutable type: {type(self).__name__!r}")


def _first_init(self: "Record", *args: Any, **values: Any) -> None:
    """Stands in for a class's ``__init__`` until its first instance."""
    cls = next(c for c in type(self).__mro__ if c.__dict__.get("__init__") is _first_init)
    assert isinstance(cls, RecordType)
    made = _init(cls)
    cls.__init__ = made  # type: ignore[misc]  # made for each class
    made(self, *args, **values)


def _init(cls: RecordType) -> Callable[..., None]:
    defaults = cls.__struct_defaults__
    names: dict[str, Any] = {"_set": _set, "_missing": _MISSING, "_cls": cls}
    parameters = ["self"]
    body = []
    by_name = [key for key in cls.__struct_fields__ if key not in cls.__struct_positional__]
    for key in (*cls.__struct_positional__, *by_name):
        if by_name and key == by_name[0]:
            parameters.append("*")
        value = key
        if key not in defaults:
            parameters.append(key)
        elif isinstance(defaults[key], _FRESH):
            parameters.append(f"{key}=_missing")
            value = f"{type(defaults[key]).__name__}() if {key} is _missing else {key}"
        else:
            names[f"_default_{key}"] = defaults[key]
            parameters.append(f"{key}=_default_{key}")
        body.append(f"self.{key} = {value}")
    if cls.__struct_frozen__:
        # A class of the same layout that can be changed: the interpreter stores into slots several
        # times as fast as it calls object.__setattr__.
        names["_open"] = _open_twin(cls)
        body = ["_set(self, '__class__', _open)", *body, "self.__class__ = _cls"]
    lines = "\n    ".join(body or ["pass"])
    exec(f"def __init__({', '.join(parameters)}):\n    {lines}\n", names)
    made: Callable[..., None] = names["__init__"]
    made.__qualname__ = f"{cls.__qualname__}.__init__"
    made.__module__ = cls.__module__
    return made


def _open_twin(cls: RecordType) -> type:
    """A class of the same layout whose instances can be changed."""
    body = {"__slots__": cls.__dict__["__slots__"], "__setattr__": _set}
    return type.__new__(RecordType, cls.__name__, cls.__bases__, body)


def _values(record: "Record") -> tuple[Any, ...]:
    return tuple([getattr(record, name) for name in record.__struct_fields__])


def _hash(self: "Record") -> int:
    return hash(_values(self))


class Record(metaclass=RecordType):
    """What records derive from."""

    if TYPE_CHECKING:
        __struct_fields__: ClassVar[tuple[str, ...]]

    def __eq__(self, other: object) -> bool:
        """The same class and fields that are equal."""
        if type(self) is not type(other):
            return NotImplemented
        assert isinstance(other, Record)
        return _values(self) == _values(other)

    __hash__ = None  # type: ignore[assignment]  # as Python does for what can change

    def __repr__(self) -> str:
        """The class's name and all fields."""
        fields = ", ".join(f"{name}={getattr(self, name)!r}" for name in self.__struct_fields__)
        return f"{type(self).__name__}({fields})"

    def __copy__(self) -> "Record":
        """A record of the same fields."""
        return replace(self)

    def __reduce__(self) -> tuple[Any, ...]:
        """By the fields' values, in their order."""
        return _again, (type(self), _values(self))


def _again(cls: type[R], values: tuple[Any, ...]) -> R:
    return cls(**dict(zip(cls.__struct_fields__, values, strict=True)))


def field_names(record: Record | type[Record]) -> tuple[str, ...]:
    """The names of a record's fields, or of those of a class, in their order."""
    return record.__struct_fields__


def as_dict(record: Record) -> dict[str, Any]:
    """The fields by name; what they hold is left as it is."""
    return {name: getattr(record, name) for name in record.__struct_fields__}


def replace(record: R, /, **changes: Any) -> R:
    """A record like another in all but the fields named."""
    return type(record)(**{**as_dict(record), **changes})


def from_texts(kind: type[R], rows: Sequence[dict[str, Any]]) -> list[R]:
    """Make records of one class from fields of which the numbers may still be text.

    Args:
        kind: the class.
        rows: the fields of each, sound ones: an integer's text has digits alone, and a sign.
    """
    hints = get_type_hints(kind)
    whole = {name for name, hint in hints.items() if int in (hint, *get_args(hint))}
    return [
        kind(**{name: int(value) if name in whole else value for name, value in row.items()})
        for row in rows
    ]
