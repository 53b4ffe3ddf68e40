"""Lines of others than the kernel that tell of a death for want of memory.

A kill that the kernel did not report may be the work of a userspace killer, of the kubelet, or
of anybody who sends SIGKILL; each leaves its own lines. They are evidence, told apart here, and
never mixed with the kernel's reports.
"""

from typing import Any

from oomkit.klog.evidence import Evidence
from oomkit.klog.lines import expressions as re
from oomkit.klog.lines.line import Line
from oomkit.klog.lines.prose import has_other_script, supposes, words_in
from oomkit.klog.lines.words import Words
from oomkit.klog.records import Source
from oomkit.klog.userspace.form import Form, size_kb
from oomkit.klog.userspace.killers import KILLER_FORMS
from oomkit.klog.userspace.named import inspected
from oomkit.klog.userspace.needles import NEEDLES
from oomkit.klog.userspace.notices import NOTICE_FORMS
from oomkit.klog.userspace.platforms import PLATFORM_FORMS
from oomkit.klog.userspace.refusals import NO_KILL_FORMS
from oomkit.klog.userspace.sigkills import SIGKILL_FORMS

_FORMS = (*KILLER_FORMS, *PLATFORM_FORMS, *NOTICE_FORMS, *SIGKILL_FORMS, *NO_KILL_FORMS)
_FORM_WORDS = tuple(dict.fromkeys(word for form in _FORMS for word in form.words))
_FORM_WORD = Words(_FORM_WORDS)
_WITH_WORD = tuple([i for i, form in enumerate(_FORMS) if w in form.words] for w in _FORM_WORDS)


def _forms_for(text: str) -> list[Form]:
    """The forms that have one of their words in a line, in their order."""
    words = _FORM_WORD.all_in(text)
    return [_FORMS[i] for i in sorted({i for word in words for i in _WITH_WORD[word]})]


def evidence_in(line: Line, file: str) -> Evidence | None:
    """Say what a line tells of; None for the kernel's lines and for those that tell nothing."""
    text = line.text
    tag = (line.tag or "").rpartition("/")[2]
    known = tag in _TAGS or _WORDS.is_in(text)
    if not known or len(text) > _MAX_CHARS:
        return None
    for form in _forms_for(text):
        if form.tags and tag not in form.tags:
            continue
        match = form.pattern.search(text)
        if match is not None:
            if _may_be_code(text) and _CODE.search(text, 0, match.end()) is not None:
                return None
            if not line.stamped and _is_supposed(form, match):
                return None
            return _evidence(form, match, line, file, tag)
    return None


_CODE = re.compile(
    r"(?: |\.\w{1,40} ?)(?:[=!]=|:=|=~) ?[\"'/(rf]| like /|\b[ef]?grep (?:-\S+ )*[\"'\w]"
    r"|\bjournalctl .*\| ?(?:awk|sed) |\bstrings\.Contains\("
)
"""What stands before the words of a death in a program or a command that looks for them."""


def _may_be_code(text: str) -> bool:
    """A quick look for what one of those has."""
    if "=" in text and ("==" in text or "!=" in text or ":=" in text or "=~" in text):
        return True
    return " like /" in text or "grep" in text or "journalctl" in text or "strings." in text


def _is_supposed(form: Form, match: re.Match[str]) -> bool:
    """Whether a sentence supposes a death, asks for one, or mentions what a report of one says.

    A sentence mentions a reason where it is long and names nothing that was killed; that it says
    what happened, as in "was OOMKilled", makes it a report.
    """
    text = match.string
    if supposes(text, match.start()):
        return True
    if form.kind in ("sigkill", "notice") and _DEFINES.match(text, match.end()) is not None:
        return True
    if form.kind == "sigkill" and _is_in_list(form, match):
        return True
    if form.kind in ("failure", "pressure"):
        return words_in(text) >= _LONG_SENTENCE or text.endswith('\\n"') or "<*>" in text
    if form.by not in ("kubelet", "docker") or form.kind not in ("notice", "eviction"):
        return False
    named = match.groupdict()
    if form.kind == "notice" and "illed" not in match.group():
        return False
    if any(named.get(name) for name in _NAMES):
        return False
    if _HEADING.match(text) is not None:
        return True
    if form.by == "docker" and inspected(text) is not None:
        return False
    if form.kind == "eviction":
        return _is_quoted_eviction(match)
    at = match.start("reason") if named.get("reason") else match.start()
    if _HAPPENED.search(text, 0, max(at, 0)) is not None:
        return False
    around = text.replace(named.get("reason") or match.group(), " ")
    ticks = text.count("`")
    words = words_in(around) + (1 if ticks > 1 else 0)
    return words >= _SENTENCE or ticks >= _TWO_SPANS or has_other_script(around)


