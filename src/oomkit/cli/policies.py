"""What ``--policy`` names, of every kind."""

import sys
from collections.abc import Sequence
from typing import TYPE_CHECKING

from oomkit.cli.streams import say

if TYPE_CHECKING:
    from oomkit.policy.records import Policy


def find(name: str, *, overrides: Sequence[str] = (), trusted: bool = False) -> "Policy":
    """The policy of a name: built in, a daemon's configuration, or a file.

    Args:
        name: what ``--policy`` says.
        overrides: what ``--set`` says.
        trusted: refuse files that others can change.

    Raises:
        PolicyError: it can't be used; it lists all that is wrong.
    """
    if name.startswith("kubelet:"):
        from oomkit.kubernetes.policy import policy_at

        return policy_at(name.removeprefix("kubelet:"), overrides=overrides)
    from oomkit.policy.read import find_policy

    return find_policy(name, overrides=overrides, trusted=trusted)


def found(name: str) -> "Policy":
    """The same, or the end of the command with a line for each fault."""
    from oomkit.policy.read import PolicyError

    try:
        return find(name)
    except PolicyError as error:
        for line in error.lines():
            say(f"oomkit: {line}")
        sys.exit(2)


def is_named(word: str) -> bool:
    """Whether a word is a built-in policy's name or a daemon's configuration, and no file."""
    from oomkit.policy import builtin
    from oomkit.policy.peers.read import parted

    return word in builtin.NAMES or parted(word) is not None
