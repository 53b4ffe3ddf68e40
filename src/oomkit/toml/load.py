"""A TOML file as a dictionary."""

import tomllib
from pathlib import Path
from typing import Any

from oomkit.toml.numbers import EXPECTED, unsound
from oomkit.toml.table import Fault, TomlError


def load(path: str) -> dict[str, Any]:
    """Decode a TOML file.

    Raises:
        TomlError: unreadable, not UTF-8, no TOML, or numbers that do not fit.
    """
    try:
        raw = tomllib.loads(Path(path).read_text(encoding="utf-8"))
    except OSError as error:
        fault = error.strerror or str(error)
    except UnicodeDecodeError:
        fault = "expected UTF-8 text"
    except (tomllib.TOMLDecodeError, RecursionError) as error:
        fault = f"not TOML: {error}"
    except ValueError:  # int() takes so many digits and no more
        fault = f"expected {EXPECTED}"
    else:
        faults = list(unsound(raw))
        if not faults:
            return raw
        raise TomlError(path, faults)
    raise TomlError(path, [Fault(path="", expected=fault)])
