"""What is taken of a task, a machine or a cgroup of which nothing more is said."""

import msgspec

from oomkit.kernel.memcg_stat import MemcgStat
from oomkit.kernel.state import Allocation, Memcg, Memory, Pressure, Snapshot, Sysctl, Task


def said(record: object) -> dict[str, object]:
    """Fields that are neither nothing nor not known."""
    made: dict[str, object] = msgspec.to_builtins(record)
    return {
        key: value for key, value in made.items() if value not in (None, 0, False, "", [], (), {})
    }


def test_a_task_of_which_little_is_known_has_memory_and_is_an_ordinary_one() -> None:
    task = Task(pid=5, comm="a")
    assert said(task) == {"pid": 5, "comm": "a", "threads": 1, "has_mm": True, "cgroup": "/"}
    assert all(
        getattr(task, name) == 0
        for name in ("ppid", "uid", "rss_pages", "swap_pages", "pgtable_pages", "oom_score_adj")
    )


def test_knobs_are_as_the_kernel_sets_them() -> None:
    """mm/oom_kill.c, mm/util.c (sysctl_overcommit_ratio 50, the reserves 8 and 128 MiB),
    mm/vmscan.c (swappiness 60), mm/page_alloc.c (watermark_scale_factor 10).
    """
    assert said(Sysctl()) == {
        "overcommit_ratio": 50, "admin_reserve_kbytes": 1 << 13, "user_reserve_kbytes": 1 << 17,
        "oom_dump_tasks": 1, "swappiness": 60, "watermark_scale_factor": 10,
    }  # fmt: skip


def test_a_cgroup_has_no_limit_and_no_use() -> None:
    group = Memcg(path="/a")
    assert said(group) == {"path": "/a", "version": 2}
    assert (group.usage_pages, group.min_pages, group.low_pages) == (0, 0, 0)
    assert said(MemcgStat(path="/a")) == {"path": "/a", "version": 2}
    assert MemcgStat(path="/a").at_s == 0.0


def test_a_machine_has_the_memory_that_is_said() -> None:
    assert said(Memory(total_ram_pages=7)) == {"total_ram_pages": 7}
    shot = Snapshot(kernel="6.12", memory=Memory(total_ram_pages=7))
    assert (shot.page_size, shot.hz, shot.uptime_s, shot.tasks) == (4096, 250, 0, ())
    assert (Pressure(some_avg10=0.0).some_total_us, Pressure(some_avg10=0.0).full_total_us) == (
        0,
        0,
    )


def test_a_request_is_for_a_page_of_user_space_that_may_do_everything() -> None:
    assert said(Allocation()) == {"gfp_fs": True, "user_fault": True}
    assert Allocation().order == 0
