"""The machine's memory in a report: ``Mem-Info``, nodes, zones, free blocks, swap, slab."""

from collections.abc import Sequence

from oomkit.kernel.versions import LAST_KNOWN
from oomkit.klog.lines import expressions as re
from oomkit.klog.memory_records import HugePages, Memory, NodeCounters, Slab, Zone
from oomkit.klog.records import Killed, TaskRow

START = re.compile(r"Mem-[Ii]nfo:")
_NODE = re.compile(r"^Node (\d{1,10}) active_anon:\d+kB")
_ZONE = re.compile(r"^(?:Node (\d{1,10}) )?([A-Z]\w{1,9}) free:(\d+)kB\s")
# Possessive, and never from the middle of a word: a word that is no name is tried once.
_KB = re.compile(r"(?<![a-z_])([a-z_]++(?:\((?:anon|file)\))?+): ?(\d{1,20}+)[kK]B")
_KB_HIGHATOMIC = "kB free_highatomic:"
"""Before 7.3 the kernel printed ``KB`` here."""
# The same behind a blank each, as most kernels print them: found several times as fast.
_KB_BEHIND_BLANK = re.compile(r" ([a-z_]++(?:\((?:anon|file)\))?+): ?(\d{1,20}+)kB")
_PAGES_BEHIND_BLANK = re.compile(r" ([A-Za-z_]+):(\d{1,20})(?=\s|$)")
_BLOCK_BEHIND_BLANK = re.compile(r" (\d{1,10})\*(\d{1,10})kB")
_UNRECLAIMABLE = re.compile(r"all_unreclaimable\? (yes|no)")
_PAGES = re.compile(r"([A-Za-z_]+):(\d{1,20})(?=\s|$)")
_COUNTERS = re.compile(
    r"^(?:[Aa]ctive(?:_anon|_file)?|inactive_file|unevictable|dirty|slab_reclaimable|slab|mapped"
    r"|sec_pagetables|kernel_misc_reclaimable|free|free_cma|free_pcp|bounce|workingset\w*|pagetables"
    r"|isolated_\w+|all_unrec\w*|shmem|zspages|nr_\w+):\d+(?=\s|$)"
)
_BLOCKS = re.compile(r"^(?:Node (\d{1,10}) )?([A-Z]\w{1,9}): (?=\d{1,10}\*\d{1,10}kB)")
_BLOCK = re.compile(r"(?<!\d)(\d{1,10})\*(\d{1,10})kB")
_RESERVE = re.compile(r"^(?:lowmem_reserve|protections?)\[\]:((?: \d{1,20}(?!\d))+)")
_HUGE = re.compile(
    r"^Node (\d{1,10}) hugepages_total=(\d{1,20}) hugepages_free=(\d{1,20})"
    r" hugepages_surp=(\d{1,20}) hugepages_size=(\d{1,20})kB"
)
_TOTALS = re.compile(
    r"^(?:(?P<pages>\d{1,20}) (?P<what>total pagecache pages|pages in swap cache|pages (?:of )?RAM"
    r"|pages (?:of )?High[Mm]em\S*|pages (?:of )?HIGHMEM|pages reserved|reserved pages"
    r"|pages (?:in )?cma reserved|pages hwpoisoned|pages swap cached|swap cached pages)$"
    r"|(?P<swap>Free swap|Total swap)\s*[=:]\s*(?P<kb>\d{1,20})kB)"
)
_TOTAL_FIELDS = {
    "total pagecache pages": "pagecache_pages",
    "pages in swap cache": "swapcache_pages",
    "pages swap cached": "swapcache_pages",
    "swap cached pages": "swapcache_pages",
    "pages RAM": "ram_pages",
    "pages of RAM": "ram_pages",
    "pages reserved": "reserved_pages",
    "reserved pages": "reserved_pages",
    "pages cma reserved": "cma_pages",
    "pages in cma reserved": "cma_pages",
    "pages hwpoisoned": "hwpoisoned_pages",
    "Free swap": "free_swap_kb",
    "Total swap": "total_swap_kb",
}
_NEGATIVE = (1 << 31) - 1
"""A larger number of pages may be one below zero, printed without its sign."""
_SLAB_HEAD = re.compile(r"^Name\s+Used\s+Total$")
_SLAB = re.compile(r"^(\S.{0,60}?)\s+(\d{1,20})KB\s+(\d{1,20})KB$")
_OTHER = re.compile(
    r"(?:Swap cache stats|Swap cache): |CPU\s+\d+:.* usd:|Unreclaimable slab"
    r"|\d+ (?:pages|free pages|slab pages|pages shared|pages non-shared)|Free pages: "
)
_PER_CPU = re.compile(r"per-cpu:(?: empty)?$|cpu \d+ (?:hot|cold):")

