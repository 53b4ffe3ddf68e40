"""What a policy file may say: both sides of each bound, what is assumed, what is refused."""

from typing import Any

import pytest

from oomkit.policy.read import PolicyError, policy_from
from oomkit.policy.records import How, Polling, Whom
from tests.policy.making import policy

SIZE = 'a size such as "300M" or "2G" (K, M, G, T are powers of 1024)'
DURATION = 'a duration such as "500ms", "30s", "10m" or "2h"'
AMOUNT = f'a share such as "10%", or {SIZE}'
LOW = {"level": "soft", "available": "5%"}


def faults(raw: dict[str, Any]) -> list[str]:
    with pytest.raises(PolicyError) as caught:
        policy_from({"name": "p", **raw}, source="p.toml")
    return [line.removeprefix("p.toml: ") for line in caught.value.lines()]


@pytest.mark.parametrize(("part", "key", "good", "bad", "expected"), [
    ("look", "least", "1ms", "0.9ms", f"{DURATION}, from 1ms on"),
    ("look", "most", "1ms", "0s", f"{DURATION}, from 1ms on"),
    ("look", "warm", "100%", "101%", 'a share such as "10%"'),
    ("look", "warm", "0%", 0.5, 'a share such as "10%"'),
    ("look", "fill", "1K/s", "0K/s", 'a rate such as "100M/s", above 0'),
    ("look", "fill_cpu", "1K/s", "1K", 'a rate such as "100M/s", above 0'),
    ("look", "swap_fill", "1K/s", 5, 'a rate such as "100M/s", above 0'),
    ("whom", "growth", 1.0, 1.01, "a number from 0 to 1"),
    ("whom", "growth", 0, -0.01, "a number from 0 to 1"),
    ("whom", "growth", 0.5, True, "a number from 0 to 1"),
    ("whom", "growth", 0.5, "0.5", "a number from 0 to 1"),
    ("whom", "work", 0.9, 0.91, "a number from 0 to 0.9"),
    ("whom", "work", 0, -1, "a number from 0 to 0.9"),
    ("whom", "adj", 10, 10.1, "a number from 0 to 10"),
    ("whom", "adj", 0, -0.1, "a number from 0 to 10"),
    ("whom", "growth_over", "1ms", 0, f"{DURATION}, from 1ms on"),
    ("whom", "lasts", 0, -1, f"{DURATION}, at most a year"),
    ("whom", "most_processes", 1, 0, "a whole number from 1 on"),
    ("whom", "most_processes", 1_000_000, 1_000_001, "a whole number from 0 to 1000000"),
    ("whom", "least", 0, 1024, f"{SIZE}, with its unit"),
    ("how", "most_a_minute", 1, 0, "a whole number from 1 on"),
    ("how", "most_a_minute", 1_000_000, 1_000_001, "a whole number from 0 to 1000000"),
    ("how", "give_up", "1ms", 0, f"{DURATION}, from 1ms on"),
    ("how", "term_least", 0, "1", DURATION),
    ("how", "term_wait", 0, 1, f"{DURATION}, with its unit"),
    ("how", "pause", 0, "1x", DURATION),
    ("how", "dry_run_pause", 0, True, DURATION),
])  # fmt: skip
def test_both_sides_of_a_bound(part: str, key: str, good: Any, bad: Any, expected: str) -> None:
    look = {"least": "1ms"} if key == "most" else {}
    policy_from({"name": "p", part: {**look, key: good}})
    lines = faults({part: {**look, key: bad}})
    assert lines[0].startswith(f"{part}.{key}: expected {expected}"), lines
    assert len(lines) == 1


