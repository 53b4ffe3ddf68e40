"""Lines of others than the kernel that tell of a death for want of memory.

A kill that the kernel did not report may be the work of a userspace killer, of the kubelet, or
of anybody who sends SIGKILL; each leaves its own lines. They are evidence, told apart here, and
never mixed with the kernel's reports.
"""

import re
from functools import cached_property
from typing import Any, Literal

from ahocorasick_rs import AhoCorasick, MatchKind

from oomkit.klog.prefix import Line
from oomkit.klog.records import Evidence, Source
from oomkit.klog.scan import KERNEL_NEEDLES

Kind = Literal["kill", "notice", "eviction", "sigkill"]

NEEDLES = (
    b"oomd", b"OOM ", b"OOM-", b"OOM_", b"OOMK", b"kOOM", b"oom-kill", b"oomKill", b" oom", b"/oom",
    b"nohang", b"earlyoom", b"9/KILL", b"evict", b"low on resource", b" 137", b"=137", b":137",
    b"(137", b"g SIG", b"signal 9", b"signal: killed", b"lowmemorykiller", b"lmkd",
)  # fmt: skip
"""What the lines contain; see :mod:`oomkit.klog.scan`. One of less than four bytes would make the
search for all of them three times as slow."""

_STATUS = re.compile(rb"(?:exit|return|code|status)[^\n]{0,24}137\b", re.IGNORECASE)


def is_worth(buffer: bytearray, at: int, end: int) -> bool:
    """Whether what stands at an offset may be evidence: 137 is a number like any other, and the
    kernel's own words are no evidence of others.
    """
    if buffer.startswith(_KERNELS, at):
        return False
    if not buffer.startswith(_NUMBER, at + 1):
        return True
    end = min(at + 5, end)
    if buffer[at + 4 : end].isalnum():
        return False
    start = max(at - 40, 0)
    before = buffer[start:at].lower()
    if not (b"exit" in before or b"stat" in before or b"code" in before or b"retu" in before):
        return False
    return _STATUS.search(buffer, start, end) is not None


_NUMBER = b"137"
_KERNELS = tuple(needle for needle in KERNEL_NEEDLES if needle not in NEEDLES)
_UNIT = r"(?P<unit>[\w@:.\\-]+\.(?:service|scope|slice|socket|mount|swap))"
_POD = r"(?P<pod>[\w.-]+(?:/[\w.-]+)?)"


class _Form:
    """One form of line: who prints it, what it means, how to read it."""

    def __init__(
        self,
        by: str,
        kind: Kind,
        pattern: str,
        *,
        words: tuple[str, ...],
        tags: tuple[str, ...] = (),
    ) -> None:
        """Every line of the form has one of the words."""
        self.by = by
        self.kind = kind
        self.words = words
        self.tags = tags
        self._pattern = pattern

    @cached_property
    def pattern(self) -> re.Pattern[str]:
        """Finds the form in a line."""
        return re.compile(self._pattern)


