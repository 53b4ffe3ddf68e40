"""What the lines of a log name: a pod, a container, a unit, a job, for a line that follows."""

from oomkit.klog.lines import expressions as re
from oomkit.klog.lines.line import Line

REACH = 240
"""So many lines below it a name still counts."""
_NAME = re.compile(
    r"\"?(?P<key>[Nn]ame|[Nn]amespace|[Nn]ode|Id|[cC]ontainerID|[Pp]od|[cC]ontainer)\"?\s*:\s+\"?"
    r"(?:\w+://)?(?P<engine>/)?(?P<value>[^\s\",/]+)"
)
_SECTION = re.compile(r"(?P<name>[a-z0-9][\w.-]*):$")
_STATES = frozenset(
    {"terminated", "state", "running", "waiting", "resources", "limits", "requests"}
)
"""Fields of a container's status that open a block as a container's name does."""
_JSON_OBJECT = re.compile(r"\"(?P<name>[a-z0-9][\w.-]*)\": \{$")
_JSON_STATES = frozenset({"state", "lastState", "lastTerminationState"})
"""What the record of a container begins with, below its name."""
_JSON_CONTAINER = re.compile(r"\"container_?[nN]ame\": ?\"(?P<name>[^\"\s]+)\"")
DOTS = ("●", "○", "*", "\N{MULTIPLICATION SIGN}")
_UNIT_HEAD = re.compile("[" + "".join(DOTS) + r"] (?P<unit>[\w@:.\\-]+\.(?:service|scope|slice))\b")
_DESCRIBED = re.compile(
    r"\bdescribe pods?[ /](?:-\S+ \S+ )*(?P<pod>[a-z0-9][a-z0-9.-]*)"
    r"(?=\s*(?:$|[`\"'|>;&-]))"
)
"""The command whose answer follows."""
_INSPECTED = re.compile(
    r"\b(?:docker|podman|nerdctl)(?: container)? inspect "
    r"(?:-\w+[ =](?:'[^']*'|\"[^\"]*\"|\S+) |--\w+[ =](?:'[^']*'|\"[^\"]*\"|\S+) )*"
    r"(?P<name>[A-Za-z0-9][\w.-]*)(?=\s*(?:$|[`\"'|>;&-]))"
)
"""That of a container engine."""


def inspected(text: str) -> str | None:
    """The container that a line asks a container engine about."""
    match = _INSPECTED.search(text) if " inspect " in text else None
    return match["name"] if match is not None else None


CONTAINER = "container"
"""What a container is called by its engine, where it is of no pod."""
_NAMED_BESIDE = re.compile(r"\"Name\" ?: ?\"/(?P<name>[\w.-]+)\"")
_NAMED_BEFORE = re.compile(
    r"\"?(?!(?:container|process|pod|its?|the|last|final|an?|with|and|state|status|terminated)\b)"
    r"(?P<name>[a-z0-9][\w.-]*)\"?:?\s+(?:\"?[Ee]xitCode\"?: ?137|\S.* {2}Exit 137)\b"
)
"""The container that a line on its exit status names itself."""
_UNIT_ID = re.compile(r"Id=(?P<unit>[\w@:.\\-]+\.(?:service|scope|slice))$")
_JOB = re.compile(
    r"JobId=(?P<slurm>\d+)\b|Job ID: (?P<seff>\d+)$|Job <(?P<lsf>\d+(?:\[\d+\])?)>"
    r"|0\d\d \((?P<condor>\d+\.\d+)\.\d+\) \d|.*\bHTCondor Node \S+ \((?P<node>\d+\.\d+)\.\d+\)"
)
"""How Slurm, LSF and HTCondor name a job above what they say of it."""
PBS_JOB = re.compile(r"PBS Job (?:Id: ?)?(?P<job>\d[\w.\[\]-]*)")

_FAR = -10_000


class Names:
    """Remembers the last of each kind that a line named, and where."""

    def __init__(self) -> None:
        self._found: dict[str, tuple[str, int]] = {}
        self._section: tuple[str, int] = ("", _FAR)
        self._key: tuple[str, int] = ("", _FAR)

    def note(self, line: Line) -> bool:
        """Take a line; whether it names something."""
        text = line.text
        if text.startswith('"') and self._take_json(text, line.number):
            return True
        name = _NAME.match(text)
        if name is not None and (not line.spaced & 1 or text.startswith('"')):
            self._found[name["key"].lower()] = (name["value"], line.number)
            if name["engine"]:
                self._found[CONTAINER] = (name["value"], line.number)
            if name["key"] == "Name":
                self._section = ("", _FAR)
        elif (
            line.spaced & 1
            and (section := _SECTION.match(text)) is not None
            and section["name"] not in _STATES
        ):
            self._section = (section["name"], line.number)
        elif (head := _UNIT_HEAD.match(text)) is not None:
            self._found["unit"] = (head["unit"], line.number)
        elif (described := _DESCRIBED.search(text)) is not None:
            self._found["pod"] = (described["pod"], line.number)
        elif (asked := inspected(text)) is not None:
            self._found[CONTAINER] = (asked, line.number)
        elif (unit := _UNIT_ID.match(text)) is not None:
            self._found["unit"] = (unit["unit"], line.number)
        elif (other := _JOB.match(text)) is not None:
            self._found["job"] = (other[other.lastgroup or 0], line.number)
        elif (job := PBS_JOB.search(text)) is not None:
            self._found["job"] = (job["job"], line.number)
        else:
            return False
        return True

    def _take_json(self, text: str, number: int) -> bool:
        """A container that a record names in a field of its own or as the key of its state."""
        field, key = _JSON_CONTAINER.match(text), _JSON_OBJECT.match(text)
        if field is not None:
            self._section = (field["name"], number)
        elif key is None:
            return False
        elif key["name"] not in _JSON_STATES:
            self._key = (key["name"], number)
        elif self._key[1] == number - 1:
            self._section = self._key
        return True

    def put(self, key: str, value: str, number: int) -> None:
        """Remember what a line names that is no plain name."""
        self._found[key] = (value, number)

    def named(self, key: str, number: int, within: int = REACH) -> str | None:
        """What was named last, at most so many lines above a line."""
        return _near(self._found.get(key, ("", _FAR)), number, within)

    def called(self, line: Line) -> str | None:
        """What an engine calls the container of an exit status: in its line, or above it.

        None where another was named since.
        """
        number = line.number
        beside = _NAMED_BESIDE.search(line.text) or _NAMED_BEFORE.match(line.text)
        if beside is not None:
            return beside["name"]
        name, at = self._found.get(CONTAINER, ("", _FAR))
        others = (self._found.get(key, ("", _FAR))[1] for key in ("name", "pod"))
        return _near((name, at), number, REACH) if all(other <= at for other in others) else None

    def section(self, number: int, within: int) -> str | None:
        """The container whose description or record a line stands in."""
        return _near(self._section, number, within)

    def container(self, number: int, within: int) -> str | None:
        """The container of a task's record, whose name stands above what is said of it."""
        youngest = max(self._section, self._found.get("name", ("", _FAR)), key=lambda pair: pair[1])
        return _near(youngest, number, within)


def _near(found: tuple[str, int], number: int, within: int) -> str | None:
    value, at = found
    return value if abs(number - at) <= within else None
