"""The modelled machine: plays a scenario from event to event."""

from oomkit.errors import ModelError
from oomkit.model.play import play

__all__ = ["ModelError", "play"]
