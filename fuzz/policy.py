"""Fuzz the reading, explaining and applying of policy files.

Usage: python -m fuzz.policy [--seconds 120] [libFuzzer's own options]

Starts from the built-in policies and those of ``fuzz/corpus/policy``. What is wrong with a file has
to be said in lines that can be shown; what is right has to become a plan that ranks processes.
"""

import os

import atheris
from fuzz.harness import ROOT, check_shown, fuzz

with atheris.instrument_imports(include=["oomkit.policy", "oomkit.toml"]):
    from oomkit.policy.compile import compile_plan
    from oomkit.policy.describe import effective, explain, missing_words
    from oomkit.policy.doubts import doubts
    from oomkit.policy.engine.candidate import Candidate
    from oomkit.policy.engine.decider import Decider
    from oomkit.policy.engine.evidence import act_lines
    from oomkit.policy.engine.plan import Plan
    from oomkit.policy.engine.reading import CgroupReading, Reading
    from oomkit.policy.read import PolicyError, read_policy

FILE = os.memfd_create("policy")
WORDS = (
    "name", "[look]", "[[when]]", "[whom]", "[[whom.never]]", "[[whom.prefer]]", "[how]",
    "[[how.instead]]", "level", "soft", "hard", "available", "swap_free", "psi_full", "cgroup",
    "limit_left", "empty_within", "over", "for", "by", "re:", "oom_score", "tree", "500ms", "10%",
    "2G/s", "300M", "true", "1e400", "nan", "inf", "\\u001b", "99999999999999999999", "'''",
)  # fmt: skip
GROUPS = (
    CgroupReading("/", 900.0, None, 0.0, 5e6, 4e6, 7.0),
    CgroupReading("/a", 90.0, 100.0, 0.0, 5e6, 4e6, 7.0, oom_group=True),
)
PROCESSES = (
    Candidate(1, 1, 0, "init", anon_kb=9e3),
    Candidate(5, 50, 1, "web", anon_kb=8e3, cgroup="/a", unit="a.service/b.scope", growth_kb=5e3),
    Candidate(6, 60, 5, "re:x\\n", anon_kb=7e3, cgroup="/a", uid=0, user="root", mm_id=3),
    Candidate(7, 70, 5, "db", anon_kb=9e3, exe="/bin/db", cmdline="db -x", oom_score=900, mm_id=3),
    Candidate(8, 80, 1, "u", anon_kb=9e3, unknown=("exe", "unit"), oom_score_adj=-500),
)


def _reading(t_s: float) -> Reading:
    return Reading(
        t_s, 1e6, 2e4 / t_s, 1e5, 1e3 / t_s, 5e5, 1e5, 0.0, 1e6 * t_s, 9e5 * t_s, 1e5 * t_s,
        1e5 * t_s, 1e6 * t_s, GROUPS,
    )  # fmt: skip


def one_input(data: bytes) -> None:
    """Read, explain, compile, carry over, and decide."""
    os.truncate(FILE, 0)
    os.pwrite(FILE, data, 0)
    try:
        policy = read_policy(f"/proc/self/fd/{FILE}")
    except PolicyError as error:
        for line in error.lines():
            check_shown(line)
        return
    plan = compile_plan(policy)
    if Plan.from_values(plan.to_values()).to_values() != plan.to_values():
        raise RuntimeError("a plan that is carried over is another one")
    lines = [*explain(policy), *doubts(policy, PROCESSES), *missing_words(policy, _reading(1.0))]
    for one in PROCESSES:
        lines += effective(policy, one, processes=PROCESSES, groups=GROUPS)
    decider = Decider(plan)
    for t_s in (1.0, 2.0, 4.0, 40.0):
        now = _reading(t_s)
        if decider.look(now).choose:
            act = decider.choose(PROCESSES, GROUPS)
            if act is not None:
                if act.choice.candidate.pid == 1:
                    raise RuntimeError("init was chosen")
                lines += act_lines(plan.name, act)
        if not decider.next_look_s(now) > 0.0:
            raise RuntimeError("it would look again without a pause")
    for line in lines:
        line.encode()


if __name__ == "__main__":
    builtin = ROOT / "src" / "oomkit" / "policy" / "builtin"
    fuzz(
        __doc__,
        one_input,
        seeds=((path.name, path.read_bytes()) for path in sorted(builtin.glob("*.toml"))),
        words=WORDS,
        most_bytes=4096,
    )
