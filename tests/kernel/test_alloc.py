"""From a request for pages to ``out_of_memory()``: R1, R6, R7 and who is turned away before."""

from typing import Any

import pytest

from oomkit.kernel.alloc import alloc_pages, decide
from oomkit.kernel.decision import Decision
from oomkit.kernel.state import Allocation, Memcg, Task
from oomkit.kernel.versions import rules_for
from tests.kernel.strategies import ALL_RULES, MAINLINE, mem, snap, user, versions

HOG = user(11, 90000)
GROUP = (Memcg(path="/a", limit_pages=9000),)


def request(
    version: str, *tasks: Task, knobs: dict[str, int] | None = None, **fields: Any
) -> Decision:
    world = {key: fields.pop(key) for key in ("memory", "memcgs") if key in fields}
    fields.setdefault("pid", 10)
    snapshot = snap(*(tasks or (user(10, 300), HOG)), sysctl=knobs or {}, **world)
    return decide(snapshot, Allocation(**fields), rules_for(version))


def functions(decision: Decision) -> list[str]:
    return [step.partition(":")[0] for step in decision.trace]


MARKS: dict[str, Any] = {"min_wmark_pages": 100, "low_wmark_pages": 125, "high_wmark_pages": 150}
PAGES = [
    # free pages, order, reclaimable, is a page found
    (126, 0, 0, "fast"),
    (125, 0, 0, "slow"),
    (101, 0, 0, "slow"),
    (100, 0, 0, None),
    (100, 0, 1, "slow"),
    (0, 0, 100, None),
    (0, 0, 101, "slow"),
    (133, 3, 0, "fast"),
    (132, 3, 0, "slow"),
    (108, 3, 0, "slow"),
    (107, 3, 0, None),
    (0, 3, 107, None),
]


@pytest.mark.parametrize(("free", "order", "reclaimable", "found"), PAGES)
def test_oom_acts_only_when_no_page_is_found(
    free: int, order: int, reclaimable: int, found: str | None
) -> None:
    """R1: free - (2**order - 1) must exceed low, after reclaim min; only then somebody dies."""
    memory = mem(free_pages=free, **MARKS)
    for rules in ALL_RULES:
        snapshot = snap(user(10, 300), HOG, memory=memory)
        allocation = Allocation(pid=10, order=order)
        got = alloc_pages(snapshot, allocation, rules, reclaimable_pages=reclaimable)
        if found is None:
            assert got == decide(snapshot, allocation, rules)
            assert [victim.pid for victim in got.victims] == [11], rules.name
        else:
            assert (got.action, got.victims, got.retry) == ("none", (), True)
            entry, slow = rules.chain[0], "__alloc_pages_slowpath"
            if found == "fast":
                assert functions(got) == [entry]
            else:
                assert functions(got) == [slow if slow in rules.chain else rules.chain[-1]]


SLOW = ["__alloc_pages_slowpath", "__alloc_pages_may_oom"]
CHAINS = [
    (("2.6.11", "2.6.25"), ["__alloc_pages"]),
    (("2.6.26", "2.6.30"), ["__alloc_pages", "__alloc_pages_internal"]),
    (("2.6.31", "5.12"), ["__alloc_pages_nodemask", *SLOW]),
    (("5.13", "6.9"), ["__alloc_pages", *SLOW]),
    (("6.10", "6.13"), ["__alloc_pages_noprof", *SLOW]),
    (("6.14", "6.18"), ["__alloc_frozen_pages_noprof", *SLOW]),
]


@pytest.mark.parametrize(("span", "chain"), CHAINS)
def test_call_chain(span: tuple[str, str], chain: list[str]) -> None:
    """R6: the functions from the request to out_of_memory(), under the version's names."""
    for version in versions(*span):
        decision = request(version)
        assert functions(decision)[: len(chain)] == chain, version
        after = functions(decision)[len(chain)]
        assert after in {"constrained_alloc", "select_bad_process"}


def test_call_chain_of_2_6_32() -> None:
    """R6: the chain that the founding document names, but for the __alloc_pages wrapper.

    2.6.32 has __alloc_pages as an inline of include/linux/gfp.h that calls _nodemask.
    """
    trace = functions(request("2.6.32"))
    assert trace[:3] == ["__alloc_pages_nodemask", *SLOW]
    last = request("2.6.32").trace[2]
    assert last.endswith("calls out_of_memory")


