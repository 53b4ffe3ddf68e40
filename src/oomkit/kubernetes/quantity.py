"""Quantities as Kubernetes writes them: ``512Mi``, ``1.5G``, ``2e9``."""

import math
import re
from fractions import Fraction
from typing import Any

_QUANTITY = re.compile(
    r"([+-]?)(\d+(?:\.\d*)?|\.\d+)(?:(Ki|Mi|Gi|Ti|Pi|Ei|n|u|m|k|M|G|T|P|E)|[eE]([+-]?\d{1,3}))?",
    re.ASCII,
)
_BINARY = {name: 1024**i for i, name in enumerate(("Ki", "Mi", "Gi", "Ti", "Pi", "Ei"), 1)}
_DECIMAL = {"n": -9, "u": -6, "m": -3, "": 0, "k": 3, "M": 6, "G": 9, "T": 12, "P": 15, "E": 18}
_MAX_CHARS = 40
MAX = 2**63 - 1
"""The largest that Kubernetes keeps; more is cut to it."""

MEMORY = (
    'a quantity of memory such as "512Mi" or "2G" (Ki, Mi, Gi: powers of 1024; k, M, G: of 1000)'
)
CPU = 'a quantity of CPUs such as "500m" or "2"'


def quantity(value: Any) -> Fraction:
    """A quantity, exactly (apimachinery's pkg/api/resource/quantity.go).

    Raises:
        ValueError: it is none.
    """
    if isinstance(value, bool) or not isinstance(value, (str, int, float)):
        raise ValueError("a quantity")
    text = value if isinstance(value, str) else repr(value)
    found = _QUANTITY.fullmatch(text) if len(text) <= _MAX_CHARS else None
    if found is None:
        raise ValueError("a quantity")
    sign, number, suffix, exponent = found.groups()
    amount = Fraction(number if not number.endswith(".") else number[:-1])
    if suffix in _BINARY:
        amount *= _BINARY[suffix]
    else:
        amount *= Fraction(10) ** (int(exponent) if exponent else _DECIMAL[suffix or ""])
    return min(-amount if sign == "-" else amount, Fraction(MAX))


def memory(value: Any) -> int:
    """Bytes of a quantity of memory, rounded up as ``Quantity.Value()`` does.

    Raises:
        ValueError: it is none, or negative; the text says what was expected.
    """
    return math.ceil(_not_negative(value, MEMORY))


def cpus(value: Any) -> int:
    """Thousandths of a CPU, rounded up as ``Quantity.MilliValue()`` does.

    Raises:
        ValueError: it is none, or negative; the text says what was expected.
    """
    return math.ceil(_not_negative(value, CPU) * 1000)


def _not_negative(value: Any, expected: str) -> Fraction:
    try:
        amount = quantity(value)
    except ValueError:
        raise ValueError(expected) from None
    if amount < 0:
        raise ValueError(f"{expected}, not below 0")
    return amount
