"""The kernels' rules: their history as a table, and one rule set in words."""

from collections.abc import Iterator, Sequence

from oomkit.kernel.rules import RuleSet
from oomkit.kernel.versions import RuleRange
from oomkit.printable import printable
from oomkit.render.document import Document, Table, Text
from oomkit.render.layout import Column, Terminal
from oomkit.render.terminal import has_room

_ROOT_BONUS = {
    "30_points": "a process with CAP_SYS_ADMIN has 30 thousandths less",
    "30_adj": "a process with CAP_SYS_ADMIN counts as if its oom_score_adj were 30 lower",
    "3_percent": "a process with CAP_SYS_ADMIN has 3 % less",
}
_PGTABLES = {
    "none": "",
    "ptes": " + lowest-level page tables",
    "ptes_pmds": " + page tables of the two lowest levels",
    "all": " + page tables",
}
_OOM_SCORE = {
    ("classic", "badness"): "badness itself, from 0 on, without an upper end",
    ("permille", "badness"): "0 to 1000: badness itself",
    ("pages", "per_1000"): "0 and up, 1000 for all of RAM and swap; a raised oom_score_adj can go "
    "beyond",
    ("pages", "two_thirds"): "0 to 2000: two thirds of 1000 for a process without memory and "
    "adjustment (about 666), 0 for one that is never killed",
}
_TOTALS = {
    "none": "its limit",
    "unit_bug": "its limit and all swap, added in different units by mistake",
    "bytes": "its limit and all swap, at most its limit of both",
    "bytes_swappiness": "its limit and, unless its swappiness is 0, all swap, at most its limit of "
    "both",
    "swappiness": "its limit and, unless its swappiness is 0, all swap, at most its limit of both",
    "swap_max": "its limit and the swap that memory.swap.max and the machine have, unless "
    "swappiness is 0",
    "v1_gap": "its limit and the swap that its own limits and the machine have, unless swappiness "
    "is 0",
}


def rules_in_words(rules: RuleSet) -> Iterator[tuple[str, str]]:
    """Yield heading and sentence for each rule that decides which process is killed."""
    yield "badness", _badness(rules)
    yield "units", _units(rules)
    if rules.badness != "classic":
        yield (
            "measured against",
            (
                "all RAM and swap; when a memory cgroup runs out, "
                f"{_TOTALS[rules.memcg_total]}; when NUMA nodes do, their memory and all swap"
            ),
        )
    yield "adjustment", _adjustment(rules)
    yield "oom_score", _OOM_SCORE.get((rules.badness, rules.oom_score), "badness itself")
    yield "protected", _protected(rules)
    yield (
        "of equals",
        {
            "first": "the one created first is killed",
            "last": "the one created last is killed",
            "last_not_memcg": "the one created last is killed; in a memory cgroup the first",
        }[rules.ties],
    )
    yield "victim", _victim(rules)
    yield "dies with it", _killed_along(rules)
    yield "no victim", _no_victim(rules)
    yield "knobs", _knobs(rules)
    if rules.oom_reaper:
        late = f" {rules.oom_reaper_delay_s} s after the kill" if rules.oom_reaper_delay_s else ""
        yield (
            "oom_reaper",
            f"a kernel thread frees the victim's memory{late}, even if the victim can't exit",
        )
    else:
        yield "oom_reaper", "there is none: memory is freed when the victim itself gets to exit"


def _badness(rules: RuleSet) -> str:
    if rules.badness != "classic":
        text = f"resident memory + swap{_PGTABLES[rules.pgtables]}, moved by oom_score_adj"
        bonus = _ROOT_BONUS.get(rules.root_bonus)
        return f"{text}; {bonus}" if bonus else text
    basis = "size of the address space (not what is in memory)"
    if rules.classic_basis != "total_vm":
        basis = "resident memory + swap + page tables + locked memory"
    parts = [basis]
    if rules.children_term == "half":
        parts.append("half of each child's")
    elif rules.children_term == "full":
        parts.append("all of each child's")
    lowered = "divided by the root of the CPU time and the fourth root of the age"
    privileged = "CAP_SYS_RESOURCE" if rules.privilege == "admin_or_resource" else "uid 0"
    return (
        f"{' + '.join(parts)}, {lowered}; doubled for nice above 0, a quarter for CAP_SYS_ADMIN or "
        f"{privileged}, another quarter for CAP_SYS_RAWIO"
    )


_COUNTERS = {
    "exact": "resident memory and swap are counted exactly",
    "per_thread": "the counts of resident memory and swap lag by up to 65 page faults a thread",
    "per_cpu": "the counts of resident memory and swap lag by less than max(32, 2 x CPUs) pages "
    "a CPU and counter",
    "summed": "resident memory and swap are exact sums of what each CPU counts, unlike those in "
    "/proc/PID/stat",
}


def _units(rules: RuleSet) -> str:
    if rules.badness == "classic":
        return "points without a unit, rounded down at each step; what oomkit computes is exact"
    if rules.badness == "permille":
        text = "thousandths of what it is measured against, rounded down: processes that differ by "
        text += "less are equal"
        if rules.arithmetic == "s32":
            text += "; computed in 32 bits, so that it is wrong above 8 GiB"
        return text
    return f"pages; {_COUNTERS[rules.rss_counters]}"


def _adjustment(rules: RuleSet) -> str:
    if rules.badness == "classic":
        return "oom_adj, -17 to 15: each step doubles or halves badness"
    step = "one thousandth of what it is measured against"
    floor = {
        "0..1000": "badness stays within 1 to 1000",
        "min_1": "badness does not go below 1",
        "signed": "badness may be negative",
    }.get(rules.result, "")
    text = f"oom_score_adj, -1000 to 1000: each step adds or takes {step}"
    if floor:
        text += f"; {floor}"
    return text + ("; oom_adj follows" if rules.adj_files == "both" else "")