DISABLED = {"oom_killer_disabled": 1}


@pytest.mark.parametrize("rules", ALL_RULES, ids=lambda rules: rules.name)
def test_oom_killer_disabled(rules: Any) -> None:
    """R7: when set, nobody is killed and the request fails; 0 is the default."""
    snapshot = snap(user(10, 300), HOG, sysctl=DISABLED)
    decision = decide(snapshot, Allocation(pid=10), rules)
    assert (decision.action, decision.victims, decision.retry) == ("none", (), False)
    assert any("oom_killer_disabled" in step for step in decision.trace)
    assert decide(snap(user(10, 300), HOG), Allocation(pid=10), rules).action == "kill"


@pytest.mark.parametrize("version", MAINLINE)
def test_where_oom_killer_disabled_is_looked_at(version: str) -> None:
    """R7: the slow path to 3.18, may_oom in 3.19, out_of_memory() itself from 4.0 on."""
    decision = request(version, knobs=DISABLED)
    last = functions(decision)[-1]
    if version in versions("4.0", "6.18"):
        assert last == "out_of_memory"
    elif version == "3.19":
        assert last == "__alloc_pages_may_oom"
    elif version in versions("2.6.31", "3.18"):
        assert last == "__alloc_pages_slowpath"
    by_hand = request(version, sysrq=True, knobs=DISABLED)
    assert (by_hand.action == "none") == (version in versions("4.0", "6.18"))


@pytest.mark.parametrize("version", MAINLINE)
def test_oom_killer_disabled_goes_before_a_panic(version: str) -> None:
    """R7: a disabled killer does not panic either."""
    decision = request(version, knobs={**DISABLED, "panic_on_oom": 2})
    assert decision.action == "none"


TURNED_AWAY = [
    # request, versions in which it kills nobody
    ({"order": 4}, ("2.6.23", "6.18")),
    ({"low_zone": True}, ("2.6.36", "6.18")),
    ({"gfp_thisnode": True}, ("2.6.33", "6.18")),
    ({"gfp_retry_mayfail": True}, ("4.13", "6.18")),
    ({"gfp_noretry": True}, ("2.6.11", "6.18")),
    ({"order": 3}, None),
    ({"gfp_nofail": True}, None),
]


@pytest.mark.parametrize(("fields", "span"), TURNED_AWAY)
def test_who_is_turned_away(fields: dict[str, Any], span: tuple[str, str] | None) -> None:
    """R1: requests that no kill would help, or that may fail, never kill."""
    for version in MAINLINE:
        decision = request(version, **fields)
        away = span is not None and version in versions(*span)
        assert (decision.action == "none") == away, version
        if away:
            assert decision.victims == ()
            assert functions(decision)[-1] != "out_of_memory"


@pytest.mark.parametrize("version", MAINLINE)
def test_an_asker_that_dumps_core(version: str) -> None:
    """R1: from 3.4 on a core dump never kills."""
    decision = request(version, user(10, 300, coredump=True), HOG)
    assert (decision.action == "none") == (version in versions("3.4", "6.18"))


RETRIES = [
    # request, versions and whether it is tried again
    ({"order": 4}, ("2.6.23", "6.18"), False),
    ({"low_zone": True}, ("2.6.36", "4.6"), True),
    ({"low_zone": True}, ("4.7", "6.18"), False),
    ({"gfp_noretry": True}, ("2.6.11", "6.18"), False),
    ({"gfp_retry_mayfail": True}, ("4.13", "6.18"), False),
    ({"order": 4, "gfp_fs": False}, ("2.6.11", "3.18"), False),
    ({"order": 4, "gfp_fs": False, "gfp_nofail": True}, ("2.6.11", "3.18"), True),
    ({"order": 4, "gfp_nofail": True}, ("4.7", "6.18"), True),
]


@pytest.mark.parametrize(("fields", "span", "again"), RETRIES)
def test_what_becomes_of_who_is_turned_away(
    fields: dict[str, Any], span: tuple[str, str], again: bool
) -> None:
    """R1: small requests are tried for ever up to 4.6; large ones fail, NOFAIL never does."""
    for version in versions(*span):
        decision = request(version, **fields)
        assert decision.action == "none", version
        assert decision.retry == again, version


