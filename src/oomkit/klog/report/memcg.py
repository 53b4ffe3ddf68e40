"""The memory cgroup's part of a report."""

from oomkit.klog.lines import expressions as re
from oomkit.klog.memory_records import Counter, Memcg, Protection

_COUNTER = re.compile(
    r"^(memory\+swap|memory|swap|kmem): usage (\d{1,20})kB, limit (\d{1,20})kB"
    r"(?:, failcnt (\d{1,20})(\+)?)?"
)
_TASK_IN = re.compile(r"^Task in (.+?) killed as a result of limit of (.+)$")
_LIMIT_OF = re.compile(r"^Memory limit reached of cgroup (.+)$")
_STATS = re.compile(
    r"Memory cgroup stats(?: for (?P<path>.+?))?: ?(?P<v1>(?:[a-z_]+:\d{1,20}[kK]?B?\s*)*)$"
)
_PROTECTION = re.compile(
    r"^Memory cgroup min protection (\d{1,20})kB -- low protection (\d{1,20})kB"
)
_V1 = re.compile(r"([a-z_]+):(\d{1,20})(KB|kB)?")
_V2 = re.compile(r"^(?:[a-z][a-z0-9_]* \d{1,20}(?: |$))+$")
_V2_PAIR = re.compile(r"([a-z][a-z0-9_]*) (\d{1,20})")

_BEGINNINGS = ("Task in ", "Memory limit reached ", "Memory cgroup min ")
_MAX_STATS = 1000
_UNLIMITED_KB = 1 << 52
"""Limits from 2**62 bytes on are the counters' maximum: ``unlimited`` as printed by every version
and page size (9007199254740988kB, 18014398509481983kB, PAGE_COUNTER_MAX)."""


class MemcgPart:
    """Collects the lines of one report's memory cgroup part."""

    def __init__(self) -> None:
        self._counters: dict[str, Counter] = {}
        self._path: str | None = None
        self._task_path: str | None = None
        self._stats: dict[str, dict[str, int]] = {}
        self._open: dict[str, int] | None = None
        self.protection: Protection | None = None

    @property
    def empty(self) -> bool:
        """Nothing was read yet."""
        return not (self._counters or self._path or self._stats)

    def restarts(self, text: str) -> bool:
        """Whether a line ``memory: usage`` is another report's: other numbers than were read."""
        known, match = self._counters.get("memory"), _COUNTER.match(text)
        return known is not None and match is not None and _counter(match) != known

    @property
    def in_stats(self) -> bool:
        """Lines of ``name value`` belong to the statistics."""
        return self._open is not None

    @property
    def counted(self) -> bool:
        """More than one of its counters was read: nothing else prints them together."""
        return len(self._counters) > 1

    @property
    def counted_paths(self) -> frozenset[str]:
        """The cgroups whose statistics it has, by name: nothing else prints those."""
        return frozenset(path for path, values in self._stats.items() if path and values)

    @property
    def paths(self) -> frozenset[str]:
        """The cgroups that it names: the one at its limit, and those with statistics."""
        return self.counted_paths.union([self._path] if self._path else [])

    @property
    def path(self) -> str | None:
        """The cgroup that hit its limit."""
        return self._path

    def parse_line(self, text: str) -> bool:
        """Take one line; false if it is none of this part."""
        if self._open is not None and len(self._open) < _MAX_STATS and _V2.match(text):
            for name, value in _V2_PAIR.findall(text):
                self._open.setdefault(name, int(value))
            return True
        if ": usage " in text and (match := _COUNTER.match(text)) is not None:
            self._counters.setdefault(match[1], _counter(match))
            return True
        if not text.startswith(_BEGINNINGS) and "Memory cgroup stats" not in text:
            return False
        match = _TASK_IN.match(text)
        if match is not None:
            self._task_path, self._path = match[1], match[2].strip()
            return True
        match = _LIMIT_OF.match(text)
        if match is not None:
            self._path = match[1].strip()
            return True
        match = _PROTECTION.match(text)
        if match is not None:
            self.protection = Protection(min_kb=int(match[1]), low_kb=int(match[2]))
            return True
        match = _STATS.search(text)
        if match is not None:
            path = match["path"] or ""
            if len(self._stats) >= _MAX_STATS:
                return True
            self._open = self._stats.setdefault(path, {})
            for name, value, unit in _V1.findall(match["v1"]):
                self._open.setdefault(name, int(value) * (1024 if unit else 1))
            return True
        return False

    def build(self, summary_memcg: str | None, task_memcg: str | None) -> Memcg | None:
        """Return the record; None if nothing was read. The summary line's paths complete it."""
        if self.empty:
            return None
        path = self._path or summary_memcg
        if path is None and self._stats:
            first, *below = self._stats
            # The cgroup at its limit comes first, then those below it.
            if all(other.startswith(f"{first.rstrip('/')}/") for other in below):
                path = first or None
        return Memcg(
            path=path,
            task_path=self._task_path or task_memcg,
            memory=self._counters.get("memory"),
            memsw=self._counters.get("memory+swap"),
            swap=self._counters.get("swap"),
            kmem=self._counters.get("kmem"),
            stats=self._stats,
        )


def _counter(match: re.Match[str]) -> Counter:
    limit = int(match[3])
    return Counter(
        usage_kb=int(match[2]),
        limit_kb=None if limit >= _UNLIMITED_KB else limit,
        failcnt=int(match[4]) if match[4] else None,
        failcnt_cut=match[5] is not None,
    )
