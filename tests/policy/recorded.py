"""What policies say and decide in a number of situations, as kept in ``tests/data/chosen``.

``python -m tests.policy.recorded`` writes the files anew, after a change that is meant. The other
tests of this folder say of each part what it has to do; here whole policies meet a crowd of
processes and a shortage, and every sentence, score, signal and moment of looking is held to what
it was.
"""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import msgspec

from oomkit.policy.compile import compile_plan
from oomkit.policy.describe import effective, explain, missing_words
from oomkit.policy.doubts import doubts
from oomkit.policy.engine.candidate import Candidate
from oomkit.policy.engine.decider import Decider
from oomkit.policy.engine.evidence import act_lines, ranked_line, signal_line
from oomkit.policy.engine.reading import CgroupReading, Reading, left_kb
from oomkit.policy.read import PolicyError, find_policy, policy_from
from oomkit.policy.records import Policy

KEPT = Path(__file__).parents[1] / "data" / "chosen"
MIB = 1024.0
TOTAL_KB = 4096 * MIB

LOW = {"level": "soft", "available": "10%"}
HARD = {"level": "hard", "available": "3%"}

POLICIES: dict[str, dict[str, Any]] = {
    "freed": {
        "about": "by what it frees",
        "look": {"least": "100ms", "most": "5s", "fill": "2GiB/s", "swap_fill": "200MiB/s",
                 "warm": "20%"},
        "when": [{"level": "warn", "available": "20%"}, {**LOW, "for": "1s"}, HARD],
        "whom": {
            "growth": 0.8, "growth_over": "20s", "work": 0.5, "adj": 1.5, "lasts": "10s",
            "most_processes": 4, "least": "20M",
            "never": [{"comm": "sshd"}, {"unit": ["db.service", "re:web-.*"], "user": "postgres"}],
            "prefer": [{"comm": "leak*", "by": 3}],
            "avoid": [{"cgroup": "/user.slice/*", "by": 2, "points": 100}],
        },
        "how": {"term_wait": "4s", "term_least": "500ms", "give_up": "10s", "pause": "2s",
                "hard_pause": "200ms", "notify": True, "before": ["/b", "{pid}"],
                "after": ["/a"], "most_a_minute": 6,
                "instead": [{"unit": "shop.service", "command": ["/restart", "shop"]}]},
    },
    "tree": {
        "when": [LOW, {"level": "hard", "swap_free": "2%", "available": "8%"}],
        "whom": {"level": "tree", "by": "rss", "most_processes": 3, "oom_group": False},
        "how": {"term": False, "together": True, "insist": True, "most_a_minute": 5000},
    },
    "cgroup": {
        "look": {"least": "1s", "most": "1s"},
        "when": [
            {"level": "warn", "cgroup": "/app/*", "limit_left": "10%"},
            {"level": "soft", "cgroup": "/app/*", "limit_left": "5%", "for": "2s"},
            {"level": "soft", "swap_used": "60%", "by": "swap"},
            {"level": "hard", "cgroup": "/app/*", "psi_full": "30%", "over": "5s",
             "limit_left": "100M"},
        ],
        "whom": {"level": "cgroup", "by": "reclaim", "cgroup": "/app/*", "spared_priority": 1000},
        "how": {"evict": True, "insist": True, "pause": "10s"},
    },
    "points": {
        "when": [{"level": "soft", "psi_some": "20%", "over": "4s", "available": "15%"},
                 {"level": "warn", "refault": "20M/s", "over": "2s"},
                 {"level": "hard", "swap_in": "10M/s", "over": "2s", "available": "9%"}],
        "whom": {"by": "oom_score", "prefer": [{"exe": "/usr/bin/web", "points": 200}],
                 "avoid": [{"container": "c*"}]},
        "how": {"pause": 0, "together": True},
    },
    "growth": {
        "look": {"fill_cpu": "500MiB/s"},
        "when": [{"level": "soft", "empty_within": "30s", "available": "30%", "over": "3s"},
                 {"level": "hard", "reclaim": "50M/s", "over": "2s", "swap_free": "10%"}],
        "whom": {"by": "growth", "growth_over": "2s"},
    },
    "requests": {
        "when": [{"level": "hard", "working_set_left": "400M"},
                 {"level": "warn", "zram": "10%"}],
        "whom": {"level": "cgroup", "by": "over_request", "least": "1M"},
    },
    "priorities": {
        "when": [{"level": "hard", "working_set_left": "400M"}],
        "whom": {"level": "cgroup", "by": "over_request", "cgroup": "/app/*",
                 "spared_priority": 1000},
    },
    "never": {"when": [], "about": "nothing"},
    "swap": {
        "when": [{"level": "soft", "swap_free": "30%", "available": "20%", "by": "rss"}, HARD],
        "whom": {"by": "swap", "work": 0.3, "never": [{"cmdline": "re:"}, {"comm": "re:nothing"}]},
        "how": {"term_wait": "1s", "give_up": "2s"},
    },
}  # fmt: skip
BUILT_IN = ("default", "earlyoom", "kernel", "kubelet", "nohang", "oomd-like", "systemd-oomd")

