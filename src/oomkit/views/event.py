"""One thing that happened in a run."""

from typing import Literal

import msgspec

Kind = Literal[
    "start", "end", "short", "swap", "pressure", "freeze", "kill", "would_have", "denied", "knob",
    "panic", "outcome",
]  # fmt: skip


class Happening(msgspec.Struct, frozen=True, kw_only=True):
    """One thing that happened.

    Attributes:
        t_s: when.
        kind: what sort of thing.
        what: one sentence.
        why: reasons and consequences, a line each.
        kill: index in the run's kills.
        many: stands for several.
    """

    t_s: float
    kind: Kind
    what: str
    why: tuple[str, ...] = ()
    kill: int | None = None
    many: bool = False
