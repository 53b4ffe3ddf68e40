"""All logs of one call together: reports, what others say, incidents."""

from collections.abc import Sequence

from oomkit.explain.faults import kernel_faults
from oomkit.explain.files import Told
from oomkit.explain.incidents import Incident, incidents
from oomkit.explain.records import Explanation
from oomkit.explain.recurring import tables
from oomkit.explain.related import related
from oomkit.explain.repeats import without_repeats
from oomkit.explain.said import no_kill_text
from oomkit.explain.story import explain, with_findings


class Case:
    """What a set of logs tells.

    Attributes:
        reports: the reports, log by log.
        evidence: what others say, log by log.
        incidents: both, put together.
        tables: what recurs.
        no_kill: one sentence where nobody was killed, though requests failed or memory was short;
            None where somebody was, or where the logs say nothing of the kind.
        failed: the lines that show that.
    """

    def __init__(self, told: Sequence[Told]) -> None:
        self.reports = without_repeats([report for log in told for report in log.reports])
        self.evidence = [item for log in told for item in log.evidence]
        self.incidents = incidents(self.reports, self.evidence)
        self.tables = tables(self.reports, self.evidence, self.incidents)
        self.failed = [item for log in told for item in log.no_kill]
        self.no_kill: str | None = None
        if self.failed and not self.incidents:
            self.no_kill = no_kill_text(self.failed, sum(log.no_kill_count for log in told))
        self._incident_of = {r: item for item in self.incidents for r in item.reports}

    @property
    def is_bad_news(self) -> bool:
        """Somebody was killed for want of memory, or the kernel tried to."""
        return bool(self.reports) or any(item.kind != "sigkill" for item in self.evidence)

    def told_by_others(self) -> list[Incident]:
        """The incidents of which no report of the kernel tells."""
        return [item for item in self.incidents if not item.reports]

    def incident(self, index: int) -> int:
        """Number of the incident of a report."""
        return self._incident_of[index].number

    def explain(self, index: int) -> Explanation:
        """One report, explained, with what others say of its victims."""
        report, incident = self.reports[index], self._incident_of[index]
        said = [self.evidence[e] for e in incident.evidence]
        told = explain(report, related(report, said))
        faults = kernel_faults(report, [self.reports[r] for r in incident.reports])
        return with_findings(told, faults) if faults else told
