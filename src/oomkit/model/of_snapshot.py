"""A scenario of a machine as a snapshot shows it: the same memory, in the same hands."""

from oomkit.kernel.rules import RuleSet
from oomkit.kernel.state import Memcg, Memory, Snapshot, Sysctl, Task
from oomkit.kernel.watermarks import Watermarks, watermarks_for
from oomkit.model.boot import ROOTFS_PAGES
from oomkit.model.snapshot_tasks import SMALL_PAGES, Entries, Entry, task_of, unused
from oomkit.model.tasks import PAGE
from oomkit.records import Record, field_names, replace
from oomkit.render.quantities import human_pages
from oomkit.scenario import format as scenario
from oomkit.scenario.knobs import RANGES

_NOT_AGAIN = 2**50
"""A limit as good as none."""
_FORBIDDEN_IN_PATHS = " =[]\"'"


class Made(Record, frozen=True, kw_only=True):
    """A scenario, and what has to be known about it.

    Attributes:
        scenario: the machine and its tasks, which hold what they have for ever.
        ready_s: from then on memory is in use as in the snapshot.
        notes: what is unknown or was left out, one sentence each.
    """

    scenario: scenario.Scenario
    ready_s: int
    notes: tuple[str, ...]


def scenario_of(snapshot: Snapshot, rules: RuleSet, *, name: str, cpus: int | None = None) -> Made:
    """Make a scenario that ends up as the snapshot is, and then stays so.

    Args:
        snapshot: the machine.
        rules: its kernel's rules.
        name: what to call it.
        cpus: number of CPUs, which a snapshot does not hold; None: not known.

    Raises:
        ValueError: it holds no process that could be played.
    """
    return _Maker(snapshot, rules).made(name, cpus)


