"""The kernel's own reports of running out of memory: reading, writing, replaying them."""

from oomkit.klog.read import read_bytes, read_log
from oomkit.klog.records import Evidence, Report

__all__ = ["Evidence", "Report", "read_bytes", "read_log"]
