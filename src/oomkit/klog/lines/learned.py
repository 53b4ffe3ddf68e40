"""Prefixes that no known logger writes, learnt from the lines whose text is known.

Consoles, phones, appliances and log shippers put all kinds of things before the kernel's text.
Some lines of a report begin with words that nothing else begins with; whatever stands before
those words is a prefix, and lines with a prefix of the same shape lose it too.
"""

from oomkit.klog.lines import expressions as re
from oomkit.klog.lines.words import Words
from oomkit.klog.report.tasks import ROW

_BEGINS = re.compile(
    r"Mem-[Ii]nfo:|Call [Tt]race:|(?:CPU: \d+ )?(?:UID: \d+ )?P[iI][dD]: \d+,? [cC]omm: "
    r"|Hardware name: |\[\s*pid\s*\]\s+uid\s+tgid|active_anon:\d+ |Tasks state \(memory"
    r"|Node \d+ \w+ free:\d+kB|Free swap +[=:] |oom-kill:constraint=|memory: usage \d+kB"
    r"|Task in /|oom_reaper: reaped|Out of memory: Kill|Memory cgroup out of memory: Kill"
)
_IN_BEGINS = Words([
    "-Info:", "-info:", "race:", "omm: ", "Hardware name: ", "tgid", "active_anon:", "Tasks state ",
    " free:", "Free swap ", "oom-kill:", "memory: usage ", "Task in /", "oom_reaper: ",
    "f memory: Kill",
])  # fmt: skip
"""Each of those words has one of these, which are looked for much faster."""
_TEXT_OF_A_REPORT = re.compile(
    r"oom-kill|OOMKilling|kernel-monitor|\+0x|\d[kK]B|[Kk]ill(?:ed)? process|mems_allowed"
)
_ENDS_A_PREFIX = re.compile(r"[\s\]:|;,\"'>)}]$")
_SENTENCE = re.compile(r"(?:^|\s)[A-Za-z']+ [a-z']+:? (?:[a-z']+:? )?[\"'`]$"
                       r"|(?:^|\s)[A-Za-z']+ [a-z']+ [a-z']+ [a-z']+ ")  # fmt: skip
"""Words of a person, which stand before one line only."""
_WHOLE_LINE = re.compile(r"(?:Mem-[Ii]nfo:|Call [Tt]race:|oom_score_adj name)(?P<after>.+)$")
_WHOLE_LINES = frozenset({"Mem-Info:", "Mem-info:", "Call Trace:", "Call trace:"})
_ENDS_A_LINE = re.compile(r"(?:\s|\\n)?[\"'`\]})>|,;][\s\"'`\]})>|,;]{0,6}$| - kernel$")
_NUMBER_ONLY = re.compile(r"\s*\d+\s+")
_VARYING = re.compile(r"(\s*\d+|\s+)")

_MAX_PREFIX = 200
_MAX_SHAPES = 12


class LearnedPrefixes:
    """What stands around the text of one log's lines, as far as its lines have shown it."""

    def __init__(self) -> None:
        self._shapes: list[re.Pattern[str]] = []
        self._seen: dict[str, int] = {}
        self._after = ""
        self._plain = False
        self._plain_head = ""

    @property
    def has_end(self) -> bool:
        """Something stands behind the text of lines, too."""
        return bool(self._after)

    def look_again(self) -> None:
        """Another stretch of the log begins, which may be of another origin."""
        self._plain = False

    def strip(self, text: str, head: str = "") -> tuple[str, str]:
        """Return what stands before a line's text, and the text; learns from the line.

        ``head`` is what a known logger wrote before it: once a line has shown that nothing else
        follows that, nothing will.
        """
        if self._plain or (head and head == self._plain_head):
            return "", text
        may_begin = _IN_BEGINS.is_in(text)
        begins = _BEGINS.search(text, 0, _MAX_PREFIX + 40) if may_begin else None
        if begins is not None:
            self._learn_end(text)
            if begins.start() and self._learn(text[: begins.start()]):
                return text[: begins.start()], self._without_end(text[begins.start() :])
            self._plain = text in _WHOLE_LINES and not (self._seen or self._after)
            if self._plain:
                self._plain_head = head
            return "", self._without_end(text)
        if self._shapes and not ROW.match(text):
            for shape in self._shapes:
                match = shape.match(text)
                if match is not None:
                    return match.group(), self._without_end(text[match.end() :])
        return "", self._without_end(text)

    def _learn(self, prefix: str) -> bool:
        """Remember a prefix's shape; false if it is more likely the rest of another line."""
        if len(prefix) > _MAX_PREFIX or _TEXT_OF_A_REPORT.search(prefix):
            return False
        if not _ENDS_A_PREFIX.search(prefix) or _SENTENCE.search(prefix):
            return False
        shape = "".join(map(_generalised, _VARYING.split(prefix)))
        if shape in self._seen or len(self._seen) < _MAX_SHAPES:
            self._seen[shape] = self._seen.get(shape, 0) + 1
        if self._seen.get(shape) == (2 if _NUMBER_ONLY.fullmatch(prefix) else 1):
            self._shapes.append(re.compile(shape))
            self._shapes.sort(key=lambda known: -len(known.pattern))
        return True

    def _learn_end(self, text: str) -> None:
        whole = _WHOLE_LINE.search(text)
        if whole is not None and _ENDS_A_LINE.match(whole["after"]):
            self._after = whole["after"]

    def _without_end(self, text: str) -> str:
        return text.removesuffix(self._after) if self._after else text


def _generalised(part: str) -> str:
    """Numbers vary from line to line, and the blanks that pad them; words do not."""
    if not part:
        return ""
    if part.isspace():
        return r"\s+"
    return r"\s*\d+" if part.strip().isdecimal() else re.escape(part)