@pytest.mark.parametrize(("rule", "place", "expected"), [
    ({"over": "99ms"}, "over", 'a duration from "100ms" to "10m"'),
    ({"over": "601s"}, "over", 'a duration from "100ms" to "10m"'),
    ({"psi_full": "0%"}, "psi_full", 'a share of time such as "10%", above 0'),
    ({"psi_full": "101%"}, "psi_full", 'a share such as "10%"'),
    ({"refault": "5M"}, "refault", 'a rate such as "100M/s", above 0'),
    ({"empty_within": 0}, "empty_within", f"{DURATION}, from 1ms on"),
    ({"available": "51%"}, "available", 'at most "50%" for a kill'),
    ({"available": "x"}, "available", AMOUNT),
    ({"zram": "101%"}, "zram", 'a share such as "10%"'),
    ({"limit_left": "5%"}, "limit_left", "a cgroup beside it: the machine has no limit"),
    ({"decaying": True}, "decaying", "psi_some or psi_full beside it: what decays"),
    ({"cgroup": "/a"}, "cgroup",
     "one of limit_left, working_set_left, psi_some, psi_full, reclaim beside it"),
])  # fmt: skip
def test_what_a_rule_can_not_ask(rule: dict[str, Any], place: str, expected: str) -> None:
    lines = faults({"when": [{**LOW, **rule}]})
    assert lines[0].startswith(f"when[0].{place}: expected {expected}"), lines
    assert len(lines) == 1


@pytest.mark.parametrize("rule", [
    {"over": "100ms"}, {"over": "10m"}, {"psi_full": "0.1%"}, {"psi_full": "100%"},
    {"available": "50%"}, {"available": "100%", "level": "warn"}, {"swap_free": "100%"},
    {"zram": "100%"}, {"swap_used": "90%"}, {"available": "900G"}, {"empty_within": "1ms"},
    {"cgroup": "/a", "psi_some": "5%"}, {"cgroup": "/a", "reclaim": "1M/s"},
    {"cgroup": "/a", "limit_left": "60%"}, {"refault": "1M/s", "psi_full": "5%"},
])  # fmt: skip
def test_what_a_rule_can_ask(rule: dict[str, Any]) -> None:
    assert policy({**LOW, **rule}).when


def test_a_rule_needs_a_condition_and_one_that_is_wrong_is_no_missing_one() -> None:
    (line,) = faults({"when": [{"level": "soft"}]})
    assert line.startswith("when[0]: expected at least one condition: available, swap_free, ")
    assert line.endswith(", empty_within")
    (line,) = faults({"when": [{"level": "soft", "available": "lots"}]})
    assert line.startswith("when[0].available: ")
    (line,) = faults({"when": [{"level": "soft", "cgroup": "/a"}]})
    assert line.startswith("when[0]: expected at least one condition")


@pytest.mark.parametrize("level", ["soft", "hard"])
@pytest.mark.parametrize("more", [{}, {"psi_some": "5%"}])
def test_pressure_alone_is_refused_for_a_kill(level: str, more: dict[str, str]) -> None:
    assert faults({"when": [{"level": level, "psi_full": "50%", **more}]}) == [
        "when[0]: expected more than pressure for a kill: memory, swap, refault, swap_in or reclaim"
    ]
    assert policy({"level": "warn", "psi_full": "50%", **more}).when
    assert policy({"level": level, "psi_full": "50%", "swap_used": "5%", **more}).when


def test_a_rule_reads_what_it_says() -> None:
    made = policy({
        "level": "hard", "available": "300M", "swap_free": "5%", "psi_some": "20%",
        "refault": "5M/s", "empty_within": "1500ms", "over": "3s", "for": "2s", "by": "rss",
    })  # fmt: skip
    (rule,) = made.when
    assert (rule.level, rule.over_s, rule.for_s, rule.cgroup, rule.by) == (
        "hard", 3.0, 2.0, None, "rss",
    )  # fmt: skip
    assert [(c.kind, c.threshold, c.share) for c in rule.conditions] == [
        ("available", 300 * 1024.0, False), ("swap_free", 0.05, True), ("psi_some", 0.2, False),
        ("refault", 5 * 1024.0, False), ("empty_within", 1.5, False),
    ]  # fmt: skip