NOFAIL = [
    ({"order": 4}, ("2.6.31", "4.6")),
    ({"order": 4, "gfp_retry_mayfail": True}, ("2.6.31", "4.10")),
    ({"low_zone": True}, ("2.6.36", "4.10")),
    ({"gfp_thisnode": True}, ("2.6.33", "4.10")),
]


@pytest.mark.parametrize(("fields", "span"), NOFAIL)
def test_nofail_kills_all_the_same(fields: dict[str, Any], span: tuple[str, str]) -> None:
    """R1: __GFP_NOFAIL overrode the exceptions from 2.6.31 to 4.10 (orders > 3 to 4.6)."""
    for version in MAINLINE:
        decision = request(version, gfp_nofail=True, **fields)
        if version in versions(*span):
            assert decision.action == "kill", version
        elif version in versions("4.11", "6.18"):
            assert (decision.action, decision.retry) == ("none", True), version


CHARGE = [
    (("2.6.25", "2.6.28"), ["mem_cgroup_charge_common"]),
    (("2.6.29", "3.11"), ["__mem_cgroup_try_charge"]),
    (("3.19", "4.8"), ["try_charge", "mem_cgroup_oom_synchronize", "mem_cgroup_oom"]),
    (
        ("4.19", "5.13"),
        ["try_charge", "mem_cgroup_oom", "mem_cgroup_out_of_memory"],
    ),
    (
        ("5.15", "6.18"),
        ["try_charge_memcg", "mem_cgroup_oom", "mem_cgroup_out_of_memory"],
    ),
]


@pytest.mark.parametrize(("span", "chain"), CHARGE)
def test_chain_of_a_charge(span: tuple[str, str], chain: list[str]) -> None:
    """R6: the functions from a charge to the memory cgroup's OOM."""
    tasks = (user(10, 300, cgroup="/a"), user(11, 9000, cgroup="/a"))
    for version in versions(*span):
        decision = request(version, *tasks, memcg="/a", memcgs=GROUP)
        assert [victim.pid for victim in decision.victims] == [11]
        assert set(chain) <= set(functions(decision)), version
        assert functions(decision)[0] == chain[0]


@pytest.mark.parametrize("version", versions("2.6.25", "6.18"))
def test_charges_that_do_not_kill(version: str) -> None:
    """R1: a system call's charge only failed in 3.12-4.18; costly orders fail from 4.17 on."""
    tasks = (user(10, 300, cgroup="/a"), user(11, 9000, cgroup="/a"))
    how: dict[str, Any] = {"memcg": "/a", "memcgs": GROUP}
    from_call = request(version, *tasks, user_fault=False, **how)
    failed = version in versions("3.12", "4.18")
    assert (from_call.action == "none") == failed
    assert from_call.retry != failed
    noretry = request(version, *tasks, gfp_noretry=True, **how)
    assert (noretry.action, noretry.retry) == ("none", False)
    if version in versions("4.19", "6.18"):
        costly = request(version, *tasks, order=4, **how)
        assert (costly.action, costly.retry) == ("none", False)
    elif version in versions("2.6.25", "4.16"):
        assert request(version, *tasks, order=4, **how).action == "kill"


@pytest.mark.parametrize("version", versions("2.6.34", "6.18"))
def test_oom_kill_disable_of_a_v1_cgroup(version: str) -> None:
    """R7: memory.oom_control: nobody is killed, a page fault's asker sleeps."""
    tasks = (user(10, 300, cgroup="/a"), user(11, 9000, cgroup="/a"))
    memcgs = (Memcg(path="/a", version=1, limit_pages=9000, oom_kill_disable=True),)
    decision = request(version, *tasks, memcg="/a", memcgs=memcgs)
    assert (decision.action, decision.retry) == ("none", True)


@pytest.mark.parametrize("version", versions("2.6.25", "6.18"))
def test_oom_killer_disabled_and_memory_cgroups(version: str) -> None:
    """R7: up to 3.19 a memory cgroup kills even so: its path does not look."""
    tasks = (user(10, 300, cgroup="/a"), user(11, 9000, cgroup="/a"))
    decision = request(version, *tasks, memcg="/a", memcgs=GROUP, knobs=DISABLED)
    assert (decision.action == "none") == (version in versions("4.0", "6.18"))


def test_decision_is_the_same_every_time() -> None:
    """R1: a decision depends on nothing but its record."""
    first = request("6.18")
    assert all(request("6.18") == first for _ in range(3))
