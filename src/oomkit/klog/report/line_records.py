"""What single lines of a report say, as records."""

from oomkit.klog.records import Killed
from oomkit.records import Record


class Header(Record, frozen=True, kw_only=True):
    """The line that opens a report.

    Attributes:
        comm: name of the asker; None where the line lacks it (before 2.6.19, or cut).
        pid: its thread id (OpenVZ).
        gfp_mask: flags as printed.
        order: order of the request.
        nodemask: nodes of the request.
        oom_adj: the asker's ``oom_adj``.
        oom_score_adj: the asker's ``oom_score_adj``.
        form: the text's form, as ``RuleSet.log_header`` names it; None where it is cut.
    """

    comm: str | None
    pid: int | None
    gfp_mask: str | None
    order: int | None
    nodemask: str | None
    oom_adj: int | None
    oom_score_adj: int | None
    form: str | None


class Caller(Record, frozen=True, kw_only=True):
    """The line that names the process behind a call trace.

    Attributes:
        pid: its thread id.
        comm: its name.
        tainted: the taint flags; None for an untainted kernel.
        release: the kernel's release.
    """

    pid: int
    comm: str
    tainted: str | None
    release: str


class KillLine(Record, frozen=True, kw_only=True):
    """A kill line.

    Attributes:
        text: what opens it; None where the version prints nothing before.
        killed: the victim.
        would_have: the victim was spared (``would_have_oomkilled``).
        form: the text's form, as ``RuleSet.log_kill`` names it, as far as this line shows.
    """

    text: str | None
    killed: Killed
    would_have: bool = False
    form: str | None = None