def test_what_is_assumed_is_what_the_documentation_says() -> None:
    """docs/policy.md, the tables of ``[[when]]``, ``[whom]``, ``[how]`` and ``[look]``."""
    made = policy(LOW)
    assert (made.when[0].over_s, made.when[0].for_s, made.when[0].by) == (2.0, 0.0, None)
    assert made.whom == Whom()
    assert made.how == How()
    assert made.look == Polling()
    whom = made.whom
    assert (whom.by, whom.level, whom.most_processes, whom.oom_group, whom.least_kb) == (
        "freed", "process", 50, True, 1024.0,
    )  # fmt: skip
    assert (whom.growth, whom.growth_over_s, whom.work, whom.adj, whom.lasts_s) == (
        0.0, 10.0, 0.0, 0.5, 0.0,
    )  # fmt: skip
    how = made.how
    assert (how.term, how.term_wait_s, how.term_least_s, how.give_up_s) == (True, 5.0, 0.5, 10.0)
    assert (how.pause_s, how.hard_pause_s, how.together, how.most_a_minute) == (1.0, 0.2, True, 30)
    assert (how.dry_run_pause_s, how.notify, how.before, how.after) == (60.0, False, (), ())
    look = made.look
    assert (look.min_interval_s, look.max_interval_s, look.warm) == (0.05, 10.0, 0.25)
    assert (look.fill_kb_s, look.fill_cpu_kb_s, look.swap_fill_kb_s) == (
        2 * 2**20, None, 500 * 2**10,
    )  # fmt: skip


def test_least_may_be_as_long_as_most_and_no_longer() -> None:
    assert policy(look={"least": "5s", "most": "5s"}).look.min_interval_s == 5.0
    assert faults({"look": {"least": "6s", "most": "5s"}}) == [
        "look.least: expected no more than most (5 s)"
    ]


def test_preferences_have_a_factor_and_points() -> None:
    whom = policy(whom={
        "prefer": [{"comm": "a"}, {"comm": "b", "by": 1, "points": 0}],
        "avoid": [{"comm": "c"}, {"comm": "d", "by": 1000, "points": 1000}],
    }).whom  # fmt: skip
    assert [(one.factor, one.points) for one in whom.prefer] == [
        (4.0, 300.0), (1.0, 0.0), (0.25, -300.0), (0.001, -1000.0),
    ]  # fmt: skip
    for key, value, low, high in (("by", 0.9, 1, 1000), ("by", 1001, 1, 1000),
                                  ("points", -1, 0, 2000), ("points", 2001, 0, 2000)):  # fmt: skip
        (line,) = faults({"whom": {"avoid": [{"comm": "a", key: value}]}})
        assert line.startswith(f"whom.avoid[0].{key}: expected a number from {low} to {high}")


COMMAND = 'a program and its arguments such as ["/usr/bin/logger", "{comm}"]'


@pytest.mark.parametrize("value", [
    "/bin/a", [], [""], ["/bin/a", 5], ["/bin/a", "x\n"], ["a"], ["./a"],
])  # fmt: skip
def test_what_is_no_command(value: Any) -> None:
    for key in ("before", "after"):
        (line,) = faults({"how": {key: value}})
        assert line.startswith(f"how.{key}: expected {COMMAND}")
    whole = ", the program with its whole path"
    assert (whole in faults({"how": {"after": value}})[0]) == (value in (["a"], ["./a"]))


def test_a_command_in_the_place_of_a_signal() -> None:
    instead = {"comm": "web", "command": ["/bin/restart", "{unit}"]}
    (one,) = policy(how={"instead": [instead]}).how.instead
    assert one.command == ("/bin/restart", "{unit}")
    assert one.match.patterns == (("comm", ("web",)),)
    assert "how.instead[0].command" in faults({"how": {"instead": [{"comm": "web"}]}})[0]


@pytest.mark.parametrize("place", ["look", "whom", "how"])
def test_unknown_keys_are_refused_in_every_table(place: str) -> None:
    assert faults({place: {"nonsense": 1}})[0].startswith(f"{place}.nonsense: ")


