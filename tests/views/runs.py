"""Records of runs to show: one made by hand, and random ones."""

from hypothesis import strategies as st

from oomkit.scenario import (
    At,
    Cgroup,
    Denied,
    Freeze,
    Kill,
    Machine,
    Objectives,
    Run,
    Samples,
    Scenario,
    Step,
    Task,
    TaskSamples,
)  # fmt: skip

TRACE = (
    "__alloc_pages: no page",
    "__alloc_pages_slowpath: no page",
    "__alloc_pages_may_oom: still no page above the high watermark; calls out_of_memory",
    "constrained_alloc: CONSTRAINT_NONE (global), totalpages 262144",
    "select_bad_process: hog[103] has the highest badness, 90000",
    "__oom_kill_process: SIGKILL to hog[103], which frees 89000 pages",
)


def kill(t_s: float = 60.0, instance: int = 0, **fields: object) -> Kill:
    values: dict[str, object] = {
        "t_s": t_s,
        "task": "hog",
        "instance": instance,
        "pid": 103 + instance,
        "by": "kernel",
        "would_have": False,
        "badness": 90000,
        "oom_score_adj": 0,
        "freed_mb": 347.7,
        "work_lost_s": 12.25,
        "trace": TRACE,
    }
    return Kill(**(values | fields))  # type: ignore[arg-type]  # a test names the fields it alters


def scenario(**fields: object) -> Scenario:
    values: dict[str, object] = {
        "name": "three hogs",
        "about": "Three tasks grow\nuntil one dies.",
        "duration_s": 120.0,
        "machine": Machine(ram_bytes=2**30, swap_bytes=2**28),
        "vm": {"swappiness": 60},
        "tasks": (
            Task(name="hog", count=3, steps=(Step(verb="touch", size_bytes=2**29, over_s=100.0),)),
        ),
        "cgroups": (Cgroup(name="box", max_bytes=2**29),),
        "at": (At(t_s=30.0, vm={"swappiness": 10}),),
    }
    return Scenario(**(values | fields))  # type: ignore[arg-type]  # a test names the fields it alters


def run(**fields: object) -> Run:
    """Three hogs on 1 GB with 256 MB of swap, sampled each second; one dies at 60 s."""
    t_s = [float(t) for t in range(121)]
    rss = {i: [_grown(i, t) for t in t_s] for i in range(3)}
    swapped = [min(max(0.0, t - 30) * 8, 256.0) if t < 60 else 40.0 for t in t_s]
    used = [sum(rss[i][t] for i in range(3)) for t in range(121)]
    cached = [max(20.0, 200.0 - 3 * t) for t in t_s]
    free = [max(8.0, 980.0 - u - c) for u, c in zip(used, cached, strict=True)]
    samples = Samples(
        t_s=t_s,
        free_mb=free,
        available_mb=[f + c / 2 for f, c in zip(free, cached, strict=True)],
        cached_mb=cached,
        swap_free_mb=[256 - s for s in swapped],
        psi_some_avg10=[min(95.0, max(0.0, (t - 35) * 4)) if t < 60 else 5.0 for t in t_s],
        psi_full_avg10=[min(80.0, max(0.0, (t - 40) * 4)) if t < 60 else 2.0 for t in t_s],
        cpu_busy=[0.6] * 121,
        tasks={
            **{
                f"hog/{i}": TaskSamples(
                    rss_mb=rss[i],
                    swap_mb=[s / 3 if r else 0.0 for s, r in zip(swapped, rss[i], strict=True)],
                    progress=[t / 120 for t in t_s],
                )
                for i in range(3)
            },
            "probe/0": TaskSamples(
                rss_mb=[0.0] * 121, swap_mb=[0.0] * 121, progress=[min(t, 45.0) for t in t_s]
            ),
        },
    )
    values: dict[str, object] = {
        "scenario": "three hogs",
        "on": "model",
        "kernel": "6.12",
        "outcome": "completed",
        "ended_s": 120.0,
        "kills": (kill(),),
        "denied": (
            Denied(t_s=70.0, task="hog", instance=1, call="mmap", mb=4096.0, limit="CommitLimit"),
        ),
        "frozen": (Freeze(from_s=45.0, to_s=62.0),),
        "objectives": Objectives(kills=1, freed_mb=347.7, work_lost_s=12.25, frozen_s=17.0),
        "log": ("[   60.000000] Out of memory: Killed process 103 (hog)",),
        "samples": samples,
    }
    return Run(**(values | fields))  # type: ignore[arg-type]  # a test names the fields it alters


