"""The kernel's functions as rows of flow charts, for one rule set, in English and Chinese.

A row is a step, or a question whose "yes" leaves the function. Which rows there are follows from
the rule set alone, as the functions of :mod:`oomkit.kernel` follow it; ``said`` is what the trace
of a decision says where the row was taken.
"""

from collections.abc import Iterator

from oomkit.kernel.rules import RuleSet
from oomkit.records import Record, replace

Words = tuple[str, str]
"""English, Chinese."""


class Row(Record, frozen=True, kw_only=True):
    """A step or a question of a function.

    Attributes:
        text: what is done, or asked.
        leads: where "yes" leads; None: a step.
        said: part of the trace's line where the row was taken; empty: the row has none.
        passed: part of the line where a question is answered by no.
    """

    text: Words
    leads: Words | None = None
    said: str = ""
    passed: str = ""


def _ask(en: str, zh: str, to_en: str, to_zh: str, said: str) -> Row:
    return Row(text=(en, zh), leads=(to_en, to_zh), said=said)


def _do(en: str, zh: str, said: str = "") -> Row:
    return Row(text=(en, zh), said=said)


_NO_FS = ("no __GFP_FS?", "没有 __GFP_FS？")


def slowpath(rules: RuleSet) -> Iterator[Row]:
    """The last function of the allocator that can end a request before the OOM killer's gate."""
    yield _do("watermarks, kswapd, direct reclaim, compaction: no page",
              "水位、kswapd、直接回收、内存规整：没有得到页", ": no page")  # fmt: skip
    yield _ask("__GFP_NORETRY?", "__GFP_NORETRY？", "the request fails; no kill",
               "请求失败，不杀进程", "__GFP_NORETRY")  # fmt: skip
    if rules.fs_check == "slowpath":
        yield _ask(*_NO_FS, "no kill; small requests are tried again for ever",
                   "不杀进程；小的请求一直重试", "no __GFP_FS")  # fmt: skip
    if rules.retry != "any_progress":
        yield _ask("more than 8 contiguous pages (order above 3)?",
                   "超过 8 个连续页（order 大于 3）？", "the request fails; no kill",
                   "请求失败，不杀进程", "more than 3")  # fmt: skip
    if rules.disabled_check in ("none", "slowpath"):
        yield _ask("oom_killer_disabled?", "oom_killer_disabled？", "the request fails; no kill",
                   "请求失败，不杀进程", "oom_killer_disabled")  # fmt: skip


def may_oom(rules: RuleSet) -> Iterator[Row]:
    """The gate before ``out_of_memory()``."""
    no_kill = ("no kill", "不杀进程")
    if rules.disabled_check == "may_oom":
        yield _ask("oom_killer_disabled?", "oom_killer_disabled？", "the request fails; no kill",
                   "请求失败，不杀进程", "oom_killer_disabled")  # fmt: skip
    if rules.fs_check == "may_oom":
        yield _ask(*_NO_FS, "no kill; the request loops", "不杀进程，请求循环重试",
                   "no __GFP_FS")  # fmt: skip
    if rules.costly_order:
        yield _ask("order above 3?", "order 大于 3？", *no_kill, "is more than 3")
    if rules.low_zone:
        yield _ask("only zones below NORMAL will do?", "只能用 NORMAL 以下的 zone？", *no_kill,
                   "zones below NORMAL")  # fmt: skip
    if rules.thisnode:
        yield _ask("__GFP_THISNODE?", "__GFP_THISNODE？", *no_kill, "__GFP_THISNODE")
    if rules.coredump:
        yield _ask("the asker dumps core?", "请求者正在转储 core？", *no_kill, "dumping core")
    if rules.retry_mayfail:
        yield _ask("__GFP_RETRY_MAYFAIL?", "__GFP_RETRY_MAYFAIL？", "the request fails; no kill",
                   "请求失败，不杀进程", "__GFP_RETRY_MAYFAIL")  # fmt: skip
    if rules.nofail_overrides:
        yield _do("(__GFP_NOFAIL overrides all of these but the first)",
                  "（除第一项外，__GFP_NOFAIL 都可越过）")  # fmt: skip
    yield _do("once more, above the high watermark; then out_of_memory()",
              "再试一次，要求高于 high 水位；然后调用 out_of_memory()",
              "calls out_of_memory")  # fmt: skip


_PANIC = ("panic", "内核 panic")
_KILL_ASKER = ("the allocating task is killed", "杀死请求内存的进程")
_BACK = ("back, no kill", "返回，不杀进程")


