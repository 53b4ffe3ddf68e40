"""A TOML file as a dictionary."""

import tomllib
from typing import Any

from oomkit.files.safely import open_regular, open_trusted
from oomkit.toml.numbers import EXPECTED, unsound
from oomkit.toml.table import Fault, TomlError

MOST_BYTES = 8 << 20
"""Maximum size; more is not written by hand, and decoding it would take minutes."""


def load(path: str, *, trusted: bool = False) -> dict[str, Any]:
    """Decode a TOML file.

    Args:
        path: the file; it must be a regular one.
        trusted: refuse one that others can change.

    Raises:
        TomlError: unreadable, too large, not UTF-8, no TOML, or numbers that do not fit.
    """
    try:
        with open(open_trusted(path) if trusted else open_regular(path), "rb") as file:
            data = file.read(MOST_BYTES + 1)
        text = data.decode("utf-8") if len(data) <= MOST_BYTES else ""
        raw = tomllib.loads(text.replace("\r\n", "\n").replace("\r", "\n"))
    except OSError as error:
        fault = error.strerror or str(error)
    except UnicodeDecodeError:
        fault = "expected UTF-8 text"
    except (tomllib.TOMLDecodeError, RecursionError) as error:
        fault = f"not TOML: {error}"
    except ValueError:  # int() limits the number of digits
        fault = f"expected {EXPECTED}"
    else:
        if len(data) > MOST_BYTES:
            raise TomlError(path, [Fault(path="", expected="expected at most 8 MiB of TOML")])
        faults = list(unsound(raw))
        if not faults:
            return raw
        raise TomlError(path, faults)
    raise TomlError(path, [Fault(path="", expected=fault)])
