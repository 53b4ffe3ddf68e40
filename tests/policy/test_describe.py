"""A policy in words: every line that a setting can bring, and what it means for one process."""

from typing import Any

import pytest

from oomkit.policy.describe import effective, explain, missing_words
from oomkit.policy.doubts import doubts
from oomkit.policy.engine.reading import CgroupReading
from tests.policy.making import GB, INIT, LOW, policy, process, reading


def section(title: str, *when: dict[str, Any], **rest: Any) -> list[str]:
    """The lines of one section of a policy's explanation."""
    lines = explain(policy(*(when or (LOW,)), **rest))
    begin = lines.index(title) + 1
    rest_of = lines[begin:]
    end = next((i for i, line in enumerate(rest_of) if not line.startswith("  ")), len(rest_of))
    return [line[2:] for line in rest_of[:end]]


def when(**rule: Any) -> str:
    (line,) = section("when it acts", {"level": "soft", **rule})
    return line


def test_a_policy_begins_with_its_name_and_what_it_is_for() -> None:
    assert explain(policy())[:3] == (
        "test", "when it acts", "  never: the kernel's own OOM killer is left to it",
    )  # fmt: skip
    assert len(explain(policy())) == 3
    titles = [line for line in explain(policy(LOW)) if not line.startswith("  ")]
    assert titles == ["test", "when it acts", "how often it looks", "which victim it chooses",
                      "how it acts"]  # fmt: skip


def test_what_each_level_does() -> None:
    low = "when memory available is at or below 10 % of RAM"
    assert when(available="10%") == f"asks a victim to leave (SIGTERM) {low}"
    assert when(level="warn", available="10%") == f"warns {low}"
    assert when(level="hard", available="10%") == f"kills a victim (SIGKILL) {low}"
    (line,) = section("when it acts", LOW, how={"term": False})
    assert line == f"kills a victim (SIGKILL) {low}"
    (line,) = section("when it acts", {**LOW, "level": "warn"}, how={"term": False})
    assert line == f"warns {low}"


@pytest.mark.parametrize(("rule", "text"), [
    ({"available": "300M"}, "memory available is at or below 300 MiB"),
    ({"swap_free": "5%"}, "free swap is at or below 5 % of swap"),
    ({"swap_used": "90%"}, "swap in use is at or above 90 % of swap"),
    ({"zram": "1G"}, "RAM that zram occupies is at or above 1.00 GiB"),
    ({"refault": "10M/s"}, "what is read back of evicted pages is at or above 10.0 MiB/s over 2 s"),
    ({"swap_in": "10M/s", "over": "5s"},
     "what is read back from swap is at or above 10.0 MiB/s over 5 s"),
    ({"reclaim": "1M/s"}, "what reclaim scans is at or above 1.00 MiB/s over 2 s"),
    ({"empty_within": "1500ms"}, "memory and swap last, at the present rate, at most 1.5 s"),
    ({"limit_left": "10%", "cgroup": "/a"},
     "what is left below the cgroup's limit is at or below 10 % of the limit"),
])  # fmt: skip
def test_each_condition_in_words(rule: dict[str, str], text: str) -> None:
    where = " in each cgroup /a" if "cgroup" in rule else ""
    assert when(**rule) == f"asks a victim to leave (SIGTERM){where} when {text}"


def test_pressure_holding_and_a_ranking_of_its_own() -> None:
    line = when(available="10%", psi_full="25%", over="3s", **{"for": "1m"}, by="rss")
    assert line == (
        "asks a victim to leave (SIGTERM) when memory available is at or below 10 % of RAM and "
        "time in which all tasks wait for memory is at or above 25 % of the last 3 s, for 60 s; "
        "ranks by its resident memory"
    )
    assert "ranks by" not in when(available="10%", by="freed")  # as the policy does


def test_how_often_it_looks() -> None:
    assert section("how often it looks", look={"least": "5s", "most": "5s"}) == ["every 5 s"]
    assert section("how often it looks") == [
        (
            "every 0.05 s to 10 s, as soon as a rule could hold if memory filled at 2.00 GiB/s and "
            "swap at 500 MiB/s"
        ),
        "with 25 % of RAM available or less the ranking is kept at hand",
    ]
    (first, _) = section("how often it looks", look={"fill_cpu": "1G/s"})
    assert "filled at 1.00 GiB/s by each CPU and swap" in first


NEVER = [
    "never init, kernel threads, oomkit itself, nor oom_score_adj -1000",
    (
        "nor a process that shares its memory with one of these, nor the init of a pid namespace "
        "with one of them in it; all of it is read again before each signal"
    ),
]
ADJ = "oom_score_adj 1000 counts x 1.5, -500 counts x 0.5, others in between"


def whom(**settings: Any) -> list[str]:
    return section("which victim it chooses", whom=settings)


def test_whom_it_chooses_as_it_comes() -> None:
    assert whom() == [
        ("a process, ranked by what its death gives back: anonymous memory, swap, page tables, "
        "shared memory of its own"),
        ADJ, *NEVER,
        "no process that would free less than 1.00 MiB",
        "cgroups with memory.oom.group are killed as a whole",
        "at most 50 processes at once; else one process alone",
    ]  # fmt: skip