def _protected(rules: RuleSet) -> str:
    parts = ["init and kernel threads"]
    if rules.badness != "classic":
        protected = "oom_score_adj -1000"
        if rules.disable_scope == "mm":
            protected += ", and those that share memory with one of them"
        parts.append(f"processes at {protected}")
    elif rules.oom_disable:
        parts.append("processes at oom_adj -17")
    if rules.vfork_unkillable:
        parts.append("vfork children that borrow their parent's memory")
    if rules.reaped_unkillable:
        parts.append("victims whose memory was already freed")
    text = f"never chosen: {', '.join(parts)}"
    if rules.badness == "classic" and not rules.oom_disable:
        text += "; oom_adj -17 only shifts badness"
    return text


def _victim(rules: RuleSet) -> str:
    chosen = "the process with the highest badness"
    match rules.children:
        case "first":
            return f"a child of {chosen}, the first with memory of its own; else it itself"
        case "worst":
            return f"of {chosen} the worst child with memory of its own; without one it itself"
        case "worst_last":
            return f"of {chosen} the worst child, of equals the last; without one it itself"
        case "none":
            return f"{chosen} itself, no child in its place"


def _killed_along(rules: RuleSet) -> str:
    parts = []
    if rules.sharers == "spared":
        parts.append("no process that shares its memory")
    else:
        spared = ", save those at oom_score_adj -1000" if rules.sharers_spare_disabled else ""
        refused = "; none is killed if one of them is protected"
        refused = refused if rules.sharers == "refuse_if_disabled" else ""
        parts.append(f"all that share its memory{spared}{refused}")
    if rules.oom_group:
        parts.append("with memory.oom.group its whole cgroup, save those at -1000")
    else:
        parts.append("memory.oom.group is not known")
    return "; ".join(parts)


def _no_victim(rules: RuleSet) -> str:
    memcg = (
        "kills the allocating task"
        if rules.memcg_no_victim == "kill_current"
        else "kills no process"
    )
    return f"the machine panics; a memory cgroup's OOM {memcg}"


def _knobs(rules: RuleSet) -> str:
    parts = []
    if rules.panic_on_oom == "one":
        parts.append("panic_on_oom 1 panics when the machine runs out")
    elif rules.panic_on_oom == "two":
        cgroups = "a memory cgroup's OOM too" if rules.panic_memcg else "any OOM of the machine"
        parts.append(f"panic_on_oom 1 panics when the machine runs out, 2 in {cgroups}")
    if rules.allocating_task != "none":
        parts.append("oom_kill_allocating_task kills the allocating task")
    guess = {
        "two_step_no_reserve": "what could be reclaimed",
        "two_step": "what could be reclaimed",
        "free_reserve": "what could be reclaimed",
        "admin_reserve": "what could be reclaimed",
        "ram_swap": "all RAM and swap",
    }[rules.guess]
    parts.append(f"overcommit_memory 0 refuses a mapping larger than {guess}")
    return "; ".join(parts)


_MARGIN = 18


def kernels_table(rows: Sequence[RuleRange], terminal: Terminal) -> Table:
    """Rule sets: name, the versions they hold for, what changed, what it means."""
    texts = [_texts(row) for row in rows]
    names = [
        Column(heading="rules", cells=[row.rules.name for row in rows]),
        Column(heading="kernels", cells=[_range(row) for row in rows], words=True),
    ]
    beside = [
        Column(heading="what changed", cells=[what for what, _ in texts], words=True),
        Column(heading="what it means", cells=[meaning for _, meaning in texts], words=True),
    ]
    if has_room((*names, *beside), terminal):
        return Table(columns=(*names, *beside))
    cells = [": ".join(filter(None, text)) for text in texts]
    both = Column(heading="what changed: meaning", cells=cells, words=True)
    return Table(columns=[*names, both])


def rules_report(release: str, row: RuleRange) -> Document:
    """The rules a kernel follows: what is in force, and what brought them."""
    rules = row.rules
    heading = f"kernel {release.strip()} follows the rules of {rules.name}"
    page = Document(Text(printable(heading), "bold"))
    page.text(f"  in force in {_range(row)}")
    page.line()
    for heading, text in rules_in_words(rules):
        first = heading.ljust(_MARGIN)
        page.text(text, first=first, rest=" " * _MARGIN)
    page.line()
    what, meaning = _texts(row)
    page.text(what, first="new in them".ljust(_MARGIN), rest=" " * _MARGIN)
    if meaning:
        page.text(meaning, first="which means".ljust(_MARGIN), rest=" " * _MARGIN)
    return page


def _range(row: RuleRange) -> str:
    rules = row.rules
    if row.variant is not None or rules.until.removesuffix(" and later") == rules.since:
        return rules.until
    return f"{rules.since} to {rules.until}"


def _texts(row: RuleRange) -> tuple[str, str]:
    if row.variant is not None:
        return row.variant.what, row.variant.meaning
    what = "; ".join(change.what for change in row.changes)
    meaning = "; ".join(change.meaning for change in row.changes if change.meaning)
    return what, meaning


def bootable_lines(rows: Sequence[tuple[str, str, str | None]]) -> Iterator[str]:
    """Kernels that can be booted: release, image, directory of modules if it has any.

    Paths stand in lines of their own, whole, so that they can be copied.
    """
    for release, image, modules in rows:
        yield printable(release)
        yield f"  image    {printable(image)}"
        yield f"  modules  {printable(modules or 'none')}"