class _Maker:
    def __init__(self, snapshot: Snapshot, rules: RuleSet) -> None:
        self.snapshot = snapshot
        self.rules = rules
        self.scale = snapshot.page_size / PAGE
        self.notes: list[str] = []
        self.paths: dict[str, str] = {}
        self.memory = _in_pages_of_4k(snapshot.memory, self.scale)

    def pages(self, pages: int) -> int:
        return int(pages * self.scale)

    def made(self, name: str, cpus: int | None) -> Made:
        tasks = [
            task for task in self.snapshot.tasks
            if task.has_mm and not task.kthread and not task.global_init
        ]  # fmt: skip
        if not tasks:
            raise ValueError("it shows no process besides init, so there is nothing to play")
        self.cgroup_names(tasks)
        made = Entries(self.snapshot, self.rules, self.paths, self.notes)
        roots, entries = made.of(tasks)
        made.share_out(entries, self.memory.shmem_pages)
        cgroups = self.cgroups()
        swapped, lifted = self.send_to_swap(entries)
        kernel = self.fit(entries)
        ready_s = self.ready_s(entries)
        self.remarks(cpus)
        played = scenario.Scenario(
            name=name,
            about=f"a machine as it was {self.snapshot.taken_at or 'found'}",
            duration_s=float(ready_s + 600),
            machine=scenario.Machine(
                ram_bytes=self.memory.total_ram_pages * PAGE,
                swap_bytes=self.memory.total_swap_pages * PAGE,
                cpus=cpus or 2,
                kernel=self.snapshot.kernel,
                reserved_bytes=0,
                kernel_bytes=kernel * PAGE,
                hz=min(max(self.snapshot.hz, 100), 1000),
            ),
            vm=_knobs(self.snapshot.sysctl),
            tasks=tuple(map(task_of, roots)),
            cgroups=(*cgroups, *swapped),
            at=(scenario.At(t_s=float(ready_s), cgroups=lifted),) if lifted else (),
        )
        return Made(scenario=played, ready_s=ready_s, notes=tuple(self.notes))

    def cgroup_names(self, tasks: list[Task]) -> None:
        wanted = [memcg.path for memcg in self.snapshot.memcgs] + [task.cgroup for task in tasks]
        taken: set[str] = set()
        for path in dict.fromkeys(wanted):
            plain = "".join(
                c if c.isprintable() and c not in _FORBIDDEN_IN_PATHS else "_" for c in path
            ).strip("/")
            parts = [part for part in plain.split("/") if part not in ("", ".", "..")]
            if not parts:
                continue
            name = unused("/".join(parts), taken)
            taken.add(name)
            self.paths[path] = name

    def cgroups(self) -> list[scenario.Cgroup]:
        known = {memcg.path: memcg for memcg in self.snapshot.memcgs}
        version = self.snapshot.memcgs[0].version if self.snapshot.memcgs else 2
        return [
            self.cgroup(name, known.get(path) or Memcg(path=path, version=version))
            for path, name in self.paths.items()
        ]

    def cgroup(self, name: str, memcg: Memcg) -> scenario.Cgroup:
        def size(pages: int | None) -> int | None:
            return None if pages is None else min(pages * self.snapshot.page_size, 2**50)

        return scenario.Cgroup(
            name=name,
            version=memcg.version,
            max_bytes=size(memcg.limit_pages),
            high_bytes=size(memcg.high_pages),
            swap_max_bytes=size(memcg.swap_max_pages),
            memsw_bytes=size(memcg.memsw_limit_pages),
            swappiness=memcg.swappiness,
            oom_group=memcg.oom_group,
            oom_kill_disable=memcg.oom_kill_disable,
        )

    def send_to_swap(
        self, entries: list[Entry]
    ) -> tuple[list[scenario.Cgroup], dict[str, dict[str, object]]]:
        """Have what was in swap go there, by limits that hold until the machine is ready."""
        groups: list[scenario.Cgroup] = []
        lifted: dict[str, dict[str, object]] = {}
        version = self.snapshot.memcgs[0].version if self.snapshot.memcgs else 2
        if not self.snapshot.sysctl.swappiness and any(entry.swap for entry in entries):
            self.notes.append("with swappiness 0 nothing goes to swap by itself: it starts empty")
            return groups, lifted
        for entry in entries:
            if entry.swap < SMALL_PAGES or not self.memory.total_swap_pages:
                entry.anon += entry.swap
                entry.swap = 0
                continue
            parent = f"{entry.cgroup}/" if entry.cgroup else ""
            name = unused(f"{parent}{entry.name}-swapped", set(self.paths.values()))
            limit = (entry.anon + entry.share + entry.program) * entry.count
            groups.append(
                scenario.Cgroup(name=name, version=version, max_bytes=max(limit, 64) * PAGE)
            )
            lifted[name] = {"max_bytes": _NOT_AGAIN}
            entry.cgroup = name
        if groups:
            self.notes.append(
                "cgroups that end in -swapped are not the machine's: their limits send to swap "
                "what was there, and are lifted then"
            )
        return groups, lifted

    def fit(self, entries: list[Entry]) -> int:
        """Hand out the page cache; returns the kernel memory that leaves MemAvailable the same."""
        memory, held = self.memory, self.watermarks()
        reserve = held.totalreserve_pages
        if self.rules.mem_available == "low_watermarks":
            reserve = held.low_pages
        available = memory.available_pages
        if available is None:
            available = memory.free_pages + max(memory.file_pages - memory.shmem_pages, 0)
        mapped = sum(entry.program for entry in entries)
        cache = max(memory.file_pages - memory.shmem_pages - mapped, 0)

        def free(file: int) -> float:
            return available + reserve - file + min(file / 2, held.low_pages)

        while cache > 0 and free(mapped + cache) < held.high_pages * 1.1:
            cache -= min(max(int(held.high_pages * 1.1 - free(mapped + cache)), 1), cache)
        self.hand_out(entries, cache)
        file = sum(entry.program for entry in entries)
        file += sum(pages for entry in entries for pages, _ in entry.reads)
        rootfs = min(ROOTFS_PAGES, memory.total_ram_pages // 64)
        used = sum(entry.resident() for entry in entries) + file + rootfs
        kernel = int(memory.total_ram_pages - used - free(file))
        if kernel < 0:
            self.notes.append(
                f"its processes hold more than its memory counters say, so "
                f"{human_pages(-kernel, PAGE)} less are available than on the machine"
            )
        return max(kernel, 0)

    def hand_out(self, entries: list[Entry], cache: int) -> None:
        """Page cache that no process maps: what limited cgroups are charged for, then the rest."""
        singles = [entry for entry in entries if entry.count == 1]
        limited = [m for m in self.snapshot.memcgs if m.limit_pages is not None and m.path != "/"]
        deepest_first = sorted(limited, key=lambda m: -m.path.count("/"))
        for number, memcg in enumerate(deepest_first, start=1):
            inside = [e for e in entries if _is_in(e.like.cgroup, memcg.path)]
            reader = next((e for e in inside if e in singles), None)
            charged = sum((e.anon + e.share) * e.count + e.program for e in inside)
            charged += sum(pages for e in inside for pages, _ in e.reads)
            rest = min(self.pages(memcg.usage_pages) - charged, cache)
            if reader is not None and rest > SMALL_PAGES:
                reader.reads.append((rest, f"page-cache-{number}"))
                cache -= rest
        free = [e for e in singles if not any(_is_in(e.like.cgroup, m.path) for m in limited)]
        if cache > SMALL_PAGES and free:
            free[0].reads.append((cache, "page-cache"))

    def watermarks(self) -> Watermarks:
        sysctl = self.snapshot.sysctl
        return watermarks_for(
            self.memory.total_ram_pages,
            self.rules,
            min_free_kbytes=sysctl.min_free_kbytes,
            scale_factor=sysctl.watermark_scale_factor,
            thp=False,
        )

    def ready_s(self, entries: list[Entry]) -> int:
        """When everything is where it was, with some time to spare."""
        disk = sum(entry.program + entry.swap * entry.count for entry in entries)
        disk += sum(pages for entry in entries for pages, _ in entry.reads)
        touched = sum(entry.count * (entry.anon + entry.swap + entry.share) for entry in entries)
        return int(10 + 2 * disk * PAGE / (100 * 2**20) + 2 * touched * PAGE / 2**30)

    def remarks(self, cpus: int | None) -> None:
        memory = self.snapshot.memory
        swapped = sum(task.swap_pages for task in self.snapshot.tasks)
        ownerless = memory.total_swap_pages - memory.free_swap_pages - swapped
        if ownerless > memory.total_swap_pages // 100:
            size = human_pages(ownerless, self.snapshot.page_size)
            self.notes.append(
                f"{size} in swap belong to no process (tmpfs, or what was read back): that much "
                "more swap is free"
            )
        if cpus is None:
            self.notes.append("a snapshot does not say how many CPUs there are; 2 are taken")
        self.notes.append(
            "not in a snapshot: the disk's speed, growth, what is in constant use, CPU load"
        )
        if self.rules.badness == "classic":
            self.notes.append(
                "CPU times, ages and address spaces, which this kernel's badness counts, start "
                "again: its choice may differ"
            )
        if self.snapshot.sysctl.overcommit_memory == 2:
            self.notes.append("memory that is promised and not used is not in it (Committed_AS)")
        if self.rules.children == "none" and any(task.ppid > 1 for task in self.snapshot.tasks):
            self.notes.append("which process forked which is left out: this kernel does not ask")


def _is_in(cgroup: str, path: str) -> bool:
    return cgroup == path or cgroup.startswith(path + "/")


def _knobs(sysctl: Sysctl) -> dict[str, int]:
    usual = Sysctl()
    values = {
        name: getattr(sysctl, name)
        for name in field_names(sysctl)
        if name in RANGES and getattr(sysctl, name) != getattr(usual, name)
    }
    if sysctl.overcommit_kbytes:
        values.pop("overcommit_ratio", None)
    return {
        name: min(max(value, RANGES[name][0]), RANGES[name][1]) for name, value in values.items()
    }


def _in_pages_of_4k(memory: Memory, scale: float) -> Memory:
    fields = {
        name: int(value * scale)
        for name in field_names(memory)
        if isinstance(value := getattr(memory, name), int)
    }
    return replace(memory, **fields)