def _is_quoted_eviction(match: re.Match[str]) -> bool:
    """Whether a sentence quotes what the kubelet says, or leaves out whom it names."""
    text = match.string
    if text.startswith(". (...)", match.end()):
        return True
    quoted = text[: match.start()].endswith(("'", '"', "`"))
    return quoted and words_in(text.replace(match.group(), " ")) >= _SENTENCE


def _is_in_list(form: Form, match: re.Match[str]) -> bool:
    """Whether a status stands in a guide, or in a sentence on all of a kind."""
    if form.by in ("anybody", "shell") and _is_general(match):
        return True
    return form.by != "systemd" and _is_entry(match)


def _is_general(match: re.Match[str]) -> bool:
    """Whether a status stands in a heading, a row of a guide, or in a sentence on all of a kind."""
    text = match.string
    if text.endswith("|") and " | " in text and words_in(text) >= _SENTENCE:
        return True
    if _WHENEVER.search(text, 0, match.start()) is not None:
        return True
    return _HEADING.match(text) is not None or bool(_IN_GENERAL.search(text, 0, match.start()))


def _is_entry(match: re.Match[str]) -> bool:
    """Whether a message that names nothing stands in a guide's list: quoted, and explained."""
    if any(match.groupdict().values()):
        return False
    text = match.string
    if _LABEL.match(text, 0, match.start()) is not None or _ELEMENT.match(text) is not None:
        return True
    return _ITEM.match(text) is not None and _EXPLAINED.match(text, match.end()) is not None


_LABEL = re.compile(
    r"\W*(?:(?:common|typical|possible) )?(?:symptoms?|causes?|error patterns?|fix|meaning)\b\W*:",
    re.IGNORECASE,
)
_ELEMENT = re.compile(r"\s*(?:\w+: )?(?:'.*',|\"(?:[^\"\\]|\\.)*\",)$")
"""A text in a program's list or value."""
_ITEM = re.compile(r"\s*(?:[-*+\u2022]|\d{1,2}[.)]) ")
_EXPLAINED = re.compile(r"[^`\"'\n]{0,40}[`\"']\)?\*{0,2} ?(?:\u2192|[-=]>|:|\u2014|\u2013|-) ?\S")
"""Behind the quotation's end: what separates it from the words on what it means."""
_IN_GENERAL = re.compile(
    r"(?i)\b(?:an?|any|every|each) (?:[\w-]+ ){0,2}(?:container|process|pod|job|task|command"
    r"|program|child|worker|build)s?(?: (?:that|which|has|with|is|was|gets))? $"
    r"|(?:^|(?<!\bthe)(?<!\bour)(?<!\bmy)(?<!\bthese)(?<!\bthose)[ (])"
    r"(?:containers|processes|pods|jobs|tasks|commands|programs|workers) (?:that|which|with) "
    r"(?:have |are |an? )?$"
)
"""What a sentence is about that tells of no event, but of all those of a kind."""
_WHENEVER = re.compile(
    r"(?i)\bwhen(?:ever)? (?:an?|any) (?:[\w-]+ ){0,2}(?:container|process|pod|job|task|worker)"
    r" (?:is|gets|exceeds|runs|hits|dies|exits|goes)\b"
)
_HEADING = re.compile(r"#{2,6} ")
"""Of a text; the one of its title is a line's."""
_DEFINES = re.compile(
    r"['\"`)]{0,2} ?(?:\([^)]{0,40}\) ?)?(?:means?|indicates?|signals?|signifies|stands for"
    r"|is (?:the|a|an|usually)|usually|typically|often"
    r"|(?:was|were) (?:killed|terminated|stopped))\b"
)
_FIELD = re.compile(r"\s*\"?\w[\w ]{0,20}(?::\s{2,}|\"\s*:\s*)\S")