@pytest.mark.parametrize(("whom", "place"), [
    ({"never": [{"comm": "a", "nonsense": 1}]}, "whom.never[0].nonsense"),
    ({"prefer": [{"comm": "a", "nonsense": 1}]}, "whom.prefer[0].nonsense"),
    ({"avoid": [{"comm": "a", "nonsense": 1}]}, "whom.avoid[0].nonsense"),
    ({"never": [{}]}, "whom.never[0]"),
])  # fmt: skip
def test_unknown_keys_and_empty_matches_are_refused(whom: dict[str, Any], place: str) -> None:
    (line,) = faults({"whom": whom})
    assert line.startswith(f"{place}: ")
    (line,) = faults({"when": [{**LOW, "nonsense": 1}]})
    assert line.startswith("when[0].nonsense: ")
    instead = {"comm": "a", "command": ["/bin/a"], "nonsense": 1}
    (line,) = faults({"how": {"instead": [instead]}})
    assert line.startswith("how.instead[0].nonsense: ")
    assert faults({"nonsense": 1})[0].startswith("nonsense: ")


@pytest.mark.parametrize(("text", "good"), [
    ("a" * 15, True), ("a" * 16, False), ("é" * 7, True), ("é" * 8, False), ("a" * 15 + "*", True),
    ("[abc]" + "a" * 14, True), ("[abc]" + "a" * 15, False), ("re:" + "a" * 20, True),
])  # fmt: skip
def test_a_name_is_no_longer_than_the_kernel_keeps(text: str, good: bool) -> None:
    raw = {"whom": {"never": [{"comm": text}]}}
    if good:
        assert policy_from({"name": "p", **raw}).whom.never
    else:
        assert faults(raw)[0].startswith("whom.never[0].comm: expected a name of at most 15 bytes")
    assert policy(whom={"never": [{"exe": text}]}).whom.never


def test_patterns_are_one_or_several() -> None:
    never = [{"exe": "a"}, {"exe": ["a", "b*"], "user": "me"}]
    assert [one.patterns for one in policy(whom={"never": never}).whom.never] == [
        (("exe", ("a",)),), (("exe", ("a", "b*")), ("user", ("me",))),
    ]  # fmt: skip
    assert "or several" in faults({"whom": {"never": [{"exe": []}]}})[0]
    assert faults({"whom": {"never": [{"exe": 5}]}})[0].startswith("whom.never[0].exe: ")


@pytest.mark.parametrize(("text", "why"), [
    ("re:(", "missing ), unterminated subpattern at position 0"),
    ("re:[[:alpha:]]*", "Possible nested set at position 1"),
    ("re:a{99999999999}", "the repetition number is too large"),
    ("re:" + "(" * 2000 + ")" * 2000, "maximum recursion depth exceeded"),
])  # fmt: skip
def test_what_is_no_regular_expression_is_one_line(text: str, why: str) -> None:
    (line,) = faults({"whom": {"never": [{"exe": text}]}})
    assert line.startswith("whom.never[0].exe: expected a regular expression after re: (")
    assert why in line


@pytest.mark.parametrize(("raw", "places"), [
    ({"whom": {"by": "reclaim"}}, []),
    ({"whom": {"by": "reclaim"}, "when": [LOW]}, ["whom.by"]),
    ({"when": [LOW, {**LOW, "by": "reclaim"}]}, ["when[1].by"]),
    ({"whom": {"by": "reclaim", "level": "cgroup"}, "when": [LOW]}, []),
    ({"whom": {"by": "reclaim"}, "when": [{**LOW, "by": "rss"}]}, []),
])  # fmt: skip
def test_reclaim_is_known_of_cgroups(raw: dict[str, Any], places: list[str]) -> None:
    if not places:
        assert policy_from({"name": "p", **raw})
        return
    expected = 'expected whom.level = "cgroup": reclaim is measured per cgroup'
    assert faults(raw) == [f"{place}: {expected}" for place in places]


def test_a_policy_needs_a_name() -> None:
    with pytest.raises(PolicyError) as caught:
        policy_from({}, source="p.toml")
    assert caught.value.lines()[0].startswith("p.toml: name: ")
