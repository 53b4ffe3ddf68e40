"""Put wrapped lines together again.

Terminals, mail programs and forums cut long lines. A line is joined to the one before only where
that one is cut short *and* this one carries on where it stopped; what stands between lines for
other reasons (replies in a mail, other messages) is never swallowed.
"""

from oomkit.klog.lines import expressions as re
from oomkit.klog.lines.line import Line
from oomkit.klog.report.tasks import FORMS, ROW, parse_table_header

_ROW_START = re.compile(r"^\[\s*\d{1,10}\](?:\s+\d+\b|\s*$)")
_TABLE_START = re.compile(r"\[\s*pid\s*\]\s+uid\b")
_FIELD_TOKEN = re.compile(
    r"(?:(?:total-vm|anon-rss|file-rss|shmem-rss|pgtables):\d+kB,?|UID:\d+|oom_score_adj[:=]-?\d+|"
    r"order=-?\d+,?|[a-z_]+(?:\((?:anon|file)\))?:\d+[kK]B|\w+:\d+|pgtables_bytes|swapents|"
    r"rss_anon|rss_file|rss_shmem|total_vm|oom_score_adj|name|\w+=\S+|process|score|sacrifice|child)$"
)
_HEADER_END = re.compile(r"(?:oom_score_adj|oom_adj|oomkilladj)=-?\d+$")
_ZONE_TAIL = re.compile(
    r"^(?:[a-z_]+(?:\((?:anon|file)\))?:\s?\d+[kK]B|all_unreclaimable\?|yes$|no$|\d+[kK]B"
    r"|nimable\?|[a-z_]*\? (?:yes|no))"
)
_KILL_TAIL = re.compile(
    r"^,?\s*(?:\([^()]{1,16}\)|killed process \d|process \d+ \(|total-vm|vm:|[a-z-]*rss:|UID:"
    r"|pgtables:|oom_score_adj|score\b|or sacrifice|"
    r"sacrifice|child|[a-z-]{1,10}:\d+kB|\d*kB|now anon|\d+ \()"
)
_KILL_DONE = re.compile(r"illed process \d.*file-rss:\d+kB$")
"""A kill line as old kernels end it; where newer ones go on, what follows shows it."""
_STATS_TAIL = re.compile(r"^[a-z_]+:\d+KB")
_PANIC_TAIL = re.compile(r"(?:of |on )?memory\b|(?:is )?enabled$|compulsory\b|panic_on_oom\b")
_BLOCK_TAIL = re.compile(r"^(?:\d+\*\d+kB|= \d+kB|\([UMEHCIR]+\))")

_BEGINS = re.compile(
    r"(?:Memory cgroup o|O)ut of [mM]emory\b|oom-kill: ?constraint|Killed process \d|oom_reaper: "
    r"|Mem-[Ii]nfo:|Call [Tt]race:|Tasks? (?:in /|state )|CPU: \d+ (?:UID|PID)|Kernel panic - "
    r"|\[ *pid *\]|(?:memory|swap|kmem): usage \d|Memory cgroup stats|Hardware name: "
)
"""How lines of a report begin; none of them is the rest of the line before."""

_YAML_KEY = re.compile(r"(?:- )?[\w-]+:(?:\s|$)")
_CUT_STAMP = re.compile(r"\[\s*\d{1,9}(?:\.\d{0,5})?$")
"""The beginning of a kernel's stamp or of a row, at which a text was cut."""

MAX_PARTS = 16
"""A line of the kernel is never cut into more parts than this."""
MAX_CHARS = 4096
"""Nor is it longer."""
_FENCES = frozenset({"```", "~~~", "{code}", "{noformat}"})
"""What marks code in Markdown and Jira; no part of a line."""
_NARROW = 40
_WIDE = 200
_LONG_WORD = 60
_TERMINALS = frozenset({80, 100, 120, 132, 160})

_COMPLETE = re.compile(
    r"(?:(?:oom_score_adj|oom_adj|oomkilladj)[=:]-?\d+|,uid=\d+|sacrifice child|or a child"
    r"|children\.|failcnt \d+|all_unreclaimable\? (?:yes|no)|\+0x[0-9a-f]+/0x[0-9a-f]+"
    r"(?: \[[\w ]+\])?|Mem-Info:|Call [Tt]race:|shmem-rss:\d+kB|due to memory\.oom\.group set"
    r"|= \d+kB|pages RAM|on memory|is enabled|processes\.\.\.)[\"'`,]{0,3}$"
)


