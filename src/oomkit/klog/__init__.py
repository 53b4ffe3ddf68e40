"""The kernel's own reports of running out of memory: reading, writing, replaying them.

Each name is imported when it is first used: a large file is searched while the rest is loaded.
"""

TYPE_CHECKING = False
if TYPE_CHECKING:
    from oomkit.klog.evidence import Evidence
    from oomkit.klog.lines.sources import LogError
    from oomkit.klog.reader import read_bytes, read_evidence, read_log, read_records
    from oomkit.klog.records import Report
    from oomkit.klog.replay import inputs_of, replay_all
    from oomkit.klog.write import write_report

_HOMES = {
    "Evidence": "oomkit.klog.evidence",
    "LogError": "oomkit.klog.lines.sources",
    "Report": "oomkit.klog.records",
    "inputs_of": "oomkit.klog.replay",
    "read_bytes": "oomkit.klog.reader",
    "read_evidence": "oomkit.klog.reader",
    "read_log": "oomkit.klog.reader",
    "read_records": "oomkit.klog.reader",
    "replay_all": "oomkit.klog.replay",
    "write_report": "oomkit.klog.write",
}

__all__ = [
    "Evidence",
    "LogError",
    "Report",
    "inputs_of",
    "read_bytes",
    "read_evidence",
    "read_log",
    "read_records",
    "replay_all",
    "write_report",
]


def __getattr__(name: str) -> object:
    home = _HOMES.get(name)
    if home is None:
        raise AttributeError(f"module 'oomkit.klog' has no attribute {name!r}")
    import importlib

    found: object = getattr(importlib.import_module(home), name)
    globals()[name] = found
    return found