def no_samples() -> Samples:
    return Samples(
        t_s=[], free_mb=[], available_mb=[], cached_mb=[], swap_free_mb=[], psi_some_avg10=[],
        psi_full_avg10=[], cpu_busy=[], tasks={},
    )  # fmt: skip


def _grown(i: int, t: float) -> float:
    if i == 0 and t >= 60:
        return 0.0
    return min(t, 60.0) * (5.5 - i) if t > 0 else 1.0


_TEXT = st.text(max_size=12) | st.sampled_from(
    ["hog", "a/b", "</script>", "\x1b[31m", "a:b.c[0]", ""]
)
_AMOUNT = st.floats(min_value=0, max_value=2**30)
_TIME = st.floats(min_value=0, max_value=1e6)


def _list(of: st.SearchStrategy[float]) -> st.SearchStrategy[list[float]]:
    return st.lists(of, max_size=8)


kills = st.builds(
    Kill,
    t_s=_TIME,
    task=_TEXT,
    instance=st.integers(0, 5),
    pid=st.integers(0, 2**22),
    by=_TEXT,
    would_have=st.booleans(),
    badness=st.none() | st.integers(-(2**63), 2**64),
    oom_score_adj=st.integers(-1000, 1000),
    freed_mb=_AMOUNT,
    work_lost_s=_TIME,
    trace=st.lists(_TEXT, max_size=3).map(tuple),
)

runs = st.builds(
    Run,
    scenario=_TEXT,
    on=_TEXT,
    kernel=st.sampled_from(["6.12", "2.6.32", "3.10", "2.6.32-article", "unheard of"]),
    outcome=st.sampled_from(["completed", "panicked", "frozen", "timed_out"]),
    ended_s=_TIME,
    kills=st.lists(kills, max_size=20).map(tuple),
    denied=st.lists(
        st.builds(
            Denied,
            t_s=_TIME, task=_TEXT, instance=st.integers(0, 5), call=_TEXT, mb=_AMOUNT, limit=_TEXT,
        ),
        max_size=8,
    ).map(tuple),
    frozen=st.lists(st.builds(Freeze, from_s=_TIME, to_s=_TIME), max_size=8).map(tuple),
    objectives=st.builds(
        Objectives, kills=st.integers(0, 99), freed_mb=_AMOUNT, work_lost_s=_TIME, frozen_s=_TIME
    ),
    log=st.lists(_TEXT, max_size=4).map(tuple),
    samples=st.builds(
        Samples,
        t_s=_list(_TIME).map(sorted),
        free_mb=_list(_AMOUNT),
        available_mb=_list(_AMOUNT),
        cached_mb=_list(_AMOUNT),
        swap_free_mb=_list(_AMOUNT),
        psi_some_avg10=_list(st.floats(0, 100)),
        psi_full_avg10=_list(st.floats(0, 100)),
        cpu_busy=_list(st.floats(0, 1)),
        tasks=st.dictionaries(
            st.sampled_from(["hog/0", "hog/1", "probe/0", "ping/0"]) | _TEXT,
            st.builds(
                TaskSamples, rss_mb=_list(_AMOUNT), swap_mb=_list(_AMOUNT), progress=_list(_AMOUNT)
            ),
            max_size=5,
        ),
    ),
)  # fmt: skip
"""Records as they might stand in a file: lists of unequal length, names of any characters."""
