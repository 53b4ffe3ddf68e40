"""A policy as a person names it: one that comes with oomkit, or a file."""

import os
import tomllib
from collections.abc import Sequence

from oomkit.policy import builtin
from oomkit.policy.format import Policy
from oomkit.policy.read import PolicyError, policy_from, read_policy
from oomkit.toml.table import Fault


def find_policy(name: str, *, overrides: Sequence[str] = (), trusted: bool = False) -> Policy:
    """Return the built-in policy of that name, or else the one in that file.

    Args:
        name: of either.
        overrides: changes such as ``whom.level=tree``, made before it is checked.
        trusted: refuse a file that others can change.

    Raises:
        PolicyError: unreadable, no TOML, or wrong; it lists all that is wrong.
    """
    if name in builtin.NAMES:
        raw = tomllib.loads(builtin.source(name))
        return policy_from(raw, source=f"built-in policy {name}", overrides=overrides)
    if os.sep not in name and not name.endswith(".toml") and not os.path.exists(name):
        known = ", ".join(builtin.NAMES)
        raise PolicyError(
            name, [Fault(path="", expected=f"expected a policy file or one of {known}")]
        )
    return read_policy(name, overrides=overrides, trusted=trusted)
