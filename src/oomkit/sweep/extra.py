"""The library of the extra ``sweep``, and what to say where it is not installed."""

import importlib
from types import ModuleType

from oomkit.report.extra import MissingExtraError


def need_polars() -> ModuleType:
    """Import polars.

    Raises:
        MissingExtraError: it is not installed; the text says what to install.
    """
    try:
        return importlib.import_module("polars")
    except ImportError:
        raise MissingExtraError("sweeps need polars: install oomkit[sweep]") from None
