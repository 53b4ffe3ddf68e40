"""Records of runs to show: one made by hand, and random ones."""

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


def _grown(i: int, t: float) -> float:
    if i == 0 and t >= 60:
        return 0.0
    return min(t, 60.0) * (5.5 - i) if t > 0 else 1.0
