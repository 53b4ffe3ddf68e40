"""Put wrapped lines together again.

Terminals, mail programs and forums cut long lines. A line is joined to the one before only where
that one is cut short *and* this one carries on where it stopped; what stands between lines for
other reasons (replies in a mail, other messages) is never swallowed.
"""

import re

from oomkit.klog.prefix import Line
from oomkit.klog.tasks import FORMS, ROW, TABLE_HEADER, parse_table_header

_ROW_START = re.compile(r"^\[\s*\d{1,10}\](?:\s+\d+\b|\s*$)")
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
    r"^,?\s*(?:\(|total-vm|vm:|[a-z-]*rss:|UID:|pgtables:|oom_score_adj|score\b|or sacrifice|"
    r"sacrifice|child|[a-z-]{1,10}:\d+kB|\d*kB|now anon|\d+ \()"
)
_STATS_TAIL = re.compile(r"^[a-z_]+:\d+KB")
_BLOCK_TAIL = re.compile(r"^(?:\d+\*\d+kB|= \d+kB|\([UMEHCIR]+\))")

MAX_PARTS = 6
"""A line of the kernel is never cut into more parts than this."""


class Joiner:
    """Takes lines, gives whole ones, and of each whether it was put together from parts."""

    def __init__(self) -> None:
        self._columns = FORMS["6.8"]
        self._pending: Line | None = None
        self._parts = 1

    def push(self, line: Line) -> list[tuple[Line, bool]]:
        """Take a line; the ones before that are whole now."""
        if not line.text:
            return []
        before = self._pending
        if before is None:
            self._pending, self._parts = line, 1
            return []
        if not line.stamped and self._parts < MAX_PARTS and _continues(before, line, self._columns):
            self._pending = _glue(before, line, self._columns)
            self._parts += 1
            return []
        if "tgid" in before.text:
            self._columns = parse_table_header(before.text) or self._columns
        whole = [(before, self._parts > 1)]
        self._pending, self._parts = line, 1
        return whole

    def flush(self) -> list[tuple[Line, bool]]:
        """Nothing follows: give the line that waits for more."""
        if self._pending is None:
            return []
        whole = [(self._pending, self._parts > 1)]
        self._pending, self._parts = None, 1
        return whole


def _continues(before: Line, line: Line, columns: tuple[str, ...]) -> bool:
    """Whether ``line`` carries on what ``before`` left unfinished."""
    text, more = before.text, line.text
    if _ROW_START.match(more) or more.startswith(("Node ", "Mem-Info")):
        return False
    if "oom-killer:" in more and "invoked" not in more:
        return text.endswith("invoked") or more.startswith("oom-killer:")
    if text.endswith(" invoked") or "oom-killer:" in text:
        return not _HEADER_END.search(text) and bool(
            re.match(r"(?:oom|gfp|order|nodemask|\w*adj=|[_|)]|,|GFP)", more)
        )
    if TABLE_HEADER.search(text) or re.search(r"\[\s*pid\s*\]\s+uid\b", text):
        return not text.endswith("name") and bool(
            re.match(r"(?:rss|nr_|pgtables|swapents|oom_|name|tgid|total_vm|cpu)", more)
        )
    if _ROW_START.match(text):
        return _row_continues(text, more, columns)
    return _other_continues(text, more)


def _row_continues(text: str, more: str, columns: tuple[str, ...]) -> bool:
    match = ROW.search(text)
    words = len(match["rest"].split()) if match else 0
    if words > len(columns):
        return False
    return words == len(columns) or bool(re.match(r"-?\d+\s", more))


def _other_continues(text: str, more: str) -> bool:
    if "oom-kill:constraint" in text or text.endswith("oom-kill:"):
        return not re.search(r"uid=\d+$", text)
    if re.search(r"[Kk]ill(?:ed)? process|Kill$|Killed$|oom_reaper: ", text):
        done = re.search(r"oom_score_adj:-?\d+$|child\.?$|children\.$|or a child$", text)
        return not done and bool(_KILL_TAIL.match(more))
    if re.match(r"(?:Node \d+ )?\w+ (?:free|active_anon):\d+kB", text):
        return bool(_ZONE_TAIL.match(more))
    if "*" in text and re.match(r"(?:Node \d+ )?\w+: \d+\*\d+kB", text):
        return bool(_BLOCK_TAIL.match(more))
    if re.match(r"(?:CPU: \d+ )?(?:UID: \d+ )?P[iI][dD]: \d+", text):
        return not re.search(r"#\d", text) and bool(
            re.match(r"tainted|Tainted|Not|\d\.\d|G\b|\(|loaded|#\d", more)
        )
    if re.match(r"(?:memory|swap|kmem|memory\+swap): usage", text):
        return "failcnt" not in text and bool(re.match(r"limit|\d+kB|failcnt|kB", more))
    if "Memory cgroup stats" in text:
        return bool(_STATS_TAIL.match(more))
    if "are going to be killed" in text or text.startswith("Tasks in "):
        return "oom.group" not in text and bool(
            re.match(r"to memory|due|memory\.oom|are going", more)
        )
    if text.startswith("Task in "):
        return "limit of /" not in text
    if more.startswith("cpuset=") or (
        " cpuset=" in f" {text}" and more.startswith("mems_allowed=")
    ):
        return "mems_allowed" not in text
    return False


def _glue(before: Line, line: Line, columns: tuple[str, ...]) -> Line:
    """Join two parts; the cut may have gone through a word."""
    text, more = before.text, line.text
    between = " "
    last, first = text.rsplit(None, 1)[-1], more.split(None, 1)[0]
    if more[0] in ",)|" or text.endswith(("|", "=", "(")):
        between = ""
    elif _ROW_START.match(text):
        between = _row_glue(text, more, columns)
    elif "oom-kill:" in text or (
        _FIELD_TOKEN.match(last + first)
        and not (
            _FIELD_TOKEN.match(first) and (_FIELD_TOKEN.match(last) or last.endswith((",", ")")))
        )
    ):
        between = ""
    before.text = f"{text}{between}{more}"
    return before


def _row_glue(text: str, more: str, columns: tuple[str, ...]) -> str:
    """Blank or nothing, by which of them gives a row its right number of columns."""
    words = len(text.partition("]")[2].split())
    numbers = 0
    for word in more.split():
        if not word.lstrip("-").isdigit():
            break
        numbers += 1
    return "" if words + numbers > len(columns) and numbers else " "