WRONG: tuple[dict[str, Any], ...] = (
    {"when": [{**LOW, "available": "60%"}]}, {"when": [{**LOW, "available": "50%"}]},
    {"when": [{"level": "warn", "available": "60%"}]}, {"when": [{"level": "soft"}]},
    {"when": [{"level": "soft", "psi_some": "10%", "psi_full": "10%"}]},
    {"when": [{"level": "soft", "limit_left": "10%"}]},
    {"when": [{**LOW, "cgroup": "/a"}]}, {"when": [{**LOW, "over": "50ms"}]},
    {"when": [{**LOW, "over": "100ms"}]}, {"when": [{**LOW, "over": "10m"}]},
    {"when": [{**LOW, "over": "601s"}]}, {"when": [{**LOW, "for": 5}]},
    {"when": [{**LOW, "for": 0}]}, {"when": [{"level": "soft", "available": 500}]},
    {"when": [{"level": "soft", "available": "101%"}]}, {"when": [{"level": "loud"}]},
    {"when": [{"level": "soft", "psi_some": "0%", "available": "5%"}]},
    {"when": [{"level": "soft", "empty_within": "0s"}]}, {"when": [{**LOW, "by": "reclaim"}]},
    {"whom": {"by": "over_request"}}, {"whom": {"cgroup": "/a"}}, {"whom": {"least": 5}},
    {"whom": {"least": 0}}, {"whom": {"most_processes": 0}}, {"whom": {"most_processes": 1}},
    {"whom": {"work": 0.91}}, {"whom": {"work": 0.9}}, {"whom": {"growth": 1.1}},
    {"whom": {"adj": 10.5}}, {"whom": {"adj": True}}, {"whom": {"never": [{}]}},
    {"whom": {"never": [{"comm": "x" * 16}]}}, {"whom": {"never": [{"comm": "[abc]" + "x" * 14}]}},
    {"whom": {"never": [{"comm": "re:("}]}}, {"whom": {"never": [{"comm": []}]}},
    {"whom": {"never": [{"comm": "re:[[:alpha:]]"}]}},
    {"whom": {"prefer": [{"comm": "x", "by": 0.5}]}},
    {"whom": {"prefer": [{"comm": "x", "by": 1}]}}, {"whom": {"never": [{"comm": "x", "odd": 1}]}},
    {"how": {"most_a_minute": 0}}, {"how": {"most_a_minute": 1}}, {"how": {"before": []}},
    {"how": {"before": ["x"]}}, {"how": {"before": ["/x", 5]}}, {"how": {"before": ["/x\n"]}},
    {"how": {"instead": [{"comm": "x"}]}}, {"how": {"give_up": "0s"}},
    {"how": {"instead": [{"comm": "x", "command": ["/x"], "odd": 1}]}},
    {"look": {"least": "2s", "most": "1s"}}, {"look": {"least": "1s", "most": "1s"}},
    {"look": {"least": "0s"}}, {"look": {"warm": "200%"}}, {"look": {"odd": 1}}, {"odd": 1},
    {"how": {"odd": 1}}, {"whom": {"odd": 1}}, {"whom": {"spared_priority": 2**31}},
)  # fmt: skip


