"""Records and their JSON are the same with msgspec and without it."""

import copy
import itertools
import json
import pickle
import re
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.records.families import MSGSPEC, PLAIN, Family, made

BOTH = pytest.mark.parametrize("family", [MSGSPEC, PLAIN], ids=["msgspec", "plain"])

TEXT = st.text(st.characters(exclude_categories=["Cs"]), max_size=8)
SCALAR = st.none() | st.booleans() | st.integers(-(2**70), 2**70) | TEXT | st.floats()
VALUE = st.recursive(
    SCALAR,
    lambda inner: (
        st.lists(inner, max_size=4)
        | st.lists(inner, max_size=4).map(tuple)
        | st.dictionaries(TEXT | st.integers(), inner, max_size=4)
    ),
    max_leaves=12,
)


def outcome(family: Family, data: bytes, kind: object) -> tuple[str, str]:
    """What JSON is read as, or the error and what it says."""
    try:
        return "", repr(family.module.from_json(data, type=kind))
    except Exception as error:
        return type(error).__name__, str(error)


@settings(max_examples=400)
@given(VALUE, st.integers(0, 3))
def test_values_are_written_alike(value: Any, indent: int) -> None:
    theirs = MSGSPEC.module.to_json(value, indent=indent)
    assert PLAIN.module.to_json(value, indent=indent) == theirs


@given(VALUE)
def test_records_become_the_same_plain_values(value: Any) -> None:
    mine = [PLAIN.pair(first=1, second="x"), {"a": (PLAIN.open(count=2, names=["y"]), value)}]
    theirs = [MSGSPEC.pair(first=1, second="x"), {"a": (MSGSPEC.open(count=2, names=["y"]), value)}]
    assert PLAIN.module.to_builtins(mine) == MSGSPEC.module.to_builtins(theirs)


@settings(max_examples=1000)
@given(st.floats() | st.builds(lambda m, e: m * 10.0**e, st.integers(-99, 99), st.integers(-9, 25)))
def test_numbers_are_written_alike(number: float) -> None:
    assert PLAIN.module.to_json(number) == MSGSPEC.module.to_json(number)


LEAF: dict[str, Any] = {
    "pid": 1, "share": 2, "name": "x\u00e9\n\"", "version": 1, "kind": "b", "other": None,
    "nodes": [1, 2, 3], "stat": {"a": 1, "\u00e9": 2}, "is_set": True, "pair": [1, "x"],
    "curve": [1, 2.5, 1e-7],
}  # fmt: skip
TOP: dict[str, Any] = {
    "title": "a", "leaf": LEAF, "many": [{"pid": 1}, {"pid": 2, "kind": "a"}],
    "by_name": {"k": {"pid": 3}}, "anything": [1, {"a": None}], "word_or_number": "q",
    "share_or_flag": 1, "tables": {"a": {"b": []}}, "words": [["a", 1]], "bare": {"q": 1},
    "last": 7,
}  # fmt: skip
TOKEN = re.compile(rb'"(?:[^"\\]|\\.)*"|[\[\]{},:]|[^\s\[\]{},:"]+')
PIECES = (
    b'"x"', b"1", b"-1", b"1.5", b"true", b"null", b"[]", b"{}", b"[1]", b'{"a":1}', b"1e999",
    b"01", b"nul", b'"\xff"', b'"\\ud800"', b'"\\ud83d\\ude00"', b'"\\u00e9"', b'"\\q"', b"NaN",
    b",", b"}", b"]", b":", b" ", b'"', b"1" * 400, b"1" * 4301, b'"\x01"', b"-", b"1.", b"1e",
    b'"c"', b"3", b"-0", b"[1,2,3]", b"\xef\xbb\xbf", b"", b'"\\u12"', b'"\\ud83d\\u0041"',
    b"99999999999999999999", b"-Infinity", b"\x00",
)  # fmt: skip


@st.composite
def damaged(draw: st.DrawFn) -> bytes:
    """JSON of a record in which a piece is another, is cut off, or a byte is."""
    indent = draw(st.sampled_from([None, 1]))
    data = json.dumps(TOP, ensure_ascii=draw(st.booleans()), indent=indent).encode()
    for _ in range(draw(st.integers(1, 2))):
        spans = [found.span() for found in TOKEN.finditer(data)]
        if not spans:
            break
        start, end = draw(st.sampled_from(spans))
        how = draw(st.sampled_from(["piece", "piece", "cut", "byte"]))
        if how == "piece":
            data = data[:start] + draw(st.sampled_from(PIECES)) + data[end:]
        elif how == "cut":
            data = data[: draw(st.integers(0, len(data)))]
        else:
            at = draw(st.integers(0, len(data)))
            data = data[:at] + bytes([draw(st.integers(0, 255))]) + data[at + 1 :]
    return data


@settings(max_examples=1500)
@given(damaged())
def test_what_is_wrong_is_said_in_the_same_words(data: bytes) -> None:
    """Values, kinds of errors, their words and the place they name."""
    for theirs, ours in ((MSGSPEC.top, PLAIN.top), (Any, Any), (dict[str, Any], dict[str, Any])):
        expected = outcome(MSGSPEC, data, theirs)
        assert outcome(PLAIN, data, ours) == expected


