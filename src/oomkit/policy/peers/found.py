"""What a reader of a daemon's configuration hands on."""

from typing import Any

from oomkit.policy.records import Origin
from oomkit.toml.table import Fault, TomlError


class Found:
    """Collects what a configuration says, cannot say, and does wrong.

    Args:
        daemon: whose configuration it is.

    Attributes:
        version: whose rules are followed.
        left_out: what has no counterpart, a line each.
        traps: what may not be meant, a line each.
        faults: what is wrong, each with its file.
    """

    def __init__(self, daemon: str) -> None:
        self.daemon = daemon
        self.version = ""
        self.left_out: list[str] = []
        self.traps: list[str] = []
        self.faults: list[tuple[str, Fault]] = []

    def leave_out(self, place: str, key: str, why: str) -> None:
        """Name what has no counterpart.

        Args:
            place: file and line.
            key: what stands there.
            why: what is not done, or done otherwise.
        """
        self.left_out.append(f"{place}: {key}: {why}")

    def fault(self, place: str, key: str, expected: str) -> None:
        """Note what is wrong.

        Args:
            place: file and line.
            key: what stands there.
            expected: what should.
        """
        self.faults.append((place, Fault(path=key, expected=expected)))

    def check(self) -> None:
        """Refuse what is wrong.

        Raises:
            TomlError: something is; it lists all of it.
        """
        if self.faults:
            raise PeerError(self.faults)

    def origin(self, files: list[str]) -> Origin:
        """What is shown of it besides the policy."""
        return Origin(
            daemon=self.daemon,
            version=self.version,
            files=tuple(dict.fromkeys(files)),
            left_out=tuple(self.left_out),
            traps=tuple(self.traps),
        )


class PeerError(TomlError):
    """A configuration that is wrong, each fault with its own file and line."""

    def __init__(self, faults: list[tuple[str, Fault]]) -> None:
        self.places = [place for place, _ in faults]
        super().__init__(self.places[0], [fault for _, fault in faults])

    def lines(self) -> list[str]:
        """One line a fault: file and line, key, what was expected."""
        return [
            TomlError(place, [fault]).lines()[0]
            for place, fault in zip(self.places, self.faults, strict=True)
        ]


Raw = dict[str, Any]
"""A policy as its file says it."""


def one_fault(place: str, expected: str) -> TomlError:
    """The error about one file that can't be used."""
    return TomlError(place, [Fault(path="", expected=expected)])


_MOST_SECONDS = 366 * 86400.0
_MOST_KIB = float(2**40)


def span(time_s: float) -> str:
    """A time as a policy writes it: from a millisecond, or 0, to a year, which is for ever."""
    return f"{min(time_s, _MOST_SECONDS):.3f}s" if time_s >= 0.0005 else "0s"


def size(kib: float) -> str:
    """A size as a policy writes it: at most a pebibyte, which no machine has."""
    return f"{min(kib, _MOST_KIB):.0f}K"


def percent(share: float) -> str:
    """A share as a policy writes it."""
    return f"{100 * share:.6f}".rstrip("0").rstrip(".") + "%"
