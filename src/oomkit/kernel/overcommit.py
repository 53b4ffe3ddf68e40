"""Overcommit: whether a task may have address space (mm/mmap.c, mm/util.c)."""

from oomkit.kernel.rules import RuleSet
from oomkit.kernel.state import Memory, Sysctl, Task
from oomkit.records import Record

OVERCOMMIT_GUESS = 0
OVERCOMMIT_ALWAYS = 1
OVERCOMMIT_NEVER = 2


class Commit(Record, frozen=True, kw_only=True):
    """The answer to a request for address space.

    Attributes:
        allowed: the mapping is made; else the call fails with ENOMEM.
        limit: what was compared with: ``always``, ``heuristic`` or ``CommitLimit``.
        limit_pages: the largest request that would be allowed, in pages, possibly negative;
            None when there is no limit.
        short_by_pages: how many pages the request is too large by; 0 when allowed.
    """

    allowed: bool
    limit: str
    limit_pages: int | None
    short_by_pages: int


def vm_enough_memory(
    pages: int,
    memory: Memory,
    sysctl: Sysctl,
    rules: RuleSet,
    *,
    task: Task | None = None,
    admin: bool | None = None,
    page_size: int = 4096,
) -> Commit:
    """Decide on a private writable (or other accountable) mapping of ``pages``.

    Args:
        pages: size of the one mapping; the kernel looks at each by itself.
        memory: the machine's memory, with what is committed already.
        sysctl: the overcommit knobs.
        rules: the kernel's rules (2.6.11-7.3).
        task: the requester; its ``total_vm_pages`` matter in mode 2.
        admin: it has CAP_SYS_ADMIN in the initial user namespace; None: as ``task`` says.
        page_size: bytes in a page.

    Notes:
        From 5.9 on the kernel's counter of committed memory is read approximately in mode 2:
        it may be off by a batch of ``max(totalram/ncpu/256, max(2*ncpu, 32))`` pages for each
        other CPU.
    """
    if admin is None:
        admin = task is not None and task.cap_sys_admin
    if sysctl.overcommit_memory == OVERCOMMIT_ALWAYS:
        return Commit(allowed=True, limit="always", limit_pages=None, short_by_pages=0)
    # The kernel compares with 1 and 0 only: any other value (to 2.6.38) is as strict as 2.
    if sysctl.overcommit_memory != OVERCOMMIT_GUESS:
        allowed = commit_limit_pages(memory, sysctl, rules, admin=admin, page_size=page_size)
        allowed -= _user_reserve_pages(task, sysctl, rules, page_size)
        return _verdict(pages, allowed - memory.committed_pages - 1, "CommitLimit")
    largest = _guess(memory, sysctl, rules, admin=admin, page_size=page_size)
    return _verdict(pages, largest, "heuristic")


def commit_limit_pages(
    memory: Memory, sysctl: Sysctl, rules: RuleSet, *, admin: bool = True, page_size: int = 4096
) -> int:
    """Return the commit limit in pages (``vm_commit_limit()``); less a reserve unless ``admin``.

    With ``admin`` it is CommitLimit of ``/proc/meminfo``.
    """
    kbytes = sysctl.overcommit_kbytes if rules.overcommit_kbytes else 0
    if kbytes:
        limit = kbytes * 1024 // page_size
    else:
        ram = memory.total_ram_pages - memory.hugetlb_pages
        limit = ram * sysctl.overcommit_ratio // 100
    if rules.reserve == "thirty_second":
        if not admin:
            limit -= limit // 32
        return limit + memory.total_swap_pages
    limit += memory.total_swap_pages
    return limit if admin else limit - sysctl.admin_reserve_kbytes * 1024 // page_size


def _user_reserve_pages(task: Task | None, sysctl: Sysctl, rules: RuleSet, page_size: int) -> int:
    if task is None or not task.has_mm:
        return 0
    share = task.total_vm_pages // 32
    if rules.reserve != "kbytes":
        return share
    return min(share, sysctl.user_reserve_kbytes * 1024 // page_size)


def _verdict(pages: int, largest: int, limit: str) -> Commit:
    short = max(pages - largest, 0)
    return Commit(allowed=short == 0, limit=limit, limit_pages=largest, short_by_pages=short)


def _guess(memory: Memory, sysctl: Sysctl, rules: RuleSet, *, admin: bool, page_size: int) -> int:
    """The largest request that ``overcommit_memory`` = 0 lets through."""
    if rules.guess == "ram_swap":
        return memory.total_ram_pages + memory.total_swap_pages
    if rules.guess in ("two_step", "two_step_no_reserve"):
        reserve = None
        if rules.reserve == "admin_kbytes":
            reserve = sysctl.admin_reserve_kbytes * 1024 // page_size
        return _guess_in_two_steps(memory, rules, admin=admin, reserve=reserve)
    estimate = (
        memory.free_pages
        + memory.file_pages
        - memory.shmem_pages
        + memory.free_swap_pages
        + memory.slab_reclaimable_pages
    )
    if rules.guess_misc:
        estimate += memory.misc_reclaimable_pages
    if estimate <= memory.totalreserve_pages:
        return -1
    estimate -= memory.totalreserve_pages
    if not admin and rules.guess == "free_reserve":
        estimate -= estimate // 32
    elif not admin:
        estimate -= sysctl.admin_reserve_kbytes * 1024 // page_size
    return estimate - 1


def _guess_in_two_steps(memory: Memory, rules: RuleSet, *, admin: bool, reserve: int | None) -> int:
    """Up to 3.0: what can be reclaimed, then the free pages above the reserve (2.6.17 on).

    ``reserve``: pages that the first step keeps for the administrator; None: a thirty-second.
    """
    estimate = memory.file_pages + memory.free_swap_pages + memory.slab_reclaimable_pages
    if not admin:
        estimate -= estimate // 32 if reserve is None else reserve
    free = memory.free_pages
    if rules.guess == "two_step":
        free = max(free - memory.totalreserve_pages, 0)
    if not admin:
        free -= free // 32
    return estimate + free - 1