def _crowd() -> list[Candidate]:
    """Processes of which each is special in some way."""

    def one(pid: int, mib: float, **fields: Any) -> Candidate:
        usual = {"ppid": 1, "comm": f"p{pid}", "start_time": pid, "uid": 1000, "age_s": 500.0,
                 "cgroup": "/", "oom_score": pid}  # fmt: skip
        return Candidate(pid, anon_kb=mib * MIB, **{**usual, **fields})

    return [
        one(1, 9, ppid=0, comm="init"),
        one(2, 0, ppid=0, comm="kthreadd", kthread=True),
        one(100, 300, comm="leak", growth_kb=280 * MIB, oom_score=700),
        one(101, 290, comm="leak-old", growth_kb=0.0, cpu_s=6000.0),
        one(102, 60, comm="web-1", growth_kb=50 * MIB, start_time=900, exe="/usr/bin/web"),
        one(103, 61, comm="web-1", growth_kb=51 * MIB, exe="/usr/bin/web", oom_score=300),
        one(104, 59, comm="web-1", growth_kb=40 * MIB, exe="/usr/bin/web"),
        one(110, 200, comm="mother", cgroup="/app/a"),
        one(111, 50, ppid=110, cgroup="/app/a"),
        one(112, 70, ppid=111, cgroup="/app/a", swap_kb=300 * MIB, pgtables_kb=900.0),
        one(113, 10, ppid=112, cgroup="/app/a", oom_score_adj=-1000),
        one(114, 35, comm="deep", cgroup="/app/shop/sub"),
        one(120, 500, comm="db", unit="db.service", user="postgres", cgroup="/app/db"),
        one(121, 180, comm="shop", unit="shop.service", cgroup="/app/shop", container="c1"),
        one(122, 20, comm="side", cgroup="/app/shop", container="c1", oom_score_adj=500),
        one(130, 150, comm="tab", cgroup="/user.slice/u", oom_score_adj=300, cpu_s=5.0),
        one(131, 150, comm="tab", cgroup="/user.slice/u", oom_score_adj=-500),
        one(140, 120, comm="one", mm_id=140),
        one(141, 120, comm="other", mm_id=140),
        one(142, 90, comm="safe", mm_id=142),
        one(143, 90, comm="sshd", mm_id=142),
        one(150, 40, comm="box", init_of=77, namespaces=(77,)),
        one(151, 130, comm="inbox", namespaces=(77,)),
        one(160, 400, comm="gone", dying=True),
        one(161, 95, comm="hidden", unknown=("unit", "user"), user=None, cgroup=None),
        one(
            170,
            110,
            comm="tmpfs",
            tmpfs_growth_kb=300 * MIB,
            shmem_kb=50 * MIB,
            shmem_sole_kb=20 * MIB,
            file_kb=80 * MIB,
        ),
        one(180, 15, comm="small"),
        *(one(190 + n, 30, comm="crowd", ppid=102) for n in range(4)),
        one(200, 800, comm="guard"),
    ]


def _groups(t_s: float) -> tuple[CgroupReading, ...]:
    return (
        CgroupReading("/app/a", (400 + 60 * t_s) * MIB, 900 * MIB, 300 * MIB, 1e5 * t_s, 5e4 * t_s,
                      9000.0 * t_s, oom_group=True, working_set_kb=300 * MIB,
                      request_kb=100 * MIB, priority=5),
        CgroupReading("/app/shop", 210 * MIB, 220 * MIB, 0.0, 4e5 * t_s, 3.5e5 * t_s, 100.0 * t_s,
                      working_set_kb=200 * MIB, request_kb=400 * MIB),
        CgroupReading("/app/db", 510 * MIB, 600 * MIB, 0.0, 0.0, 0.0, 0.0, request_kb=10 * MIB,
                      priority=1000),
        CgroupReading("/user.slice/u", 300 * MIB),
    )  # fmt: skip


def _shortage(policy: Policy) -> Iterator[Reading]:
    """Memory falls, stays low, falls on, and recovers."""
    curve = [0.5, 0.4, 0.28, 0.22, 0.19, 0.15, 0.12, 0.099, 0.09, 0.08, 0.07, 0.05, 0.028, 0.02,
             0.09, 0.25, 0.5, 0.08, 0.02, 0.4]  # fmt: skip
    for number, share in enumerate(curve):
        t_s = number * 0.75
        yield Reading(
            t_s, TOTAL_KB, share * TOTAL_KB, 1024 * MIB, max(1024 - 55 * number, 5) * MIB,
            (0.9 - share) * TOTAL_KB, 30.0 * MIB * number, 12 * MIB,
            psi_some_us=2.2e5 * number**1.5, psi_full_us=1e5 * number**1.5,
            refault_pages=900.0 * number**2, swap_in_pages=700.0 * number**2,
            pgscan_pages=4000.0 * number**2, cgroups=_groups(t_s), working_set_kb=TOTAL_KB * (
                0.95 - share),
        )  # fmt: skip


def _short(value: Any) -> Any:
    if isinstance(value, bool):
        return value
    if isinstance(value, float):
        return float(f"{value:.6g}") + 0.0 if value - value == 0.0 else str(value)
    if isinstance(value, dict):
        return {key: _short(part) for key, part in value.items()}
    return [_short(part) for part in value] if isinstance(value, (list, tuple)) else value


