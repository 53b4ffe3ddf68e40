"""A record as a line: what goes in comes out of any JSON reader."""

import json
import subprocess
import sys

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from oomkit.guard.journal import encode

pytestmark = pytest.mark.hermetic

VALUES = st.recursive(
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.text(),
    lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner),
    max_leaves=12,
)


@settings(max_examples=50, deadline=None)
@given(st.dictionaries(st.text(), VALUES))
def test_what_goes_in_comes_out_on_one_line(record: dict[str, object]) -> None:
    line = encode(record)
    assert line.endswith(b"\n")
    assert line.count(b"\n") == 1
    assert len(line.decode().splitlines()) == 1
    assert json.loads(line) == record
    msgspec.json.decode(line)


@given(st.binary(max_size=40))
def test_any_name_of_a_process_gives_valid_json(comm: bytes) -> None:
    name = comm.decode("utf-8", "surrogateescape")
    decoded = json.loads(encode({"comm": name, "raw": comm}))
    assert decoded["comm"] == decoded["raw"] == comm.decode("utf-8", "backslashreplace")


@pytest.mark.parametrize("code", [0x00, 0x1F, 0x7F, 0x85, 0x9F, 0x2028, 0x2029])
def test_what_ends_a_line_or_moves_a_terminal_is_escaped(code: int) -> None:
    line = encode({"comm": f"a{chr(code)}b"})
    assert line == b'{"comm":"a\\u%04xb"}\n' % code
    assert json.loads(line) == {"comm": f"a{chr(code)}b"}


@pytest.mark.parametrize("code", [0x20, 0x7E, 0xA0, 0x2027, 0x202A])
def test_what_lies_beside_is_written_as_it_is(code: int) -> None:
    assert encode({"comm": chr(code)}) == f'{{"comm":"{chr(code)}"}}\n'.encode()


def test_what_json_has_no_word_for() -> None:
    record = {"nan": float("nan"), "inf": float("-inf"), "pair": (1, 2.5), "type": int}
    assert json.loads(encode(record)) == {
        "nan": None, "inf": None, "pair": [1, 2.5], "type": "<class 'int'>",
    }  # fmt: skip


def test_the_daemons_side_imports_nothing_heavy() -> None:
    code = """
import sys
before = set(sys.modules)
from oomkit.guard import flight_recorder, journal
heavy = {"json", "re", "typing", "dataclasses", "enum", "msgspec", "sqlite3", "logging", "pathlib"}
print(sorted(heavy & (set(sys.modules) - before)))
"""
    done = subprocess.run(
        [sys.executable, "-I", "-S", "-c", f"import sys; sys.path.insert(0, {SRC!r})\n{code}"],
        capture_output=True, text=True, check=True,
    )  # fmt: skip
    assert done.stdout == "[]\n"


SRC = __file__.partition("/tests/")[0] + "/src"
