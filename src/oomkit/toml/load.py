"""A TOML file as a dictionary."""

import tomllib
from pathlib import Path
from typing import Any

from oomkit.toml.table import Fault, TomlError


def load(path: str) -> dict[str, Any]:
    """Decode a TOML file.

    Raises:
        TomlError: unreadable, not UTF-8, or no TOML.
    """
    try:
        return tomllib.loads(Path(path).read_text(encoding="utf-8"))
    except OSError as error:
        fault = error.strerror or str(error)
    except UnicodeDecodeError:
        fault = "expected UTF-8 text"
    except (tomllib.TOMLDecodeError, RecursionError) as error:
        fault = f"not TOML: {error}"
    raise TomlError(path, [Fault(path="", expected=fault)])
