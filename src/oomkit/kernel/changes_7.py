"""The history of the rules from 7.0 on: exact counters."""

from oomkit.kernel.change import Change

CHANGES: tuple[Change, ...] = (
    Change(
        since="7.0",
        sets={"rss_counters": "summed"},
        what="badness, oom_score, the task table, kill lines and reaper lines use exact sums of "
        "the per-CPU counters",
        meaning="what /proc/PID/status shows decides, no longer field 24 of /proc/PID/stat; "
        "small and widely threaded processes change places",
    ),
    Change(
        since="7.1",
        sets={"log_meminfo": "7.1"},
        what="a node's line counts memory of GPUs (gpu_active, gpu_reclaim)",
        meaning="memory that graphics drivers hold becomes visible",
    ),
    Change(
        since="7.2",
        sets={"stall_warning": True},
        what="an allocation that takes more than ten seconds is reported, once in ten seconds",
        meaning="a freeze before an OOM leaves a witness",
    ),
    Change(
        since="7.3",
        sets={"memcg_reaped_charge": True},
        what="a charge of a victim whose memory was already reaped fails at once",
        meaning="a cgroup's dying victim no longer asks for kills in a loop (CVE-2026-93241)",
        backports=(("7.2", 6),),
    ),
    Change(
        since="7.3",
        sets={"soft_limit": False},
        what="memory.soft_limit_in_bytes has no effect and reads as unlimited",
        meaning="v1 soft limits no longer steer reclaim (CVE-2026-93240)",
        backports=(("7.2", 6),),
    ),
    Change(
        since="7.3",
        sets={"log_meminfo": "7.3"},
        what="reserved_highatomic and free_highatomic are printed with kB like their neighbours",
    ),
)
