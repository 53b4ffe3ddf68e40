"""The kernel's own reports of running out of memory: reading, writing, replaying them."""

from oomkit.klog.read import read_bytes, read_log
from oomkit.klog.records import Evidence, Report
from oomkit.klog.replay import inputs_of, replay, replay_all

__all__ = ["Evidence", "Report", "inputs_of", "read_bytes", "read_log", "replay", "replay_all"]
