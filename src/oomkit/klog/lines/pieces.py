"""The pieces that loggers and the kernel put before a line's text, each by itself."""

import re

from oomkit.klog.lines import dates

QUOTE = re.compile(r"[ \t]*(?:(?:>|\|[ \t])[ \t]*)+|: ")
PRINTK = re.compile(
    r"\[\s*(?P<up>\d{1,9}\.\d{6})(?:\s*<\s*\d+\.\d+>)?\s*\](?:\s?\[\s*(?P<caller>[TC]\d+)\s*\])?"
    r"|\[\s*\+\d+\.\d{6}\]|\[" + dates.MONTH + r" {1,2}\d{1,2} \d\d:\d\d\]"
)
STAMP = r"(?:<[0-7]>)?\[\s*(?P<up>\d{1,9}\.\d{6})\]"
STAMP_ONLY = re.compile(STAMP)
PIECES = re.compile(
    r"""\s*(?:
      \[?(?P<iso>\d{4}-\d\d-\d\d[T\ ]\d\d:\d\d:\d\d(?:[.,]\d+)?
        (?:\ ?(?:Z|UTC|[+-]\d\d:?\d\d))?)\]?:?
      (?:\ (?:stdout|stderr)\ [FP](?=\ ))?
    | (?P<ctime>\[?(?:(?:Mon|Tue|Wed|Thu|Fri|Sat|Sun),?\ )?(?P<mon>"""
    + dates.MONTH
    + r""")\ {1,2}(?P<day>\d{1,2})(?:\ (?P<year1>\d{4}))?\ (?P<clock>\d\d:\d\d:\d\d(?:\.\d+)?)
      (?:\ (?:[A-Z]{3,4}\ )?(?P<year2>\d{4})(?![^\s\]]))?\]?)
    | (?P<severity>(?:[A-Z]|DEFAULT|DEBUG|INFO|NOTICE|WARN(?:ING)?|ERROR|CRITICAL|ALERT|EMERGENCY)
        (?=\ \d{4}-\d\d-\d\d[T\ ]))
    | (?P<facility>(?:kern|user|daemon|local\d|syslog)\ *[.:]\ *
        (?:emerg|alert|crit|err|error|warn|warning|notice|info|debug)\ *:?)
    | (?P<caller2>\[\s*[TC]\d+\s*\])
    | (?P<core>c\d+\s+\d+(?=\ ))
    | (?P<epoch>\d{10}\.\d{1,9})
    )(?=[\s:\]<\[]|$)[:,]?\ ?
    |\s*(?P<level><\d{1,3}>)(?:1\ (?=\d{4}-))?""",
    re.VERBOSE,
)
HOST_TAG = re.compile(
    r"(?:(?P<host>[^\s:\[\]<>()={}]{1,64}(?::[^\s:]+)*)\s+)?"
    r"(?P<fac>(?:kern|user|daemon|local\d)\.\w+\s+)?"
    r"(?P<tag>[A-Za-z_][\w./@()-]{0,60})(?:\[(?P<pid>\d+)\])?:(?:\s|$)"
)
RFC5424 = re.compile(
    r"(?P<host>\S+) (?P<tag>[^\s:]+) (?:(?P<pid>\d+)|\S+) \S+ (?:-|(?:\[[^\]]*\])+)(?: |$)"
)
TAG_AFTER = re.compile(r" ?(?:(?P<host>[^\s:\[\]]{1,64}) )?kernel: ")
KMSG = re.compile(
    r"\d{1,3},\d+,(?P<usec>\d{1,18}),(?:[-\w,=]*?caller=(?P<caller>[TC]\d+))?[-\w,=]*;"
)
"""A record as ``/dev/kmsg`` and netconsole give it."""