def names_nobody(evidence: Evidence, *, fields: bool = False) -> bool:
    """Whether all that a line says is that somebody died or was refused: no name, place or time.

    Args:
        evidence: what the line says.
        fields: also where it is the field of a description.
    """
    if evidence.kind == "kill":
        return False
    if evidence.time is not None or evidence.uptime_s is not None:
        return False
    named = any(getattr(evidence, name) is not None for name in _NAMED)
    return not named and (fields or _FIELD.match(evidence.text) is None)


def is_fields_value(evidence: Evidence, text: str) -> bool:
    """Whether a line may be a field of a value in Go: alone of those that engines print of a state.

    Node's printed objects look alike, but have the others beside it.
    """
    return _FIELDS_VALUE.match(evidence.text) is not None and _STATE.search(text) is None


_FIELDS_VALUE = re.compile(r"\s*O(?:OM|om)Killed: +true,$")
_STATE = re.compile(r"(?m)^\s*(?:Status|Running|Paused|Restarting|Dead|StartedAt): ")


def is_talk(evidence: Evidence) -> bool:
    """Whether a line is a person's that mentions a death by signal 9 and names nobody."""
    return (
        evidence.kind == "sigkill"
        and evidence.by == "unknown"
        and words_in(evidence.text) > _SENTENCE
        and names_nobody(evidence)
    )


_NAMED = (
    "pid", "comm", "pod", "namespace", "container", "container_name", "unit", "job", "node",
    "cgroup", "limit_kb", "used_kb", "processes", "count", "host",
)  # fmt: skip
_NAMES = (
    "pid", "comm", "pod", "container", "name", "unit", "job", "node", "cgroup", "limit", "used",
    "processes", "count",
)  # fmt: skip
"""What a line names that tells of a death."""
_HAPPENED = re.compile(r"\b(?:was|were|got|been|gets|keeps?|is being) $")
_SENTENCE = 5
"""Minimum number of words that make a sentence."""
_LONG_SENTENCE = 14
"""So many no program prints when it is refused memory, but a manual writes."""
_TWO_SPANS = 4
"""So many backticks stand around two texts or more that a line quotes."""


def may_tell(raw: str) -> bool:
    """Whether a whole line, tag and text, has any of what lines that tell something have."""
    return _TELLING.is_in(raw)


_MAX_CHARS = 4096
_TAGS = frozenset(tag for form in _FORMS for tag in form.tags)
_ONLY_IN_HEADS = (
    "low on compute",
    "Allocator (GPU_",
    "code '137'",
    "by signal: Killed",
    "used over",
    "Out of memory (Needed",
    "Out of memory; check if",
    "OOM command not allowed",
    "MemoryError",
    "System.OutOfMemoryException",
    "_alloc: Cannot",
    "BY SIGNAL: 9",
    "Negsignal",
    "ExitFailure (-9",
    "code -9",
    'code":-9',
    'code": -9',
    "code=-9",
    "Run the command",
    "Memory limit exceeded",
    "due to memory usage",
    "flux-shell",
    "reason:OOM",
    "-order allocation failed",
    "allocation stalls",
    "out of memory",
    "Killed",
    "killed  ",
    "illing process",
    "emory! ",
    "Marked /",
    "Marked .",
    "Marked \u2026",
    "oomd attempting",
    "killed by YARN",
    "SIGKILL",
    "terminated program",
    "compiler error: Killed",
    "killed due to memory",
    "memory resource limit",
    "Ray killed this worker",
    "insufficient memory for the Java",
    "Out of Memory Error (",
    "os::commit_memory",
    ", was killed",
    '"oom"',
    "due to OOM",
    "srun: error",
    "requires corrective",
    "illed process ",
    "have enough ",
    "System memory low",
    "to free up memory",
    "memory allocation of",
)
_TELLING = Words([*_TAGS, *map(bytes.decode, NEEDLES), *_ONLY_IN_HEADS])
_WORDS = Words([*map(bytes.decode, NEEDLES), *_ONLY_IN_HEADS])