_FORMS = (
    # systemd-oomd: "Killed /user.slice/... due to memory pressure for /user.slice being 60% > ..."
    _Form(
        "systemd-oomd",
        "kill",
        r"^Killed (?P<cgroup>/\S+) due to (?:memory pressure|memory used|swap used)",
        words=("Killed /",),
        tags=("systemd-oomd",),
    ),
    _Form(
        "systemd-oomd",
        "kill",
        r"systemd-oomd(?:\[\d+\])?: Killed (?P<cgroup>/\S+) due to (?:memory|swap)",
        words=("systemd-oomd",),
    ),
    _Form(
        "systemd-oomd",
        "notice",
        _UNIT + r": systemd-oomd killed (?:\d+|some) process",
        words=("systemd-oomd killed",),
    ),
    _Form(
        "earlyoom",
        "kill",
        r"sending (?P<signal>SIGTERM|SIGKILL) to process (?P<pid>\d+)(?: uid \d+)? "
        r"[\"'](?P<comm>.*?)[\"']:? ?(?:badness|oom_score|VmRSS|,|$)",
        words=("to process ",),
    ),
    _Form(
        "earlyoom",
        "kill",
        r"Killing process (?P<pid>\d+) \((?P<comm>.*)\)",
        words=("Killing process ",),
        tags=("earlyoom",),
    ),
    _Form(
        "nohang",
        "kill",
        r"(?:Sending|Implementing|sending) (?P<signal>SIGTERM|SIGKILL) to (?:the )?victim"
        r"(?:.*?PID:? (?P<pid>\d+))?",
        words=("victim",),
        tags=("nohang", "nohang-desktop"),
    ),
    _Form(
        "nohang",
        "kill",
        r"(?:found victim|victim is|Victim).*?(?:PID:? ?|\[)(?P<pid>\d+).*?(?P<comm>[\w.:-]+)?",
        words=("victim", "Victim"),
        tags=("nohang", "nohang-desktop"),
    ),
    # Android's killer, in userspace and (until 4.11) in the kernel.
    _Form(
        "lmkd",
        "kill",
        r"Kill(?:ing)? '(?P<comm>[^']+)' \((?P<pid>\d+)\)",
        words=("'",),
        tags=("lmkd", "lowmemorykiller"),
    ),
    _Form(
        "lmkd",
        "kill",
        r"lowmemorykiller: Kill(?:ing)? '(?P<comm>[^']+)' \((?P<pid>\d+)\)",
        words=("lowmemorykiller",),
    ),
    _Form(
        "talos",
        "kill",
        r"Sending SIGKILL to cgroup .*?\"cgroup\": ?\"(?P<cgroup>[^\"]+)\"",
        words=("Sending SIGKILL",),
    ),
    _Form(
        "oomd",
        "kill",
        r"oomd kill: (?P<numbers>[\d. ]+) (?P<cgroup>/?\S+) \d+ ruleset:\[",
        words=("oomd kill",),
    ),
    _Form(
        "oomd",
        "kill",
        r"Trying to kill (?P<cgroup>/\S+)",
        words=("Trying to kill",),
        tags=("oomd", "oomd_bin"),
    ),
    _Form(
        "kubelet",
        "eviction",
        r"[Ee]viction manager: pod is evicted successfully\\?\".{0,20}pod=\\?\"" + _POD,
        words=("viction manager",),
    ),
    _Form(
        "kubelet",
        "eviction",
        r"eviction manager: pods? " + _POD + r"\S* (?:is )?evicted",
        words=("viction manager",),
    ),
    _Form(
        "kubelet",
        "eviction",
        r"[Ee]viction manager: (?:must evict|attempting to reclaim)",
        words=("viction manager",),
    ),
    _Form(
        "kubelet", "eviction", r"The node was low on resource: memory", words=("low on resource",)
    ),
    _Form(
        "kubelet",
        "notice",
        r"(?:System OOM encountered, victim process: (?P<comm>[^,\"]+), pid: (?P<pid>\d+)"
        r"|OOMKilling|OOMKilled)",
        words=("System OOM", "OOMKill"),
    ),
    _Form(
        "containerd",
        "notice",
        r"TaskOOM.{0,20}?(?:ContainerID:|container_id:\\?\")(?P<container>[0-9a-f]{12,64})",
        words=("TaskOOM",),
    ),
    _Form(
        "containerd",
        "notice",
        r"TaskOOM|/tasks/oom\b",
        words=("TaskOOM", "/tasks/oom"),
    ),
    _Form(
        "docker",
        "notice",
        r"container oom (?P<container>[0-9a-f]{12,64})",
        words=("container oom",),
    ),
    _Form(
        "docker",
        "notice",
        r"(?:OOMKilled|oomKilled)\\?\"?[:=] ?true|OOM event.*container",
        words=("OOMKilled", "oomKilled", "OOM event"),
    ),
    _Form(
        "runc",
        "notice",
        r"(?:runc|crun|conmon).{0,60}?(?:OOM|oom)(?:[-_ ]kill| event| rec)",
        words=("runc", "crun", "conmon"),
    ),
    _Form(
        "conmon",
        "notice",
        r"^(?:OOM received|OOM event received)",
        words=("OOM ",),
        tags=("conmon",),
    ),
    _Form(
        "systemd",
        "notice",
        _UNIT + r": (?:A process of this unit has been killed by the OOM killer"
        r"|Failed with result 'oom-kill'|Unit process killed by the OOM killer)",
        words=("OOM killer", "oom-kill"),
    ),
    _Form(
        "systemd",
        "sigkill",
        _UNIT + r": (?:Main process exited|main process exited|Control process exited)"
        r".{0,20}?code=killed, status=9/KILL",
        words=("9/KILL",),
    ),
    _Form(
        "anybody",
        "sigkill",
        r"(?:exit(?:ed)?|return(?:ed)?)[ _a-z]{0,24}(?:code|status|with)?"
        r"\\?\"?[ :=]{1,3}\(?137\b",
        words=("137",),
    ),
    _Form(
        "anybody",
        "sigkill",
        r"(?:killed by signal 9|signal: killed|exited on signal 9\b)",
        words=("signal",),
    ),
)


