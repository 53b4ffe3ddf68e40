"""The end of a report: the process chosen, killed and reaped, or why it panicked."""

from typing import TYPE_CHECKING, Any

from oomkit.klog.lines import expressions as re
from oomkit.klog.lines.line import Line
from oomkit.klog.lines.prose import has_other_script, supposes, words_in
from oomkit.klog.records import Killed, KilledAs, Reaped, Selected, Summary
from oomkit.klog.report.line_records import KillLine
from oomkit.records import replace

if TYPE_CHECKING:
    from oomkit.klog.report.builder import Builder

_COMM = r"(?P<comm>(?:#\d{3}|\\x[0-9a-f]{2}|\\[0-7]{3}|.){0,15})"
"""A name has at most 15 bytes, of which a logger may have escaped some: more is another line."""
_COMM_END = (
    r"(?=\s*(?:$|total-vm|vsz:|vm:|score\b|\.|,|[\"'`](?:$|[\s.,;)])|sharing|has mm"
    r"|is already|by |, now|, but|or a child))"
)
_SELECTED = re.compile(
    r"(?P<text>[A-Z][\w .()-]*?)?:? ?\b[Kk]ill process (?P<pid>\d{1,10})\s*\(" + _COMM + r"\)"
    + _COMM_END + r"(?:\s*score\s+(?P<score>-?\d{1,20}))?"
)  # fmt: skip
_KILLED = re.compile(
    r"(?:(?P<text>[A-Z][\w .()-]*?):\s+)?(?:OOM )?\b[Kk]illed process (?P<pid>\d{1,10})"
    r"(?:, UID (?P<uid>\d{1,10}),)?\s*\(" + _COMM + r"\)" + _COMM_END + r"(?P<rest>.*)"
)
_KILLED_CUT = re.compile(
    r"(?:(?P<text>[A-Z][\w .()-]*?):\s+)?\b[Kk]illed process (?P<pid>\d{1,10})"
    r"(?:, UID (?P<uid>\d{1,10}),)?\s*\((?P<comm>[^)]*)$"
)
_KILLED_PID_ONLY = re.compile(
    r"^(?P<text>(?:Memory cgroup o|O)ut of [mM]emory[^:]{0,40}): Killed process (?P<pid>\d{1,10})"
    r"(?P<rest>\s+(?:total-vm|vsz):.*)?$"
)
_EXITING = re.compile(
    r"(?P<text>[A-Z][\w .()-]*?): OOM victim (?P<pid>\d{1,10}) \((?P<comm>.*)\) is already exiting"
)
_SHARER = re.compile(r"Kill process (?P<pid>\d{1,10}) \((?P<comm>.*)\) sharing same memory")
_FIELD = re.compile(
    r"(total-vm|vsz|vm|anon-rss|file-rss|shmem-rss|rss|swap|pgtables):\s?(\d{1,20})kB"
    r"|(UID|oom_score_adj):?\s?(-?\d{1,10})(?!\d)"
)
_FIELDS = {
    "total-vm": "total_vm_kb",
    "vsz": "total_vm_kb",
    "vm": "total_vm_kb",
    "anon-rss": "anon_rss_kb",
    "file-rss": "file_rss_kb",
    "shmem-rss": "shmem_rss_kb",
    "rss": "rss_kb",
    "swap": "swap_kb",
    "pgtables": "pgtables_kb",
    "UID": "uid",
    "oom_score_adj": "oom_score_adj",
}
_REAPED = re.compile(
    r"oom_reaper: reaped process (?P<pid>\d{1,10})\s*\((?P<comm>.*)\)"
    r"(?:,? ?(?:now ?)?(?:anon-rss:(?P<anon>\d{1,20})kB(?:, file-rss:(?P<file>\d{1,20})kB)?"
    r"(?:, shmem-rss:(?P<shmem>\d{1,20})k?B)?)?|$)"
)
_UNREAPED = re.compile(r"oom_reaper: unable to reap pid:(?P<pid>\d{1,10}) \((?P<comm>.*)\)")
_WOULD = re.compile(
    r"[Ww]ould have killed process (?P<pid>\d{1,10}) \((?P<comm>.*)\)[.,] ?(?:[Bb]ut continuing)?"
)
_GROUP = re.compile(r"Tasks in (?P<path>.+?) are going to be killed\s+due")
_SUMMARY = re.compile(r"oom-kill:\s*(?i:constraint)=(?P<rest>(?![^,\s]*[\"'`\u2026]).*)")
_PLACEHOLDER = re.compile(r"\bpid=\s*(?:<|\{|\$|%|\.\.\.|\u2026|[A-Z]{1,3}\b)")
"""Of a pattern of the line, or a text on it."""
_SUMMARY_FIELD = re.compile(
    r"(?:^|, ?)(nodemask|cpuset|mems_allowed|oom_memcg|task_memcg|task|pid|uid)="
    r"(.*?)(?=, ?(?:nodemask|cpuset|mems_allowed|oom_memcg|task_memcg|task|pid|uid)="
    r"|, ?global_oom|$)"
)
_CONSTRAINT = re.compile(r"CONSTRAINT_\w+")
_TASK_TAIL = re.compile(
    r"[, ]task=(?P<comm>.*),pid=\s?(?P<pid>\d{1,10})(?:,uid=(?P<uid>\d{1,10}))?"
)
_PANIC = re.compile(
    r"(?P<end>---\[ end )?Kernel panic - not syncing: "
    r"(?P<text>(?:[Oo]ut of memory|System is deadlocked on memory).*?)(?: *\]---)?[`\"' ]*$"
)