@pytest.mark.parametrize(
    ("change", "complaint"),
    [
        ({"title": 3}, "Expected `str`, got `int` - at `$.title`"),
        ({"leaf": {}}, "Object missing required field `pid` - at `$.leaf`"),
        ({"leaf": []}, "Expected `object | null`, got `array` - at `$.leaf`"),
        ({"many": [{"pid": 1}, {"pid": 1.5}]}, "Expected `int`, got `float` - at `$.many[1].pid`"),
        ({"by_name": {"a": 1}}, "Expected `object`, got `int` - at `$.by_name[...]`"),
        ({"leaf": {"pid": 1, "pod": 2}}, "Object contains unknown field `pod` - at `$.leaf`"),
        ({"leaf": LEAF | {"kind": "c"}}, "Invalid enum value 'c' - at `$.leaf.kind`"),
        ({"leaf": LEAF | {"version": 3}}, "Invalid enum value 3 - at `$.leaf.version`"),
        ({"leaf": LEAF | {"pair": [1]}}, "Expected `array` of length 2 - at `$.leaf.pair`"),
        ({"words": [["a", 1], ["b", None]]}, "Expected `int`, got `null` - at `$.words[1][1]`"),
        (
            {"word_or_number": []},
            "Expected `int | str | null`, got `array` - at `$.word_or_number`",
        ),
    ],
)
@BOTH
def test_the_place_is_named(family: Family, change: dict[str, Any], complaint: str) -> None:
    with pytest.raises(family.module.ValidationError) as raised:
        family.module.from_json(json.dumps(TOP | change), type=family.top)
    assert str(raised.value) == complaint


@BOTH
def test_what_a_class_does_not_know_is_passed_over(family: Family) -> None:
    text = b'{"title": "a", "last": 1, "more": [{"a": "\xff"}, 1e999, %s]}' % (b"1" * 5000)
    assert family.module.from_json(text, type=family.top).last == 1


@BOTH
def test_a_record_is_made_and_compared(family: Family) -> None:
    one, same = family.leaf(pid=1, nodes=(1, 2)), family.leaf(nodes=(1, 2), pid=1)
    assert one == same
    assert one != family.leaf(pid=2, nodes=(1, 2))
    assert one != (1, 2)
    assert one.stat == {}
    assert one.stat is not same.stat
    assert hash(family.pair(1)) == hash(family.pair(1, second="x"))
    assert {family.pair(1), family.pair(1, "x"), family.pair(2)} == {family.pair(2), family.pair(1)}
    assert repr(family.pair(1)) == "Pair(first=1, second='x')"
    match family.pair(4, "y"):
        case family.pair(first, second):
            assert (first, second) == (4, "y")
    with pytest.raises(TypeError):
        hash(family.open(1))


@BOTH
def test_a_frozen_record_does_not_change(family: Family) -> None:
    one = family.leaf(pid=1)
    with pytest.raises(AttributeError):
        one.pid = 2
    with pytest.raises(AttributeError):
        del one.pid
    with pytest.raises(AttributeError):
        one.more = 2
    assert one == family.leaf(pid=1)
    free = family.open(1)
    free.count = 2
    assert family.module.as_dict(free) == {"count": 2, "names": []}
    with pytest.raises(AttributeError):
        free.more = 2


@BOTH
def test_what_is_missing_or_too_much_is_refused(family: Family) -> None:
    for arguments, named in itertools.product(((), (1,)), ({}, {"pid": 1, "more": 1})):
        with pytest.raises(TypeError):
            family.leaf(*arguments, **named)
    with pytest.raises(TypeError):
        family.pair()
    with pytest.raises(TypeError):
        family.module.replace(family.pair(1), third=1)


@BOTH
def test_records_are_copied(family: Family) -> None:
    one = family.leaf(pid=1, stat={"a": 1})
    other = family.module.replace(one, pid=2)
    assert (other.pid, one.pid) == (2, 1)
    assert other.stat is one.stat
    assert copy.copy(one) == one
    deep = copy.deepcopy(one)
    assert deep == one
    assert deep.stat is not one.stat
    assert family.module.field_names(one) == family.module.field_names(family.leaf)
    assert list(family.module.as_dict(one)) == list(family.module.field_names(one))


def test_records_go_to_other_processes() -> None:
    from oomkit.kernel.state import Memory, Snapshot, Task

    snapshot = Snapshot(
        kernel="6.1", memory=Memory(total_ram_pages=1), tasks=(Task(pid=1, comm="a"),)
    )
    assert pickle.loads(pickle.dumps(snapshot)) == snapshot


@BOTH
def test_numbers_may_be_texts_where_rows_are_read(family: Family) -> None:
    rows = [{"pid": "12", "name": "34"}, {"pid": 5, "name": "x", "is_set": True}]
    made = family.module.from_texts(family.leaf, rows)
    assert made == [family.leaf(pid=12, name="34"), family.leaf(pid=5, name="x", is_set=True)]


@BOTH
def test_a_default_that_many_would_share_is_refused(family: Family) -> None:
    with pytest.raises(TypeError):
        made(family.module.Record, "Wrong", {"a": list}, {"a": [1]})


def test_a_class_of_a_class_has_the_fields_of_both() -> None:
    base = made(PLAIN.module.Record, "Base", {"a": int}, frozen=True)
    more = made(base, "More", {"b": int}, {"b": 2}, kw_only=True)
    one = more(1, b=3)
    assert (one.a, one.b) == (1, 3)
    assert PLAIN.module.field_names(more) == ("a", "b")
    with pytest.raises(AttributeError):
        one.a = 2
    assert more(1) == more(1, b=2)
    assert PLAIN.module.to_json(one) == b'{"a":1,"b":3}'
