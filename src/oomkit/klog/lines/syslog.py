"""The usual form of a line of syslog, recognized at once: ``May  1 15:12:07 host tag[1]: text``."""

import re

from oomkit.klog.lines import dates

_BEFORE_TAG = (
    r"(?P<mon>" + dates.MONTH + r") {1,2}(?P<day>\d{1,2}) (?P<clock>\d\d:\d\d:\d\d) "
    r"(?!(?:kern|user|daemon|local\d|syslog)[.:])(?P<host>[A-Za-z][\w.-]{0,62}) "
)
_TAG = r"(?P<tag>[A-Za-z_][\w./@()-]{0,60})(?:\[(?P<pid>\d+)\])?:"
SYSLOG_LINE = re.compile(_BEFORE_TAG + _TAG + r"(?:\s|$)")
"""The usual form of syslog; date, host and tag, which general patterns find in several steps."""
KERNEL_TAGS = frozenset({"kernel", "klogd", "vmunix", "unknown", "kern", "kernel-log", "dmesg"})
OTHERS_LINE = re.compile(
    _BEFORE_TAG + "(?!(?i:" + "|".join(sorted(KERNEL_TAGS)) + r")[\[:])" + _TAG
    + r" [^{=#\\<\[\v]{0,500}[^{=#\\<\[\v\s]$"
)  # fmt: skip
"""A whole line of syslog that another program than the kernel wrote, with nothing packed in it:
no record, no code, no second line, no kernel's stamp."""