_ENDS_WITH_SHMEM = re.compile(r"shmem-rss:\d+kB$")
_ENDS_WITH_FILE = re.compile(r"file-rss:\d+kB$")
_OPENING = re.compile(
    r"(?:Memory cgroup out of memory|Out of memory|No available memory).*", re.IGNORECASE
)
"""What the kernel prints before the process; words of others may stand before that."""


def parse_killed(text: str, line: int, *, cut: bool = False) -> KillLine | None:
    """Parse ``Killed process``; None if it is no such line.

    Args:
        text: the line.
        line: its number.
        cut: its end is known to be missing.
    """
    would = _WOULD.search(text) if "ould have killed" in text else None
    if would is not None:
        killed = Killed(pid=int(would["pid"]), comm=would["comm"], line=line)
        return KillLine(text=None, killed=killed, would_have=True)
    match = _KILLED.search(text) or _KILLED_CUT.search(text) or _KILLED_PID_ONLY.match(text)
    if match is None:
        return None
    groups: dict[str, Any] = {"uid": None, "comm": "", **match.groupdict()}
    opening = groups.get("text")
    if opening is not None:
        opening = _opening(opening)
        if opening is None:
            return None
    rest = groups.get("rest") or ""
    values: dict[str, Any] = {}
    for name, kb, other, number in _FIELD.findall(rest):
        values[_FIELDS[name or other]] = int(kb or number)
    if groups["uid"]:
        values["uid"] = int(groups["uid"])
    killed = Killed(pid=int(match["pid"]), comm=groups["comm"].strip(), line=line, **values)
    form = _form(opening, text, rest, cut=cut or rest.endswith(","))
    return KillLine(text=opening, killed=killed, form=form)


def is_prose(text: str) -> bool:
    """Whether a person's sentence names a kill or a panic, or supposes one.

    Words stand around it, and no sizes; what is supposed may have them, too.
    """
    match = _TOLD.search(text)
    if match is None or _SPARES in text:
        return False
    if supposes(text, match.start()):
        return True
    if "-vm:" in text or "score " in text or "vsz:" in text:
        return False
    before, after = text[: match.start()].rstrip(" \"'`"), text[match.end() :]
    if before.endswith((":", "]", ">", "\N{FULLWIDTH COLON}")):
        before = ""
    return any(words_in(part) >= _SENTENCE or has_other_script(part) for part in (before, after))