def out_of_memory(rules: RuleSet) -> Iterator[Row]:
    """``out_of_memory()``, when the machine runs out."""
    if rules.badness != "classic":
        yield from _modern(rules)
        return
    if rules.panic_on_oom == "two":
        yield _ask("panic_on_oom is 2?", "panic_on_oom 为 2？", *_PANIC, "Compulsory panic_on_oom")
    if rules.dispatch == "overcommit":
        yield _ask("overcommit_memory is 2?", "overcommit_memory 为 2？", *_KILL_ASKER,
                   "overcommit_memory is 2")  # fmt: skip
        yield _ask("overcommit_memory is 0 and panic_on_oom set?",
                   "overcommit_memory 为 0 且设置了 panic_on_oom？", *_PANIC,
                   "panic_on_oom is selected")  # fmt: skip
        yield _do("on to __out_of_memory()", "进入 __out_of_memory()", "on to __out_of_memory")
        return
    if rules.constraint != "none":
        yield _do("constrained_alloc(): all of memory, a cpuset, or a memory policy?",
                  "constrained_alloc()：整机、cpuset 还是内存策略？", "CONSTRAINT_")  # fmt: skip
        if rules.on_mempolicy == "kill_current":
            yield _ask("a memory policy (MPOL_BIND)?", "受内存策略（MPOL_BIND）限制？",
                       *_KILL_ASKER, "MPOL_BIND")  # fmt: skip
        if rules.on_cpuset == "kill_current":
            yield _ask("a cpuset?", "受 cpuset 限制？", *_KILL_ASKER, "in cpuset")
    if rules.panic_on_oom != "none":
        yield _ask("panic_on_oom set?", "设置了 panic_on_oom？", *_PANIC,
                   "panic_on_oom is selected")  # fmt: skip
    if rules.pagefault == "__out_of_memory":
        yield _do("on to __out_of_memory()", "进入 __out_of_memory()")
        return
    yield from scan(rules)


def charge(rules: RuleSet) -> Iterator[Row]:
    """The last function of a memory cgroup's charge: what ends it before the OOM killer."""
    fails = ("the charge fails; no kill", "记账失败，不杀进程")
    if rules.memcg_reaped_charge:
        yield _ask("a victim asks whose memory was reaped?",
                   "内存已被回收的被杀进程来请求？", *fails, "whose memory was reaped")  # fmt: skip
    yield _ask("__GFP_NORETRY?", "__GFP_NORETRY？", *fails, "__GFP_NORETRY")
    if rules.memcg_costly_order:
        yield _ask("order above 3?", "order 大于 3？", *fails, "is more than 3")
    if rules.memcg_at_fault_end:
        yield _ask("not in a page fault of user space?", "不在用户空间的缺页中？",
                   "the charge fails with ENOMEM", "记账以 ENOMEM 失败",
                   "outside a page fault")  # fmt: skip
    yield _ask("memory.oom_control: oom_kill_disable?", "memory.oom_control：oom_kill_disable？",
               "the asker sleeps, or gets ENOMEM", "请求者睡眠，或得到 ENOMEM",
               "oom_kill_disable is set")  # fmt: skip
    if rules.memcg_at_fault_end:
        yield _do("the OOM is noted; the charge fails",
                  "记下 OOM，记账失败", "the kill is done as the page fault ends")  # fmt: skip


def confined(rules: RuleSet) -> Iterator[Row]:
    """``mem_cgroup_out_of_memory()``, or ``out_of_memory()`` for a memory cgroup."""
    if rules.badness == "classic":
        if rules.panic_memcg:
            yield _ask("panic_on_oom is 2?", "panic_on_oom 为 2？", *_PANIC,
                       "panic_on_oom is selected")  # fmt: skip
        yield from scan(rules, memcg=True)
        return
    yield from _before_constraint(rules)
    yield _do("totalpages: the cgroup's limit, and its swap",
              "totalpages：该 cgroup 的限额和它的 swap", "CONSTRAINT_")  # fmt: skip
    panic = _ask("panic_on_oom is 2?", "panic_on_oom 为 2？", *_PANIC, "panic_on_oom is enabled")
    yield replace(panic, passed="is confined: no panic")
    yield from scan(rules, memcg=True)