def test_the_least_that_can_be_said_of_whom_it_chooses() -> None:
    assert whom(by="rss", oom_group=False, least=0) == [
        "a process, ranked by its resident memory", *NEVER,
    ]  # fmt: skip
    assert ADJ not in whom(adj=0.0)
    # What only ``freed`` weighs is not said where something else ranks.
    assert whom(by="swap", growth=0.5, work=0.5, oom_group=False, least=0) == [
        "a process, ranked by its swap", *NEVER,
    ]  # fmt: skip


def test_what_weighs() -> None:
    lines = whom(growth=0.95, work=0.3, adj=1.0)
    assert lines[1:4] == [
        "a process that did not grow in the shortage counts x 0.05",
        "CPU time that would be lost counts down to x 0.7, half of it at 600 s",
        "oom_score_adj 1000 counts x 2, -500 counts x 0.5, others in between",
    ]


@pytest.mark.parametrize(("by", "text"), [
    ("oom_score", "the kernel's oom_score; of equals the larger rss"),
    ("growth", "its growth since the shortage began"),
])  # fmt: skip
def test_other_ways_of_ranking(by: str, text: str) -> None:
    assert whom(by=by)[0] == f"a process, ranked by {text}"


def test_how_far_a_kill_reaches() -> None:
    bound = "at most 7 processes at once; else one process alone"
    tree = whom(level="tree", oom_group=False, most_processes=7)
    assert tree[0].startswith("a process with all below it, ranked by ")
    assert tree[-1] == bound
    assert whom(level="cgroup", by="reclaim", oom_group=False)[0] == (
        "all processes of a cgroup, ranked by the pages scanned in its cgroup"
    )
    lasts = whom(oom_group=False, lasts="500ms", most_processes=7)
    assert lasts[-2:] == [
        (
            "others of its name that grow are killed with it, until memory lasts 0.5 s "
            "against the growth of the rest"
        ),
        bound,
    ]
    assert not any("at once" in line for line in whom(oom_group=False))


def test_who_is_spared_and_who_goes_earlier_or_later() -> None:
    matches = {
        "never": [{"comm": ["sshd", "login"], "user": "root"}],
        "prefer": [{"exe": "/opt/*", "by": 3, "points": 100}], "avoid": [{"unit": "db.service"}],
    }  # fmt: skip
    lines = whom(**matches)
    assert "never comm sshd or login, user root" in lines
    assert "exe /opt/*: x 3" in lines
    assert "unit db.service: x 0.25" in lines
    points = whom(by="oom_score", **matches)
    assert "exe /opt/*: +100 points" in points
    assert "unit db.service: -300 points" in points


def how(**settings: Any) -> list[str]:
    return section("how it acts", how=settings)


def test_how_it_acts_as_it_comes() -> None:
    assert how() == [
        (
            "SIGTERM, and SIGKILL 5 s later if memory is still low, "
            "or 0.5 s later if the level is hard"
        ),
        "10 s after SIGKILL it stops waiting for a process to exit",
        (
            "the next victim is chosen when the last has exited (not at level hard, counting "
            "memory still to be freed)"
        ),
        "1 s between two kills, 0.2 s at level hard; at most 30 a minute",
    ]


def test_how_it_acts_otherwise() -> None:
    lines = how(
        term=False, together=False, most_a_minute=1000, notify=True, before=["/bin/a", "{pid}"],
        after=["/bin/b"], instead=[{"comm": "web", "command": ["/bin/restart", "web"]}],
    )  # fmt: skip
    assert lines[0] == "SIGKILL at once"
    assert lines[2] == "the next victim is chosen when the last has exited"
    assert lines[3].endswith("; as many a minute as it takes")
    assert lines[4:] == [
        "comm web: runs /bin/restart web instead of SIGTERM",
        "runs /bin/a {pid} before the signal",
        "runs /bin/b when the victim has exited",
        "sends a desktop notification",
    ]
    assert how(most_a_minute=999)[3].endswith("; at most 999 a minute")


def test_what_a_machine_lacks() -> None:
    swap = {"swap_total_kb": GB, "swap_free_kb": GB}
    low_swap = {**LOW, "swap_free": "10%"}
    no_swap = "there is no swap: conditions on free swap always hold"
    assert missing_words(policy(low_swap), reading(0.0, 0.5)) == (no_swap,)
    assert missing_words(policy(low_swap), reading(0.0, 0.5, **swap)) == ()
    assert missing_words(policy(LOW), reading(0.0, 0.5)) == ()
    psi = {**LOW, "psi_full": "25%"}
    lines = missing_words(policy(LOW, psi), reading(0.0, 0.5))
    assert len(lines) == 2
    assert lines[0] == (
        "psi_full (time in which all tasks wait for memory) can't be measured on this machine"
    )
    assert lines[1].startswith("  so this never happens: asks a victim to leave (SIGTERM) when ")