_TOLD = re.compile(
    r"(?:(?:Memory cgroup o|O)ut of memory: ?)?[Kk]ill(?:ed)? process \d{1,10}[^(]{0,16}\([^)]*\)"
    r"(?: (?:or sacrifice child|or a child|sharing same memory))?"
    r"|(?:[Kk]ernel panic - not syncing ?: )?(?:System is deadlocked on memory"
    r"|[Oo]ut of memory(?: and no killable(?: process(?:es)?)?"
    r"|: ?(?:system-wide|compulsory) panic_on_oom is enabled"
    r"|[^:]{0,24}\. (?:[Cc]ompulsory )?panic_on_oom is selected))[. ]*"
)
_SPARES = "ut continuing instead"
"""In the kernel's own line that supposes a kill, where ``would_have_oomkilled`` is set."""
_SENTENCE = 2
"""Minimum number of words that make a sentence."""


def with_context(killed: Killed, report: "Builder", line: Line) -> Killed:
    """Add when a victim died and how it came to be one, as far as its report says."""
    comm = killed.comm or _comm_of(killed.pid, report)
    how = killed_as(killed.pid, report)
    return replace(killed, comm=comm, time=line.time, killed_as=how)


def _comm_of(pid: int, report: "Builder") -> str:
    """A victim's name, where its own line was cut before it."""
    for told in (report.summary, report.selected, *report.tasks):
        if told is not None and told.pid == pid and told.comm:
            return told.comm
    return ""


def killed_as(pid: int, report: "Builder") -> KilledAs | None:
    """How a process came to be a victim, as far as its report says."""
    chosen = report.selected or report.summary
    if "allocating_task" in (report.kill_text or ""):
        if report.selected is not None and report.selected.pid != pid:
            return "child"
        return "allocating_task"
    if chosen is not None and chosen.pid == pid:
        return "selected"
    if report.grouped or report.oom_group is not None:
        return "oom_group"
    if report.selected is not None:
        return "child"
    return None


def _opening(text: str) -> str | None:
    """The kernel's words on what ran out, without those of others; None if there are none."""
    match = _OPENING.search(text)
    return None if match is None else match.group().strip()


def _form(opening: str | None, text: str, rest: str, *, cut: bool) -> str | None:
    """The form of a kill line; where its end is missing, one that any later kernel prints, too."""
    if "OOM killed" in text:
        return "openvz"
    if rest.startswith(", UID "):
        return "el7" if "shmem-rss:" in rest else None
    if ", UID " in text:
        if "total-vm" in rest:
            return "el6"
        return "el5" if opening is not None and rest == "." and not cut else "el5 or el6"
    if "pgtables:" in rest:
        return "5.4"
    if "vsz:" in rest:
        return "2.6.33"
    if opening is None:
        return _form_without_opening(rest, cut=cut)
    if opening.startswith("Out of Memory"):
        return "2.6.11"
    if "total-vm" not in rest:
        return "2.6.16" if rest.startswith(".") and not cut else None
    if "UID:" in rest:
        return "5.4"
    return "5.1" if _ENDS_WITH_SHMEM.search(rest) and not cut else "5.1 or later"


def _form_without_opening(rest: str, *, cut: bool) -> str | None:
    if "total-vm" in rest:
        if "shmem-rss" in rest:
            return "4.5"
        return "2.6.36" if _ENDS_WITH_FILE.search(rest) and not cut else "2.6.36 or later"
    # A name and nothing else: as kernels before 2.6.33 print it, or a quoted line has it.
    return None


def parse_selected(text: str, line: int) -> tuple[str, Selected] | None:
    """Parse ``Kill process ... or sacrifice child``; returns what opens the line and the choice."""
    match = _SELECTED.search(text)
    opening = None if match is None or match["text"] is None else _opening(match["text"])
    if match is None or opening is None:
        return None
    score = None if match["score"] is None else int(match["score"])
    return opening, Selected(pid=int(match["pid"]), comm=match["comm"], score=score, line=line)


