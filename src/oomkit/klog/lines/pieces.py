"""The pieces that loggers and the kernel put before a line's text: dates, stamps, caller ids."""

from datetime import UTC, datetime

from oomkit.klog.lines import expressions as re

MONTHS = ("Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec")
MONTH = "(?:" + "|".join(MONTHS) + ")"

# Months as dmesg -T prints them in a locale: how their names begin in German, French, Spanish,
# Italian, Portuguese, Dutch, Russian.
_LOCAL_MONTHS = (
    r"jan|janv|ene|gen|янв", r"feb|fév|fev|фев", r"mar|mär|mrt|maa|мар", r"apr|avr|abr|апр",
    r"mai|may|mag|mei|мая|май", r"jun|juin|giu|июн", r"jul|juil|lug|июл", r"aug|aoû|ago|авг",
    r"sep|set|сен", r"okt|oct|out|ott|окт", r"nov|ноя", r"dez|déc|dic|dec|дек",
)  # fmt: skip
_LOCAL_MONTH = tuple(re.compile(names, re.IGNORECASE) for names in _LOCAL_MONTHS)
_NUMBERED_MONTH = re.compile(r"(\d{1,2})\s?[月월]")
_NAME = r"(?:[^\W\d]+\.?|\d{1,2}\s?[月월])"
LOCAL = re.compile(
    rf"\[(?:[^\W\d]+\.?,?\s+)?(?:(?P<day>\d{{1,2}})\.?\s+(?P<month>{_NAME})"
    rf"|(?P<month2>{_NAME})\s+(?P<day2>\d{{1,2}}))(?:\s+(?P<year>\d{{4}}))?"
    r"\s+(?P<clock>\d\d:\d\d:\d\d)(?:\s+(?P<half>[AP]M))?(?:\s+[A-Z]{2,5})?"
    r"(?:\s+(?P<year2>\d{4}))?\]"
)
"""A date in brackets, in the words and the order of some locale."""
LOCAL_SYSLOG = re.compile(
    rf"(?P<month>{_NAME})\s+(?P<day>\d{{1,2}})\s+(?P<clock>\d\d:\d\d:\d\d)(?=\s)\s?"
)
"""The date of syslog and the journal in the words of some locale."""


def iso(text: str) -> str:
    """Return a date that already has the order of ISO 8601 in its exact form."""
    text = text.replace(" UTC", "Z").replace(",", ".")
    return text.replace(" ", "T", 1).replace(" ", "")


def epoch(text: str) -> str:
    """Return seconds since 1970 as a date."""
    when = datetime.fromtimestamp(float(text), UTC)
    return when.isoformat(timespec="microseconds")


def ctime(month: str, day: str, clock: str, year: str | None) -> str:
    """Return an English date; without the year where the log has none."""
    return _date(MONTHS.index(month) + 1, day, clock, year)


def local(match: re.Match[str]) -> str | None:
    """Return what a pattern of locales found; None where the month's name is not known."""
    found = match.groupdict()
    number = _month(found["month"] or found["month2"])
    if number is None:
        return None
    clock = found["clock"]
    if found.get("half"):
        hour = int(clock[:2]) % 12 + (12 if found["half"] == "PM" else 0)
        clock = f"{hour:02}{clock[2:]}"
    year = found.get("year") or found.get("year2")
    return _date(number, found["day"] or found["day2"], clock, year)


def _month(name: str) -> int | None:
    numbered = _NUMBERED_MONTH.match(name)
    if numbered is not None:
        number = int(numbered[1])
        return number if 1 <= number <= 12 else None
    return next((i for i, known in enumerate(_LOCAL_MONTH, 1) if known.match(name)), None)


def _date(month: int, day: str, clock: str, year: str | None) -> str:
    text = f"{month:02}-{int(day):02}T{clock}"
    return f"{year}-{text}" if year else text


QUOTE = re.compile(r"[ \t]*(?:(?:>|\|[ \t])[ \t]*)+|: ")
PRINTK = re.compile(
    r"\[\s*(?P<up>\d{1,9}\.\d{6})(?:\s*<\s*\d+\.\d+>)?\s*\](?:\s?\[\s*(?P<caller>[TC]\d+)\s*\])?"
    r"|\[\s*\+\d+\.\d{6}\]|\[" + MONTH + r" {1,2}\d{1,2} \d\d:\d\d\]"
)
STAMP = r"(?:<[0-7]>)?\[\s*(?P<up>\d{1,9}\.\d{6})\]"
STAMP_ONLY = re.compile(STAMP)
PIECES = re.compile(
    r"""\s*(?:
      \[?(?P<iso>\d{4}-\d\d-\d\d[T\ ]\d\d:\d\d:\d\d(?:[.,]\d+)?
        (?:\ ?(?:Z|UTC|[+-]\d\d:?\d\d))?)\]?:?
      (?:\ (?:stdout|stderr)\ [FP](?=\ ))?
    | (?P<ctime>\[?(?:(?:Mon|Tue|Wed|Thu|Fri|Sat|Sun),?\ )?(?P<mon>"""
    + MONTH
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
_DATES = (*MONTHS, "Mon", "Tue", "Wed", "Thu", "Fri", "Sat", "Sun")
_SMALL = ("kern", "user", "daemon", "local", "syslog", "c")
_FAR = 12
"""The name of a severity, before a date, is shorter."""


def may_begin(text: str, position: int) -> bool:
    """Whether what stands at a position begins as a piece does: a quick look, before the search."""
    first = text[position : position + 1]
    if first.islower():
        return text.startswith(_SMALL, position)
    if "A" <= first <= "Z":
        blank = text.find(" ", position, position + _FAR)
        return text.startswith(_DATES, position) or text[blank + 1 : blank + 2].isdigit()
    return first in _SIGNS or first.isspace() or first.isdigit()


_SIGNS = ("[", "<")
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
