"""The kernel's own reports of running out of memory: reading, writing, replaying them."""

from oomkit.klog.evidence import Evidence
from oomkit.klog.lines.sources import LogError
from oomkit.klog.reader import read_bytes, read_evidence, read_log, read_records
from oomkit.klog.records import Report
from oomkit.klog.replay import inputs_of, replay, replay_all
from oomkit.klog.write import write_report

__all__ = [
    "Evidence",
    "LogError",
    "Report",
    "inputs_of",
    "read_bytes",
    "read_evidence",
    "read_log",
    "read_records",
    "replay",
    "replay_all",
    "write_report",
]