_MAX_ITEMS = 10_000

MEMORY_EXPRESSION = (
    r"(?P<memory>(?:(?:Node \d+ )?[A-Z]\w{1,9}(?: free:\d+kB [\w:() ]+(?:\? (?:yes|no)|[kK]B)"
    r"|: \d+\*\d+kB [\w*() ]+= \d+kB)"
    r"|Node \d+ active_anon:\d+kB [\w:() ]+(?:\? (?:yes|no)|[kK]B)"
    r"|(?:active_(?:anon|file)|unevictable|slab_reclaimable|mapped|free):\d+(?: [a-z_]+:\d+)+"
    r"|lowmem_reserve\[\]:[ \d]+|Node \d+ hugepages_total=[\w= ]+kB"
    r"|\d+ (?:total pagecache pages|pages (?:in swap cache|RAM|reserved|HighMem/MovableOnly"
    r"|cma reserved|hwpoisoned))|Swap cache stats: [\w ,/]+|(?:Free|Total) swap +[=:] *\d+kB))\s*"
)
"""A regular expression for whole lines of the memory part, as most kernels print them."""


class MemoryPart:
    """Collects the lines of one report's memory part."""

    def __init__(self) -> None:
        self._counters: dict[str, int] = {}
        self._nodes: dict[int, dict[str, int]] = {}
        self._zones: dict[tuple[int, str], dict[str, int]] = {}
        self._unreclaimable: dict[tuple[int, str] | int, bool] = {}
        self._reserve: dict[tuple[int, str], tuple[int, ...]] = {}
        self._blocks: dict[tuple[int, str], tuple[int, ...]] = {}
        self._huge: list[HugePages] = []
        self._slabs: list[Slab] = []
        self._totals: dict[str, int] = {}
        self._page_kb: int | None = None
        self._last_zone: tuple[int, str] | None = None
        self._last_owner: dict[str, int] | None = None
        self._last_key: tuple[int, str] | int | None = None
        self._in_slab = False
        self.versions: tuple[str, str] | None = None
        self.begun = False

    @property
    def empty(self) -> bool:
        """Nothing was read yet."""
        return not (self._counters or self._zones or self._nodes or self._totals or self._blocks)

    def parse_line(self, text: str) -> bool:
        """Take one line; false if it is none of this part."""
        if self._in_slab:
            slab = _SLAB.match(text)
            if slab is not None and len(self._slabs) < _MAX_ITEMS:
                self._slabs.append(Slab(name=slab[1], used_kb=int(slab[2]), total_kb=int(slab[3])))
                return True
        if "Mem-" in text and START.search(text):
            self.begun = True
            return True
        if len(self._zones) + len(self._huge) + len(self._counters) > _MAX_ITEMS:
            return False
        first = text[:1]
        if first.islower():
            return self._feed_counters(text) or self._feed_rest(text)
        if first.isdecimal():
            return self._feed_totals(text) or self._feed_rest(text)
        return (
            self._feed_totals(text)
            or self._feed_zone(text)
            or self._feed_counters(text)
            or self._feed_rest(text)
        )

    def _feed_totals(self, text: str) -> bool:
        match = _TOTALS.match(text)
        if match is None:
            return False
        if match["swap"]:
            self._totals.setdefault(_TOTAL_FIELDS[match["swap"]], int(match["kb"]))
        else:
            what = match["what"]
            field = "highmem_pages" if "igh" in what or "HIGH" in what else _TOTAL_FIELDS[what]
            self._totals.setdefault(field, int(match["pages"]))
        return True

    def _feed_zone(self, text: str) -> bool:
        match = _ZONE.match(text) if " free:" in text else None
        if match is not None:
            key = (int(match[1] or 0), match[2])
            self._last_zone = self._last_key = key
            self._last_owner = self._zones.setdefault(key, {})
            self._take_kb(text)
            if _KB_HIGHATOMIC in text:
                self.versions = ("7.3", LAST_KNOWN)
            return True
        match = _NODE.match(text) if " active_anon:" in text else None
        if match is not None:
            self._last_key = int(match[1])
            self._last_owner = self._nodes.setdefault(int(match[1]), {})
            self._take_kb(text)
            if self.versions is None and " gpu_active:" in text:
                self.versions = ("7.1", LAST_KNOWN)
            return True
        match = _BLOCKS.match(text) if "*" in text else None
        if match is None:
            return False
        blocks = _found_all(text, "*", _BLOCK_BEHIND_BLANK) or _BLOCK.findall(text)
        if self._page_kb is None:
            self._page_kb = int(blocks[0][1])
        key = (int(match[1] or 0), match[2])
        self._blocks[key] = tuple(int(count) for count, _ in blocks)
        return True

    def _take_kb(self, text: str) -> None:
        owner = self._last_owner
        assert owner is not None
        for name, value in _found_all(text, "kB", _KB_BEHIND_BLANK) or _KB.findall(text):
            if name not in owner:
                owner[name] = int(value)
        flag = _UNRECLAIMABLE.search(text) if "all_unreclaimable? " in text else None
        if flag is not None and self._last_key is not None:
            self._unreclaimable[self._last_key] = flag[1] == "yes"

    def _feed_counters(self, text: str) -> bool:
        if _COUNTERS.match(text):
            for name, value in _found_all(text, ":", _PAGES_BEHIND_BLANK) or _PAGES.findall(text):
                self._counters.setdefault(name.lower(), int(value))
            return True
        if self._last_owner is not None and "B" in text and _KB.match(text):
            self._take_kb(text)
            return True
        return False

    def _feed_rest(self, text: str) -> bool:
        match = _RESERVE.match(text) if "[]:" in text else None
        if match is not None:
            if self._last_zone is not None:
                self._reserve.setdefault(self._last_zone, tuple(map(int, match[1].split())))
            return True
        match = _HUGE.match(text) if "hugepages" in text else None
        if match is not None:
            node, total, free, surplus, size = map(int, match.groups())
            self._huge.append(
                HugePages(node=node, size_kb=size, total=total, free=free, surplus=surplus)
            )
            return True
        if _SLAB_HEAD.match(text):
            self._in_slab = True
            return True
        return bool(_OTHER.match(text) or ("cpu" in text and _PER_CPU.search(text)))

    def build(self) -> Memory | None:
        """Return the record; None if nothing was read."""
        if self.empty:
            return None
        keys = list(dict.fromkeys([*self._zones, *self._blocks]))
        totals = self._totals
        if totals.get("reserved_pages", 0) > max(totals.get("ram_pages", 0), _NEGATIVE):
            # Drivers that released reserved memory made a counter of 32 bits wrap.
            totals = {name: n for name, n in totals.items() if name != "reserved_pages"}
        return Memory(
            page_kb=self._page_kb,
            counters_pages=self._counters,
            nodes=tuple(
                NodeCounters(
                    node=node, counters_kb=kb, all_unreclaimable=self._unreclaimable.get(node)
                )
                for node, kb in self._nodes.items()
            ),
            zones=tuple(map(self._zone, keys)),
            hugepages=tuple(self._huge),
            unreclaimable_slab=tuple(self._slabs),
            **totals,
        )

    def _zone(self, key: tuple[int, str]) -> Zone:
        kb = self._zones.get(key, {})
        return Zone(
            node=key[0],
            name=key[1],
            free_kb=kb.get("free"),
            min_kb=kb.get("min"),
            low_kb=kb.get("low"),
            high_kb=kb.get("high"),
            present_kb=kb.get("present"),
            managed_kb=kb.get("managed"),
            counters_kb=kb,
            all_unreclaimable=self._unreclaimable.get(key),
            lowmem_reserve_pages=self._reserve.get(key, ()),
            free_blocks=self._blocks.get(key, ()),
        )


def _found_all(text: str, sign: str, behind_blank: re.Pattern[str]) -> list[tuple[str, str]]:
    """What stands behind blanks; nothing where ``sign``, which each has once, stands elsewhere."""
    found: list[tuple[str, str]] = behind_blank.findall(f" {text}")
    return found if len(found) == text.count(sign) and "KB" not in text else []


def page_kb(memory: Memory | None, killed: Sequence[Killed], tasks: Sequence[TaskRow]) -> int:
    """Size of a page: as printed, else from the victim's size in both units, else 4."""
    if memory is not None and memory.page_kb:
        return memory.page_kb
    for victim in killed:
        for row in tasks:
            if victim.pid in (row.pid, row.tgid) and victim.total_vm_kb and row.total_vm_pages:
                size = victim.total_vm_kb // row.total_vm_pages
                if size in (4, 8, 16, 32, 64):
                    return size
    return 4
