"""One change of the kernel's rules."""

from typing import Any

import msgspec


class Change(msgspec.Struct, frozen=True, kw_only=True):
    """One change of the rules.

    Attributes:
        since: first mainline version that has it.
        sets: the fields of the rule set it changes.
        what: what changed, in the kernel's terms.
        meaning: what that means to a user; empty where a user can't notice.
        backports: first stable release of an older branch known to carry it, such as
            ``("5.15", 55)`` for 5.15.55.
    """

    since: str
    sets: dict[str, Any]
    what: str
    meaning: str = ""
    backports: tuple[tuple[str, int], ...] = ()
