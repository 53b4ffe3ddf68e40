"""The head of a report: the allocating task, its request, the kernel."""

from oomkit.klog.lines import expressions as re
from oomkit.klog.report.line_records import Caller, Header

_HEADER = re.compile(
    r"(?:^\[\s*\d{1,9}\.\d{1,5}\] )?"
    r"(?:(?P<pid>\d{1,10}) \((?P<vzcomm>.*?)\)|(?P<comm>.*?))\s*(?:\binvoked\s+)"
    r"(?:\w+\s+)?oom-killer:\s*(?P<rest>gfp.*)|^(?:.*?\s)?oom-killer:\s*(?P<bare>gfp_mask=.*)"
)
_HEADER_CUT = re.compile(r"(?P<comm>\S.{0,14}) invoked\s+oom-killer:?$")
_GFP = re.compile(r"gfp(?:_mask)?[= ](0x[0-9a-fA-F]+(?:\([^)]*\)?)?)")
_ORDER = re.compile(r"\border[= ](-?\d{1,2})(?!\d)")
_NODEMASK = re.compile(r"nodemask=(\(null\)|\d[\d,-]*?)(?=,\s|,?$)")
_ADJ = re.compile(r"\boom_score_adj=(-?\d{1,4})(?!\d)")
_OOM_ADJ = re.compile(r"\b(?:oom_adj|oomkilladj)=(-?\d{1,3})(?!\d)")
_CPU = re.compile(
    r"(?:CPU: \d+ )?(?:UID: \d+ )?P[iI][dD]: (?P<pid>\d{1,10}),?\s+[cC]omm: (?P<comm>.+?)\s+"
    r"(?:Kdump: loaded )?(?P<taint>Not\s+tainted|Tainted: .*?|\(?Tainted[^)]*\)?)\s*"
    r"(?P<release>\d\.\d+[\w.+~-]*)"
)
_CPU_OLD = re.compile(
    r"P[iI][dD]: (?P<pid>\d{1,10}), comm:\s+(?P<comm>.+?)\s+(?P<taint>Not tainted|Tainted: .*?)?"
    r"\s*\(?(?P<release>\d\.\d+[\w.+~-]*)"
)
_CPUSET = re.compile(r"(?P<comm>.*?)\s*\bcpuset=(?P<cpuset>\S+)\s+mems_allowed=(?P<mems>[\d,-]+)")
_VERSION = re.compile(r"Linux version (\d\.\d+[\w.+~-]*)")
_RELEASE = r"(?P<release>[2-9]\.\d{1,3}[\w.+~-]*)"
_UNAME = re.compile(
    r"(?:\W*(?:uname -\w+|Kernel|OS):?\s+)?Linux [\w.-]{1,64} " + _RELEASE + r" (?:#\d|SMP)"
)
_KERNEL_FIELD = re.compile(
    r"\W*(?:[Kk]ernel(?: [Vv]ersion| [Rr]elease)?|[Kk]ernelVersion|uname(?: -r)?)"
    r"[\"']?\s*[:=]\s*[\"']?(?:Linux(?: version)? )?" + _RELEASE + r"(?=[\s\"',)]|$)"
)
_BARE_RELEASE = re.compile(_RELEASE + r"$")
_UNAME_PROMPT = re.compile(r"(?:.{0,60}[$#%>] ?)?uname -r\s*$")
_FRAME = re.compile(
    r"(?:\[<?(?:[0-9a-f]{8,16}|[\w.:]{1,64}\+0x[0-9a-f/x]{1,24})?>?\]\s*)*"
    r"(?P<guess>\? )?[(:]?(?P<name>[A-Za-z_][\w.$]*)\+0x"
    r"[0-9a-f]*(?:/0x|/?$)"
)
FRAME_EXPRESSION = (
    r"(?:\[<[0-9a-f]{8,16}>\] )?(?P<guess>\? )?(?P<name>[A-Za-z_]\w*)(?:\.[\w.]+)?"
    r"\+0x[0-9a-f]+/0x[0-9a-f]+(?: \[[\w ]+\])?\s*"
)
"""A regular expression for whole lines of a call trace, as most kernels print them."""
_DECODED_FRAME = re.compile(
    r"(?P<guess>\? )?(?P<name>[A-Za-z_][\w.]*) \(?[\w.][\w./+-]*\.[chSs]:\d+\)?(?=$|[ )])"
)
"""What scripts/decode_stacktrace.sh and crash reporters make of a frame: function, file, line."""
_ARM_FRAME = re.compile(
    r"^\s*(?:\[<?[0-9a-f]*>?\] \()?(?P<name>[A-Za-z_][\w.]*)\)? from "
    r"(?:\[<?[0-9a-f]*>?\] \()?(?P<caller>[A-Za-z_][\w.]*)\+0x"
)