def parse_exiting(text: str, line: int) -> tuple[str, Summary] | None:
    """Parse ``OOM victim 1 (x) is already exiting``: what opens the line, the chosen process."""
    match = _EXITING.search(text)
    opening = None if match is None else _opening(match["text"])
    if match is None or opening is None:
        return None
    return opening, Summary(pid=int(match["pid"]), comm=match["comm"], line=line)


def parse_sharer(text: str, line: int) -> Killed | None:
    """Parse ``Kill process 1 (x) sharing same memory``."""
    match = _SHARER.search(text)
    if match is None:
        return None
    return Killed(pid=int(match["pid"]), comm=match["comm"], killed_as="mm_sharer", line=line)


def parse_reaped(text: str, line: int) -> Reaped | None:
    """Parse a line of oom_reaper."""
    match = _REAPED.search(text)
    if match is not None:
        return Reaped(
            pid=int(match["pid"]),
            comm=match["comm"],
            anon_rss_kb=_int(match["anon"]),
            file_rss_kb=_int(match["file"]),
            shmem_rss_kb=_int(match["shmem"]),
            line=line,
        )
    match = _UNREAPED.search(text)
    if match is None:
        return None
    return Reaped(pid=int(match["pid"]), comm=match["comm"], reaped=False, line=line)


def parse_group(text: str) -> str | None:
    """Return the cgroup that ``memory.oom.group`` kills as one."""
    match = _GROUP.search(text)
    return None if match is None else match["path"]


def parse_summary(text: str, line: int) -> Summary | None:
    """Parse the ``oom-kill:`` line."""
    match = _SUMMARY.search(text)
    if match is None:
        return None
    rest = match["rest"]
    if _PLACEHOLDER.search(rest) is not None:
        return None
    named = _CONSTRAINT.match(rest.strip())
    constraint = named.group() if named is not None else rest.partition(",")[0].strip()
    fields: dict[str, str] = {}
    tail = _TASK_TAIL.search(rest)
    head = rest if tail is None else rest[: tail.start()]
    for name, value in _SUMMARY_FIELD.findall(head):
        fields.setdefault(name, value)
    if tail is not None:
        fields.update({k: v for k, v in tail.groupdict().items() if v is not None})
    nodemask = fields.get("nodemask")
    return Summary(
        constraint=constraint or None,
        nodemask=None if nodemask in {None, "(null)"} else nodemask,
        cpuset=fields.get("cpuset"),
        mems_allowed=fields.get("mems_allowed"),
        global_oom=",global_oom" in rest or ", global_oom" in rest,
        oom_memcg=fields.get("oom_memcg"),
        task_memcg=fields.get("task_memcg"),
        comm=fields.get("comm", fields.get("task")),
        pid=_digits(fields.get("pid")),
        uid=_digits(fields.get("uid")),
        line=line,
    )


def before_rule(text: str) -> str:
    """What stands before the rule of ``=`` that begins a report of the kernel's on a bug."""
    rule = _RULE.search(text) if "====" in text else None
    return text if rule is None else text[: rule.start()]


_RULE = re.compile(r"={40,}")


def ends_summary(text: str) -> bool:
    """Whether a line can be the end of a summary whose beginning stands above it."""
    return _SUMMARY_END.match(text) is not None


_SUMMARY_END = re.compile(r"(?!.*oom-kill:)\S.{0,600}pid=\d+,uid=\d+$|pid=\d+,uid=\d+$")


def parse_panic(text: str) -> tuple[str, bool] | None:
    """Return a panic's text if running out of memory caused it, and whether it is its end mark."""
    match = _PANIC.search(text)
    return None if match is None else (match["text"].strip(), match["end"] is not None)


def _int(text: str | None) -> int | None:
    return None if text is None else int(text)


def _digits(text: str | None) -> int | None:
    return int(text) if text is not None and text.isdecimal() and len(text) <= 10 else None
