"""What the full program hands to the daemon, as plain values."""

from oomkit.guard.places import Places

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any


class Settings:
    """How the daemon shall run.

    Attributes:
        plan: the policy, compiled; under ``users``, if it asks for them, names of user ids.
        source: the policy's name or file, for people.
        compile_argv: prints the plan of that policy, for SIGHUP.
        dry_run: do everything but the signals.
        places: where to look.
        missing: what can't be seen or done here, in sentences.
        journal: file of the records; empty: none.
        take_in_argv: takes the journal's full files into the history; empty: nobody does.
        recording: file of the flight recorder; empty: none.
        recording_bytes: its size.
        status: file that says what the daemon is doing; empty: none.
        state: file that keeps what is under way; empty: none.
        exporter: pid of the process that serves metrics; 0: there is none.
        self_test: kill a child of our own at the start, to see that killing works.
    """

    __slots__ = (
        "compile_argv", "dry_run", "exporter", "journal", "missing", "places", "plan", "recording",
        "recording_bytes", "self_test", "source", "state", "status",
        "take_in_argv",
    )  # fmt: skip

    def __init__(
        self,
        plan: "dict[str, Any]",
        *,
        source: str = "",
        compile_argv: tuple[str, ...] = (),
        dry_run: bool = True,
        places: Places | None = None,
        missing: tuple[str, ...] = (),
        journal: str = "",
        take_in_argv: tuple[str, ...] = (),
        recording: str = "",
        recording_bytes: int = 8 << 20,
        status: str = "",
        state: str = "",
        exporter: int = 0,
        self_test: bool = True,
    ) -> None:
        self.plan = plan
        self.source = source or str(plan["name"])
        self.compile_argv = compile_argv
        self.dry_run = dry_run
        self.places = places or Places()
        self.missing = missing
        self.journal = journal
        self.take_in_argv = take_in_argv
        self.recording = recording
        self.recording_bytes = recording_bytes
        self.status = status
        self.state = state
        self.exporter = exporter
        self.self_test = self_test


def to_plain(settings: Settings) -> "dict[str, Any]":
    """As a dictionary that :mod:`marshal` can carry."""
    plain = {name: getattr(settings, name) for name in Settings.__slots__}
    plain["places"] = {name: getattr(settings.places, name) for name in Places.__slots__}
    return plain


def from_plain(plain: "dict[str, Any]") -> Settings:
    """The settings again."""
    return Settings(
        plain["plan"],
        places=Places(**plain["places"]),
        **{name: plain[name] for name in Settings.__slots__ if name not in ("plan", "places")},
    )