def scan(rules: RuleSet, *, memcg: bool = False) -> Iterator[Row]:
    """``__out_of_memory()``, or the end of ``out_of_memory()``: the scan and the kill."""
    if memcg:
        yield _do("select_bad_process(): badness of every task in the cgroup and below",
                  "select_bad_process()：计算该 cgroup 及其下每个进程的 badness",
                  "highest badness")  # fmt: skip
        if rules.dying != "openvz":
            yield _ask("a victim that is still dying?", "上一个被杀的进程还没退出？",
                       "wait for its memory", "等待它释放内存", "already dying")  # fmt: skip
        if rules.memcg_no_victim == "nothing":
            yield _ask("no task can be chosen?", "没有可杀的进程？", "the charge fails",
                       "记账失败", "no killable process")  # fmt: skip
        else:
            yield _ask("no task can be chosen?", "没有可杀的进程？", *_KILL_ASKER,
                       "the allocating task")  # fmt: skip
        yield _do("oom_kill_process()", "oom_kill_process()")
        return
    if rules.allocating_task != "none" and rules.badness == "classic":
        yield _ask("oom_kill_allocating_task set?", "设置了 oom_kill_allocating_task？",
                   *_KILL_ASKER, "oom_kill_allocating_task is set")  # fmt: skip
    yield _do("select_bad_process(): every task's badness; the highest is taken",
              "select_bad_process()：计算每个进程的 badness，取最高者",
              "highest badness")  # fmt: skip
    if rules.dying != "openvz":
        yield _ask("a victim that is still dying?", "上一个被杀的进程还没退出？",
                   "wait for its memory", "等待它释放内存", "already dying")  # fmt: skip
    yield _ask("no task can be chosen?", "没有可杀的进程？", *_PANIC, "no killable processes")
    yield _do("oom_kill_process()", "oom_kill_process()")


def _before_constraint(rules: RuleSet) -> Iterator[Row]:
    """What the modern ``out_of_memory()`` asks before it looks at what ran out."""
    if rules.disabled_check == "out_of_memory":
        yield _ask("oom_killer_disabled?", "oom_killer_disabled？", *_BACK, "oom_killer_disabled")
    if rules.dying_current != "none":
        yield _ask("the asker is dying itself?", "请求者自己正在退出？",
                   "it gets the reserves; no kill", "允许它动用保留内存，不杀进程",
                   "asks and is dying")  # fmt: skip
    if rules.fs_check == "out_of_memory":
        yield _ask(*_NO_FS, *_BACK, "no __GFP_FS")


def _modern(rules: RuleSet) -> Iterator[Row]:
    yield from _before_constraint(rules)
    yield _do("constrained_alloc(): what ran out, and totalpages",
              "constrained_alloc()：耗尽的是什么，totalpages 是多少", "CONSTRAINT_")  # fmt: skip
    yield _ask("panic_on_oom is 2, or 1 and the machine ran out?",
               "panic_on_oom 为 2，或为 1 且整机耗尽？", *_PANIC,
               "panic_on_oom is enabled")  # fmt: skip
    yield _ask("oom_kill_allocating_task set, and the asker can be killed?",
               "设置了 oom_kill_allocating_task，且请求者可杀？", *_KILL_ASKER,
               "set: the allocating task")  # fmt: skip
    yield from scan(rules)


_FLOORS = {
    "0..1000": ("kept within 1 to 1000", "限制在 1 到 1000"),
    "min_1": ("never below 1", "不低于 1"),
    "signed": ("may be negative", "可以为负"),
}
_BONUS = {
    "30_points": ("CAP_SYS_ADMIN: 30 thousandths less", "有 CAP_SYS_ADMIN：减千分之 30"),
    "30_adj": ("CAP_SYS_ADMIN: as if oom_score_adj were 30 lower",
               "有 CAP_SYS_ADMIN：相当于 oom_score_adj 低 30"),
    "3_percent": ("CAP_SYS_ADMIN: 3 % less", "有 CAP_SYS_ADMIN：减 3 %"),
}  # fmt: skip
_PGTABLES = {
    "none": ("resident memory + swap", "常驻内存 + swap"),
    "ptes": ("resident memory + swap + lowest-level page tables", "常驻内存 + swap + 最低一级页表"),
    "ptes_pmds": ("resident memory + swap + page tables of the two lowest levels",
                  "常驻内存 + swap + 最低两级页表"),
    "all": ("resident memory + swap + page tables", "常驻内存 + swap + 页表"),
}  # fmt: skip


