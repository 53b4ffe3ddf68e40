"""Counts of what happened since the start, for the status file."""

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any


class Tally:
    """Counts records as they are made.

    Args:
        started_s: when the daemon started, seconds since the epoch.
    """

    __slots__ = ("_acts", "_freed_kb", "_kernel_kills", "_last_act_s", "_signals", "_started_s",
                 "_warnings")  # fmt: skip

    def __init__(self, started_s: float) -> None:
        self._started_s = started_s
        self._last_act_s: float | None = None
        self._acts: dict[str, int] = {}
        self._signals: dict[str, int] = {}
        self._freed_kb = self._kernel_kills = self._warnings = 0

    def count(self, record: "dict[str, Any]") -> None:
        """Take a record into account; an act when it is over."""
        kind = record["kind"]
        if kind == "warn":
            self._warnings += 1
        elif kind == "kernel_kill":
            self._kernel_kills += record.get("count", 1)
        elif kind == "act" and "outcome" in record:
            outcome = record["outcome"]
            self._acts[outcome] = self._acts.get(outcome, 0) + 1
            self._freed_kb += record.get("freed_kb", 0)
            self._last_act_s = record["time_s"]
            for one in record["signals"]:
                if not one["error"]:
                    self._signals[one["name"]] = self._signals.get(one["name"], 0) + 1

    def values(self) -> "dict[str, Any]":
        """The counts."""
        return {
            "started_s": self._started_s,
            "last_act_s": self._last_act_s,
            "acts": self._acts,
            "signals": self._signals,
            "freed_kb": self._freed_kb,
            "kernel_kills": self._kernel_kills,
            "warnings": self._warnings,
        }