def _line(name: str, value: Any) -> str:
    return f"{name} {msgspec.json.encode(_short(value)).decode()}"


def _ranked(decider: Decider, crowd: list[Candidate], groups: Any) -> Iterator[str]:
    for one in decider.rank(crowd, groups):
        yield _line(
            f"  {ranked_line(one)}",
            [one.score, one.tier, one.freed_kb, one.gain_kb, [m.pid for m in one.members],
             [m.pid for m in one.weighed], one.factors],
        )  # fmt: skip


def _played(policy: Policy, *, dry_run: bool) -> Iterator[str]:
    plan = compile_plan(policy)
    decider = Decider(plan, own_pids=frozenset({200}), cpus=4, dry_run=dry_run)
    crowd = _crowd()
    dying: list[tuple[float, Candidate]] = []
    for reading in _shortage(policy):
        t_s = reading.t_s
        for due_s, victim in [entry for entry in dying if entry[0] <= t_s]:
            dying.remove((due_s, victim))
            crowd = [one for one in crowd if one.pid != victim.pid]
            decider.died(victim.pid, victim.start_time, t_s)
        look = decider.look(reading)
        state = look.state
        yield _line(f"at {t_s:g}", [
            state.level, state.rule, state.cgroup, state.by, state.warm, look.choose, look.sizes,
            look.obstacle, decider.next_look_s(reading),
            decider.next_look_s(reading, psi_wakes=True),
            decider.escalation.coming_kb(t_s), decider.escalation.share,
            decider.escalation.stuck(t_s),
        ])  # fmt: skip
        for signal in look.signals:
            yield f"  {signal_line(signal, '?')}"
        if look.choose:
            act = decider.choose(crowd, _groups(t_s))
            if act is not None:
                yield from (f"  {line}" for line in act_lines(policy.name, act))
                yield _line("  signals", [(s.pid, s.name, s.why) for s in act.signals])
                if not dry_run:
                    dying += [(t_s + 0.8 + 0.3 * n, member) for n, member in
                              enumerate(act.choice.members) if member.pid != 101]  # fmt: skip
        if look.sizes:
            sizes = {(c.pid, c.start_time): c.freed_kb() for c in crowd}
            decider.growth.note(t_s, left_kb(reading), sizes)


def said(name: str) -> str:
    """What a policy says of itself, of each process, and what it does in a shortage."""
    policy = (
        find_policy(name) if name in BUILT_IN else policy_from({"name": name, **POLICIES[name]})
    )
    crowd, groups = _crowd(), _groups(4.0)
    lines = list(explain(policy))
    lines += [f"missing: {text}" for text in missing_words(policy, Reading(0.0, TOTAL_KB, 9.0))]
    lines += [f"doubt: {text}" for text in doubts(policy, crowd)]
    for one in crowd:
        lines.append(f"== {one.comm}[{one.pid}]")
        lines += effective(
            policy, one, processes=tuple(crowd), groups=groups, own_pids=frozenset({200})
        )
    alone = effective(policy, crowd[2])
    lines += ["== alone", *alone, *effective(policy, Candidate(7, 1, 1, "absent"),
                                            processes=tuple(crowd))]  # fmt: skip
    if policy.when:
        decider = Decider(compile_plan(policy), own_pids=frozenset({200}), cpus=4)
        decider.look(Reading(0.0, TOTAL_KB, 9.0, cgroups=groups))
        lines += ["== ranked", *_ranked(decider, crowd, groups)]
        for dry_run in (False, True):
            lines += [f"== played, dry_run={dry_run}", *_played(policy, dry_run=dry_run)]
    return "\n".join(lines) + "\n"


def refused() -> str:
    """What is said of each policy that is wrong, or nothing of one at the edge that is right."""
    lines = []
    for raw in WRONG:
        lines.append(f"== {msgspec.json.encode(raw).decode()}")
        try:
            policy_from({"name": "wrong", **raw})
        except PolicyError as error:
            lines += error.lines()
    return "\n".join(lines) + "\n"


def write() -> None:
    """Write all files anew."""
    KEPT.mkdir(parents=True, exist_ok=True)
    for name in (*POLICIES, *BUILT_IN):
        (KEPT / f"{name}.txt").write_text(said(name))
    (KEPT / "refused.txt").write_text(refused())


if __name__ == "__main__":
    write()