def parse_header(text: str) -> Header | None:
    """Parse the line with ``invoked oom-killer:``; None if it is not one."""
    match = _HEADER.search(text)
    if match is None:
        cut = _HEADER_CUT.match(text)
        return None if cut is None else _only_comm(cut["comm"])
    rest = match["rest"] or match["bare"]
    gfp = _GFP.search(rest)
    if gfp is None:
        return None
    order = _search(_ORDER, "order", rest)
    nodemask = _search(_NODEMASK, "nodemask=", rest)
    oom_adj = _OOM_ADJ.search(rest) if "oom_adj=" in rest or "oomkilladj=" in rest else None
    adj = _search(_ADJ, "oom_score_adj=", rest)
    comm = match["vzcomm"] or match["comm"]
    return Header(
        comm=comm.strip() if comm else None,
        pid=int(match["pid"]) if match["pid"] else None,
        gfp_mask=gfp[1],
        order=int(order[1]) if order else None,
        nodemask=None if nodemask is None else nodemask[1],
        oom_adj=int(oom_adj[1]) if oom_adj else None,
        oom_score_adj=int(adj[1]) if adj else None,
        form=_form(rest, vz=match["pid"] is not None, bare=match["bare"] is not None),
    )


def _search(pattern: re.Pattern[str], begins: str, text: str) -> re.Match[str] | None:
    """What a search finds for a pattern that begins with a word; the word is looked for first."""
    return pattern.search(text) if begins in text else None


def _only_comm(comm: str) -> Header:
    """What is left of a line that was cut, or quoted from memory."""
    return Header(
        comm=comm.strip(),
        pid=None,
        gfp_mask=None,
        order=None,
        nodemask=None,
        oom_adj=None,
        oom_score_adj=None,
        form=None,
    )


def _form(rest: str, *, vz: bool, bare: bool) -> str | None:
    if vz:
        return "openvz"
    if bare and "(" in rest:
        return None
    if bare:
        return "2.6.13" if "order=" in rest else "2.6.11"
    if "oomkilladj=" in rest:
        return "2.6.19"
    if "oom_adj=" in rest:
        return "2.6.36" if "oom_score_adj=" in rest else "2.6.32"
    if "nodemask=" in rest:
        if re.search(r"nodemask=\S+,  order", rest):
            return "4.11"
        return "4.15" if "(null)" in rest else "4.9"
    if "oom_score_adj=" not in rest:
        return None
    return "4.6" if "(" in rest else "3.7"


def parse_caller(text: str) -> Caller | None:
    """Parse ``CPU: 1 PID: 2 Comm: x Not tainted 5.4.0``; None if it is not that line."""
    match = _CPU.search(text) or _CPU_OLD.search(text)
    if match is None:
        return None
    taint = match["taint"] or "Not tainted"
    tainted = None if taint.startswith("Not") else taint.partition(":")[2].strip() or taint
    return Caller(
        pid=int(match["pid"]), comm=match["comm"], tainted=tainted, release=match["release"]
    )


def parse_cpuset(text: str) -> tuple[str, str, str] | None:
    """Parse ``NAME cpuset=/ mems_allowed=0`` into name, cpuset and nodes."""
    match = _CPUSET.match(text)
    return None if match is None else (match["comm"], match["cpuset"], match["mems"])


def parse_version(text: str) -> str | None:
    """Return the release from a ``Linux version`` line."""
    match = _VERSION.search(text)
    return None if match is None else match[1]


def parse_uname(text: str) -> str | None:
    """Return the release from what ``uname -a``, ``hostnamectl`` or a form about bugs prints."""
    match = _UNAME.match(text) or _KERNEL_FIELD.match(text)
    return None if match is None else match["release"]


def asks_release(text: str) -> bool:
    """Whether a line is a prompt with ``uname -r``: the release alone follows."""
    return "uname" in text and _UNAME_PROMPT.match(text) is not None


def parse_bare_release(text: str) -> str | None:
    """Return a line's text where it is a kernel's release and nothing else."""
    match = _BARE_RELEASE.match(text)
    return None if match is None else match["release"]


def parse_frame(text: str) -> tuple[str, bool] | None:
    """Return the function of a call trace's line and whether it is a guess (``? name``)."""
    match = _FRAME.match(text) or _ARM_FRAME.match(text) or _DECODED_FRAME.match(text)
    if match is None:
        return None
    name: str = match["name"]
    return name.partition(".")[0], bool(match.groupdict().get("guess"))


_MAX_NODE = 4096


def nodes_in(text: str | None) -> set[int]:
    """Nodes of a list such as ``0-1,4``; what is no number is passed over."""
    nodes: set[int] = set()
    for part in (text or "").split(","):
        low, _, high = part.partition("-")
        if low.isdecimal() and (not high or high.isdecimal()):
            nodes.update(range(int(low), min(int(high or low), _MAX_NODE) + 1))
    return nodes