class Joiner:
    """Takes lines, gives whole ones, and of each whether it was put together from parts.

    Where a line without a prefix follows one with a prefix, the log's width shows whether it
    was wrapped: the next word did not fit.
    """

    def __init__(self) -> None:
        self._columns = FORMS["6.8"]
        self._pending: Line | None = None
        self._parts = 1
        self._max_width = 0
        self._hard = 0
        self._soft = 0
        self._blank = False

    def blank(self) -> None:
        """An empty line: what follows was not wrapped for want of room."""
        self._blank = True

    def push(self, line: Line) -> list[tuple[Line, bool]]:
        """Take a line; the ones before that are whole now."""
        self.widen(breakable_width(line.text, line.width))
        if not line.text:
            return []
        if line.text in _FENCES:
            self.blank()
            return []
        before, after_blank = self._pending, self._blank
        self._blank = False
        if before is None:
            self._pending, self._parts = line, 1
            return []
        short = self._parts < MAX_PARTS and len(before.text) + len(line.text) < MAX_CHARS
        if short and not line.stamped and self._joins(before, line, after_blank=after_blank):
            _glue(before, line, self._columns, hard=self._is_hard(before))
            before.width, before.spaced = line.width, line.spaced
            self._parts += 1
            return []
        whole = self.flush()
        self._pending = line
        return whole

    def widen(self, width: int) -> None:
        """Note the width of a line that was taken elsewhere."""
        self._max_width = max(self._max_width, width)

    def flush(self) -> list[tuple[Line, bool]]:
        """Nothing follows: give the line that waits for more."""
        if self._pending is None:
            return []
        if "tgid" in self._pending.text:
            self._columns = parse_table_header(self._pending.text) or self._columns
        whole = [(self._pending, self._parts > 1)]
        self._pending, self._parts = None, 1
        return whole

    def _joins(self, before: Line, line: Line, *, after_blank: bool) -> bool:
        if before.text.endswith("\\"):
            before.text = before.text[:-1].rstrip()
            return True
        if line.text.startswith("[") and _CUT_STAMP.match(line.text):
            return False
        if _BEGINS.match(line.text) and not before.text.endswith((":", "-")):
            return False
        if not after_blank and self._did_not_fit(before, line):
            return True
        return _continues(before, line, self._columns)

    def _did_not_fit(self, before: Line, line: Line) -> bool:
        if not before.stamped or not before.width >= _NARROW or self._max_width > _WIDE:
            return False
        word = len(_first_word(line.text))
        if before.width + 1 + word <= self._max_width and before.width < self._max_width:
            return False
        if _is_row(line.text) or line.text.startswith(("Node ", "Mem-Info")):
            return False
        if _KILL_DONE.search(before.text):
            return False
        if before.width == self._max_width and self._max_width in _TERMINALS:
            return True
        return not _is_complete(before.text, self._columns)

    def _is_hard(self, before: Line) -> bool:
        """Lines are cut at a column, not at blanks."""
        if before.width < self._max_width:
            self._soft += 1
            return False
        self._hard += 1
        return self._max_width in _TERMINALS or (self._hard > 2 and not self._soft)


def breakable_width(text: str, width: int) -> int:
    """Width of a line as far as it could have been cut at a blank.

    Args:
        text: its text, or all of it.
        width: the width of all of it.
    """
    last_word = len(text) - text.rfind(" ") - 1
    return width - last_word if last_word > _LONG_WORD else width


def begins_line(raw: str) -> bool:
    """Whether a line without a prefix is one of a report, and not the rest of another."""
    return _BEGINS.match(raw) is not None


def _is_row(text: str) -> bool:
    return text.startswith("[") and _ROW_START.match(text) is not None


def _is_complete(text: str, columns: tuple[str, ...]) -> bool:
    if _is_row(text):
        match = ROW.search(text)
        return match is not None and len(match["rest"].split()) > len(columns)
    return _COMPLETE.search(text) is not None


def _continues(before: Line, line: Line, columns: tuple[str, ...]) -> bool:
    """Whether ``line`` carries on what ``before`` left unfinished."""
    text, more = before.text, line.text
    if _is_row(more) or more.startswith(("Node ", "Mem-Info")):
        return False
    if "oom-killer:" in more and "invoked" not in more:
        return text.endswith("invoked") or more.startswith("oom-killer:")
    if text.endswith(" invoked") or "oom-killer:" in text:
        return not _HEADER_END.search(text) and bool(
            re.match(r"(?:oom|gfp|order|nodemask|\w*adj=|[_|)]|,|GFP)", more)
        )
    if "pid" in text and _TABLE_START.search(text):
        return not text.endswith("name") and bool(
            re.match(r"(?:rss|nr_|pgtables|swapents|oom_|name|tgid|total_vm|cpu)", more)
        )
    if _is_row(text):
        return _row_continues(text, more, columns)
    if text.endswith("Memory cgroup"):
        return more.startswith("out of memory")
    if "low on resource: " in text:
        return not text.rstrip("'\" ").endswith(".") and _YAML_KEY.match(more) is None
    return _other_continues(text, more)


