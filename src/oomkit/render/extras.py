"""The libraries of extras, and what to say where they are not installed."""

import importlib
from types import ModuleType

from oomkit.errors import OomkitError


class MissingExtraError(OomkitError):
    """Pictures or pages were asked for where their libraries are not installed."""


def need(module: str) -> ModuleType:
    """Import a library of the extra.

    Raises:
        MissingExtraError: it is not installed; the text says what to install.
    """
    try:
        return importlib.import_module(module)
    except ImportError:
        raise MissingExtraError(
            f"pictures and pages need {module}: install oomkit[report] "
            "(altair, jinja2, vl-convert-python)"
        ) from None


def need_altair() -> ModuleType:
    """Import altair.

    It holds each part of a chart to its schema as the part is made, which takes a quarter of the
    time of a page. Views make few kinds of charts, and tests hold each of them as a whole.

    Raises:
        MissingExtraError: it is not installed; the text says what to install.
    """
    altair = need("altair")
    altair.utils.schemapi.DEBUG_MODE = False
    return altair


def need_textual() -> ModuleType:
    """Import textual.

    Raises:
        MissingExtraError: it is not installed; the text says what to install.
    """
    try:
        return importlib.import_module("textual")
    except ImportError:
        raise MissingExtraError("oomkit top needs textual: install oomkit[top]") from None


def need_polars() -> ModuleType:
    """Import polars.

    Raises:
        MissingExtraError: it is not installed; the text says what to install.
    """
    try:
        return importlib.import_module("polars")
    except ImportError:
        raise MissingExtraError("sweeps need polars: install oomkit[sweep]") from None