def score(rules: RuleSet) -> Iterator[Row]:
    """``badness()`` or ``oom_badness()``, term by term."""
    if rules.badness == "classic":
        yield from _classic_score(rules)
        return
    scope = rules.disable_scope == "mm"
    yield _ask("init, a kernel thread, or oom_score_adj -1000"
               + (" (of any that shares its memory)" if scope else "") + "?",
               "init、内核线程，或 oom_score_adj 为 -1000"
               + ("（共享内存的任一进程）" if scope else "") + "？",
               "never chosen", "永不选中", "")  # fmt: skip
    yield Row(text=_PGTABLES[rules.pgtables])
    if rules.badness == "permille":
        yield _do("\u00d7 1000 / totalpages, rounded down", "\u00d7 1000 / totalpages，向下取整")
    if rules.root_bonus in _BONUS:
        yield Row(text=_BONUS[rules.root_bonus])
    if rules.badness == "permille":
        yield _do("+ oom_score_adj", "+ oom_score_adj")
    else:
        yield _do(
            "+ oom_score_adj \u00d7 (totalpages / 1000)",
            "+ oom_score_adj \u00d7 (totalpages / 1000)",
        )
    if rules.result in _FLOORS:
        yield Row(text=_FLOORS[rules.result])


def _classic_score(rules: RuleSet) -> Iterator[Row]:
    if rules.oom_disable:
        yield _ask("oom_adj -17?", "oom_adj 为 -17？", "never chosen", "永不选中", "")
    if rules.classic_basis == "total_vm":
        yield _do("size of the address space (total_vm)", "地址空间大小（total_vm）")
    else:
        yield _do("resident memory + swap + page tables + locked memory",
                  "常驻内存 + swap + 页表 + 锁定内存")  # fmt: skip
    if rules.children_term == "half":
        yield _do("+ half of each child with memory of its own", "+ 每个独立内存的子进程的一半")
    elif rules.children_term == "full":
        yield _do("+ all of each child with memory of its own", "+ 每个独立内存的子进程的全部")
    yield _do("\u00f7 \u221a(CPU time)", "\u00f7 \u221a(CPU 时间)")
    yield _do("\u00f7 \u2074\u221a(age)", "\u00f7 \u2074\u221a(运行时间)")
    yield _do("nice above 0: \u00d7 2", "nice 大于 0：\u00d7 2")
    second = "CAP_SYS_RESOURCE" if rules.privilege == "admin_or_resource" else "uid 0"
    yield _do(f"CAP_SYS_ADMIN or {second}: \u00f7 4", f"CAP_SYS_ADMIN 或 {second}：\u00f7 4")
    yield _do("CAP_SYS_RAWIO: \u00f7 4", "CAP_SYS_RAWIO：\u00f7 4")
    if rules.node_overlap == "eighth":
        yield _do("its cpuset does not overlap: \u00f7 8", "cpuset 不重叠：\u00f7 8")
    yield _do("oom_adj: \u00d7 2 or \u00f7 2 for each step", "oom_adj：每一级 \u00d7 2 或 \u00f7 2")


def kill(rules: RuleSet) -> Iterator[Row]:
    """``oom_kill_process()``."""
    if rules.exiting_victim != "none":
        yield _ask("the chosen task is exiting already?", "选中的进程已在退出？",
                   "it is only helped along", "只帮它尽快退出", "is exiting")  # fmt: skip
    match rules.children:
        case "first":
            yield _ask("a child with memory of its own?", "有独立内存的子进程？",
                       "the first one dies in its place", "先杀第一个子进程",
                       "goes first")  # fmt: skip
        case "worst" | "worst_last":
            said = "sacrificed instead" if rules.children == "worst" else "goes first"
            child = _ask("a child with memory of its own that can be chosen?",
                         "有可选中的、独立内存的子进程？", "the worst one dies in its place",
                         "改杀其中最坏的", said)  # fmt: skip
            yield replace(child, passed="has no child to sacrifice")
        case "none":
            yield _do("the chosen task itself; no child in its place", "就是它本身，不用子进程代替")
    yield _do("SIGKILL", "SIGKILL", "SIGKILL to")
    if rules.sharers != "spared":
        but = (
            (", save those at -1000", "（-1000 者除外）")
            if rules.sharers_spare_disabled
            else ("", "")
        )
        yield _do(f"and to all that share its memory{but[0]}", f"并发给与它共享内存的进程{but[1]}")
    if rules.oom_group:
        yield _do("memory.oom.group: and to its whole cgroup", "memory.oom.group：连同整个 cgroup",
                  "memory.oom.group")  # fmt: skip
    if rules.oom_reaper:
        yield _do("oom_reaper frees its memory, even if it can't exit",
                  "oom_reaper 回收它的内存，即使它无法退出")  # fmt: skip
    else:
        yield _do("its memory is freed when it gets to exit", "等它退出时才释放内存")