def _row_continues(text: str, more: str, columns: tuple[str, ...]) -> bool:
    match = ROW.search(text)
    words = match["rest"].split() if match else []
    if len(words) > len(columns):
        return False
    if re.match(r"-?\d+\s", more):
        return True
    # Only the name is left, unless the row is of another version, and has it.
    return len(words) == len(columns) and words[-1].lstrip("-").isdecimal()


def _other_continues(text: str, more: str) -> bool:
    if "oom-kill:constraint" in text or text.endswith("oom-kill:"):
        return not re.search(r"uid=\d+$", text)
    if (
        " process" in text or text.endswith(("Kill", "Killed", ": OOM")) or "oom_reaper: " in text
    ) and re.search(r"[Kk]ill(?:ed)? process|Kill$|Killed$|: OOM$|oom_reaper: ", text):
        done = re.search(r"oom_score_adj:-?\d+$|child\.?$|children\.$|or a child$", text)
        return not done and bool(_KILL_TAIL.match(more))
    if "kB" in text and re.match(r"(?:Node \d+ )?\w+ (?:free|active_anon):\d+kB", text):
        return bool(_ZONE_TAIL.match(more))
    if "*" in text and re.match(r"(?:Node \d+ )?\w+: \d+\*\d+kB", text):
        return bool(_BLOCK_TAIL.match(more))
    if text.startswith(("CPU: ", "UID: ", "P")) and re.match(
        r"(?:CPU: \d+ )?(?:UID: \d+ )?P[iI][dD]: \d+", text
    ):
        return not re.search(r"#\d", text) and bool(
            re.match(r"tainted|Tainted|Not|\d\.\d|G\b|\(|loaded|#\d", more)
        )
    if ": usage" in text and re.match(r"(?:memory|swap|kmem|memory\+swap): usage", text):
        return "failcnt" not in text and bool(re.match(r"limit|\d+kB|failcnt|kB", more))
    if "Memory cgroup stats" in text:
        return bool(_STATS_TAIL.match(more))
    if "are going to be killed" in text or text.startswith("Tasks in "):
        return "oom.group" not in text and bool(
            re.match(r"to memory|due|memory\.oom|are going", more)
        )
    if text.startswith("Kernel panic"):
        return not _COMPLETE.search(text) and bool(_PANIC_TAIL.match(more))
    if text.startswith("Task in"):
        return "limit of /" not in text
    if more.startswith("cpuset=") or (
        " cpuset=" in f" {text}" and more.startswith("mems_allowed=")
    ):
        return "mems_allowed" not in text
    return False


def _glue(before: Line, line: Line, columns: tuple[str, ...], *, hard: bool) -> None:
    """Join two parts; the cut may have gone through a word."""
    text, more = before.text, line.text
    if _is_row(text) and not _is_complete(text, columns):
        between = _row_glue(text, more, columns)
    elif hard:
        between = " " if before.spaced & 2 or line.spaced & 1 else ""
    else:
        between = "" if _is_cut_word(text, more) else " "
    before.text = f"{text}{between}{more}"


def _first_word(text: str) -> str:
    """The first word; empty where a text is of blanks alone, as control characters may be."""
    return "".join(text.split(None, 1)[:1])


def _is_cut_word(text: str, more: str) -> bool:
    """Whether the cut went through a word, as far as the words themselves show."""
    if more[0] in ",)|" or text.endswith(("|", "=", "(")) or "oom-kill:" in text:
        return True
    last, first = "".join(text.rsplit(None, 1)[-1:]), _first_word(more)
    if first.startswith("cpuset="):
        return False  # what stands before it is a name, which ends anywhere
    if not _FIELD_TOKEN.match(last + first):
        return False
    last_stands = _FIELD_TOKEN.match(last) or last.endswith((",", ")"))
    return not (_FIELD_TOKEN.match(first) and last_stands)


def _row_glue(text: str, more: str, columns: tuple[str, ...]) -> str:
    """Blank or nothing, by which of them gives a row its right number of columns."""
    needed = len(columns) - len(text.partition("]")[2].split())
    words = more.split()
    numbers = 0
    for word in words:
        if not word.lstrip("-").isdecimal():
            break
        numbers += 1
    cut_in_number = needed + 1 <= numbers and len(words) >= needed + 2
    return "" if cut_in_number and needed >= 0 else " "