def _evidence(form: Form, match: re.Match[str], line: Line, file: str, tag: str) -> Evidence | None:
    groups: dict[str, Any] = match.groupdict()
    by = form.by if form.by != "anybody" else (tag or "unknown")
    if form.by == "earlyoom" and tag and tag != "earlyoom" and "earlyoom" not in line.text:
        return None
    if form.by == "anybody" and form.kind == "notice" and not line.stamped:
        return None
    if form.by == "kernel" and groups.get("pid") and form.kind == "notice" and line.stamped:
        return None
    if form.by == "nohang" and tag and not tag.startswith("nohang"):
        return None
    sizes = {name: _size(groups.get(name), form) for name in ("used", "limit", "request")}
    if form.by == "lambda" and (sizes["used"] or 0) < (sizes["limit"] or 0):
        return None
    pid = _number(groups.get("pid") or groups.get("pid_after"))
    # BPF read a structure at the wrong place, and the name with it.
    misread = form.by == "oomkill" and (pid is None or pid >= _PID_MAX_LIMIT)
    quoted = form.by == "node-problem-detector" and groups.get("pid") is not None
    what = "line on its choice of" if "ill process" in match.group() else "line on"
    text = f"repeats the kernel's {what} {groups.get('comm')}[{groups.get('pid')}]"
    return Evidence(
        source=Source(file=file, line=line.number, end_line=line.number),
        by=by,
        kind=form.kind,
        text=text if quoted else line.text[:_MAX_TEXT],
        killer=form.killer or (_killer_of(form.by) if form.kind == "kill" else None),
        means=form.means,
        time=line.time,
        uptime_s=line.uptime_s,
        host=line.host,
        pid=None if misread else pid,
        comm=None if misread else groups.get("comm") or groups.get("program"),
        cgroup=groups.get("cgroup"),
        cgroup_cut=groups.get("cgroup") is not None
        and line.cut
        and match.end("cgroup") == len(line.text.rstrip()),
        signal=_SIGNALS.get(groups.get("signal") or groups.get("number") or ""),
        unit=groups.get("unit"),
        pod=groups.get("pod"),
        namespace=groups.get("namespace"),
        container=groups.get("container"),
        container_name=groups.get("name"),
        node=groups.get("node"),
        job=groups.get("job") or groups.get("task"),
        reason=None
        if line.cut
        else (groups.get("reason") or groups.get("spaced") or "").strip(" .") or None,
        processes=_number(groups.get("processes")),
        count=_number(groups.get("count")),
        adj=_number(groups.get("adj")),
        order=_number(groups.get("order")),
        used_kb=sizes["used"],
        limit_kb=sizes["limit"],
        request_kb=sizes["request"],
    )


_MAX_TEXT = 500
_PID_MAX_LIMIT = 4 << 20
"""No process has a number as large (include/linux/threads.h)."""
_SIGNALS = {
    "SIGTERM": "SIGTERM",
    "15": "SIGTERM",
    "TERM": "SIGTERM",
    "SIGKILL": "SIGKILL",
    "KILL": "SIGKILL",
    "9": "SIGKILL",
}


def _killer_of(by: str) -> str:
    return "kernel" if by == "lowmemorykiller" else by


def _size(text: str | None, form: Form) -> int | None:
    if text is None:
        return None
    # Slurm prints bare numbers in kB.
    return size_kb(text, unit="kb" if form.by == "slurm" else "b")


def _number(text: str | None) -> int | None:
    return int(text) if text and len(text) < 10 else None
