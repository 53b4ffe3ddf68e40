"""Texts that stand upside down: log services show, and people paste, the newest line first."""

import re
from itertools import pairwise

_PARTS = re.compile(
    rb"(?P<head>invoked oom-killer)|(?P<memory>Mem-[Ii]nfo:|memory: usage \d)"
    rb"|(?P<table>tgid total_vm)|(?P<choice>oom-kill:constraint|[Kk]ill process \d)"
    rb"|(?P<killed>Killed process \d)|(?P<reaped>oom_reaper: reaped)"
)
_ORDER = {name: i for i, name in enumerate(_PARTS.groupindex)}
_ENOUGH = 2
_ENDS = (b"Killed process ", b"oom-kill:constraint", b"oom_reaper: ")
_BEGINNINGS = (b"invoked oom-killer", b"tgid total_vm", b"Mem-Info:")


def is_newest_first(data: bytes) -> bool:
    """Whether the parts of reports follow each other against the order in which they are printed.

    From one report to the next the order starts again, so that pairs of neighbours are counted.
    """
    # As a rule the first line tells, and the rest need not be looked through.
    end = min((i for i in map(data.find, _ENDS) if i >= 0), default=-1)
    if end < 0 or not any(
        data.find(begins, end) >= 0 and data.find(begins, 0, end) < 0 for begins in _BEGINNINGS
    ):
        return False
    kinds = [_ORDER[match.lastgroup or ""] for match in _PARTS.finditer(data)]
    pairs = list(pairwise(kinds))
    upwards = sum(later - first == 1 for first, later in pairs)
    down = sum(first - later == 1 for first, later in pairs)
    return down >= _ENOUGH and down > 2 * upwards