def rule(one: Any, *others: Any, groups: tuple[CgroupReading, ...] = (), **rest: Any) -> list[str]:
    made = policy(LOW, **rest)
    processes = (one, *others) if others else ()
    return list(effective(made, one, processes=processes, groups=groups))


SPARE = '[[whom.never]] comm = "p6" in the policy would spare it'


def test_what_a_policy_means_for_the_first_and_for_others() -> None:
    first, second, third = process(6, 300), process(7, 200), process(8, 100, comm="p6")
    by = "it is ranked by what its death gives back: anonymous memory, swap, page tables, shared "
    assert rule(first, second, third) == [
        "p6[6] would be chosen first: number 1 of 3 that could be",
        f"{by}memory of its own: 300 MiB",
        SPARE,
    ]
    assert rule(third, second, first) == [
        "p6[8] can be chosen: number 3 of 3 that could be",
        f"{by}memory of its own: 100 MiB",
        "one place before it: p7[7] with 200 MiB",
        SPARE,
    ]


def test_a_score_of_several_parts_has_a_total() -> None:
    lines = rule(process(6, 100, oom_score_adj=1000))
    assert lines[1].endswith(": 100 MiB x oom_score_adj 1.5 = 150 MiB")


def test_who_is_never_chosen_and_who_is_not_there() -> None:
    assert rule(INIT) == ["init[1] is never chosen: init"]
    made = policy(LOW)
    assert effective(made, process(6), processes=(process(7),)) == ("p6[6] is not known",)
    assert effective(made, process(6), own_pids=frozenset({6})) == (
        "p6[6] is never chosen: the guard itself",
    )


def test_who_goes_with_another_is_told_by_that_one() -> None:
    """By its memory, and as a member of another's choice."""
    main, thread = process(6, 100, mm_id=9), process(7, 100, mm_id=9)
    lines = rule(thread, main)
    assert lines[0] == "p7[7] would be chosen first: number 1 of 1 that could be"
    assert lines[-1] == "2 processes die together (address space): p6, p7; 100 MiB come free"
    group = (CgroupReading("/a", 0.0, oom_group=True),)
    members = [process(pid, 10, cgroup="/a", comm=f"c{pid}") for pid in range(10, 19)]
    lines = rule(members[0], *members[1:], groups=group)
    assert lines[-1] == (
        "9 processes die together (cgroup): c10, c11, c12, c13, c14, c15, c16, c17 and 1 more "
        "name; 90.0 MiB come free"
    )
    lines = rule(members[0], *members[1:8], groups=group)
    assert lines[-1] == (
        "8 processes die together (cgroup): c10, c11, c12, c13, c14, c15, c16, c17; 80.0 MiB come "
        "free"
    )


def test_who_would_go_alone_though_the_policy_asks_for_more_is_told_why() -> None:
    group = (CgroupReading("/a", 0.0, oom_group=True),)
    members = [process(pid, 10, cgroup="/a") for pid in (6, 7, 8)]
    lines = rule(members[0], *members[1:], groups=group, whom={"most_processes": 2})
    assert lines[-1] == "alone: 3 in its cgroup, at most 2 may die at once"


def test_the_first_command_that_matches_replaces_sigterm() -> None:
    instead = [
        {"comm": "web", "command": ["/bin/first"]}, {"comm": "p6", "command": ["/bin/a", "b"]},
        {"comm": "p*", "command": ["/bin/last"]},
    ]  # fmt: skip
    assert rule(process(6, 100), how={"instead": instead})[-1] == (
        "SIGTERM is replaced by running /bin/a b"
    )


def test_doubts_about_names_that_anybody_can_take() -> None:
    made = policy(whom={
        "never": [{"comm": "sshd"}, {"comm": "sshd", "user": "root"}],
        "prefer": [{"cmdline": "*x*"}], "avoid": [{"comm": "db", "cmdline": "*y*"}],
    })  # fmt: skip
    said = ": any process can take that name, and"
    assert doubts(made) == (
        f"never comm sshd{said} is spared; add user, unit or exe",
        f"prefer cmdline *x*{said} dies earlier; add user, unit or exe",
        f"avoid comm db, cmdline *y*{said} dies later; add user, unit or exe",
    )
    even = policy(whom={"prefer": [{"comm": "a", "by": 1}]})
    assert doubts(even)[0].startswith("prefer comm a")


def test_doubts_about_expressions() -> None:
    made = policy(whom={"never": [{"user": "re:^(?!x)"}, {"exe": "re:/bin/.*"}, {"exe": "/x"}]})
    empty = (
        "never user re:^(?!x): can only match an empty user; an expression has to match the whole "
        "of it, so end it with .*"
    )
    assert doubts(made) == (empty,)  # nothing is known of this machine's processes
    assert doubts(made, [process(5, exe="/bin/true")]) == (empty,)
    assert doubts(made, [process(5, exe="/usr/bin/true")]) == (
        empty,
        "never exe re:/bin/.*: matches no process now; an expression has to match the whole exe",
    )