_FORM_WORDS = tuple(dict.fromkeys(word for form in _FORMS for word in form.words))
_FORM_WORD = AhoCorasick(_FORM_WORDS)
_WITH_WORD = tuple([i for i, form in enumerate(_FORMS) if w in form.words] for w in _FORM_WORDS)


def _forms_for(text: str) -> list[_Form]:
    """The forms that have one of their words in a line, in their order."""
    words = {word for word, _, _ in _FORM_WORD.find_matches_as_indexes(text, overlapping=True)}
    return [_FORMS[i] for i in sorted({i for word in words for i in _WITH_WORD[word]})]


def evidence_in(line: Line, file: str) -> Evidence | None:
    """Say what a line tells of; None for the kernel's lines and for those that tell nothing."""
    text = line.text
    tag = (line.tag or "").rpartition("/")[2]
    known = tag in _TAGS or _WORDS.find_matches_as_indexes(text)
    if not known or len(text) > _MAX_CHARS:
        return None
    for form in _forms_for(text):
        if form.tags and tag not in form.tags:
            continue
        match = form.pattern.search(text)
        if match is not None:
            return _evidence(form, match, line, file, tag)
    return None


def may_tell(raw: str) -> bool:
    """Whether a whole line, tag and text, has any of what lines that tell something have."""
    return bool(_TELLING.find_matches_as_indexes(raw))


_MAX_CHARS = 4096
_TAGS = frozenset(tag for form in _FORMS for tag in form.tags)
_TELLING = AhoCorasick([*_TAGS, *map(bytes.decode, NEEDLES)], MatchKind.LeftmostFirst)
_WORDS = AhoCorasick([needle.decode() for needle in NEEDLES], MatchKind.LeftmostFirst)


def _evidence(
    form: _Form, match: re.Match[str], line: Line, file: str, tag: str
) -> Evidence | None:
    groups: dict[str, Any] = match.groupdict()
    by = form.by if form.by != "anybody" else (tag or "unknown")
    if form.by == "earlyoom" and tag and tag != "earlyoom" and "earlyoom" not in line.text:
        return None
    pid = groups.get("pid")
    return Evidence(
        source=Source(file=file, line=line.number, end_line=line.number),
        by=by,
        kind=form.kind,
        text=line.text[:500],
        time=line.time,
        uptime_s=line.uptime_s,
        host=line.host,
        pid=int(pid) if pid and len(pid) < 10 else None,
        comm=groups.get("comm"),
        cgroup=groups.get("cgroup"),
        unit=groups.get("unit"),
        pod=groups.get("pod"),
        container=groups.get("container"),
    )
