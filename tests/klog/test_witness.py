"""What the lines around one that tells of a death add to it, each as far as it reaches."""

from typing import Any

import pytest

from oomkit.klog import read_evidence
from oomkit.klog.evidence import Evidence

OTHER = "Jan  4 10:00:00 pc sshd[77]: ok"
ID = "ab" * 32
REASON = "      Reason:       OOMKilled"
STATUS = "container exited with code 137"
FIELD = "      Exit Code:    137"
SYSTEMD = "Jan  4 10:00:00 pc systemd[1]: "
NOHANG = "Jan  4 10:00:00 pc nohang[7]: "


def said(*lines: str) -> list[Evidence]:
    return list(read_evidence("".join(f"{line}\n" for line in lines).encode(), "x.log"))


def told(item: Evidence, *names: str) -> tuple[Any, ...]:
    return tuple(getattr(item, name) for name in names)


def kinds(*lines: str) -> list[str]:
    return [item.kind for item in said(*lines)]


# -- a status and a reason -----------------------------------------------------------------------


@pytest.mark.parametrize(("between", "one"), [(0, True), (3, True), (4, False)])
def test_a_status_below_a_reason_is_the_same_death(between: int, one: bool) -> None:
    found = kinds(REASON, *["words"] * between, STATUS)
    assert found == (["notice"] if one else ["notice", "sigkill"])


def test_a_status_that_names_its_process_or_container_is_another() -> None:
    assert kinds(REASON, "process 7 exited with code 137") in (["notice"], ["notice", "sigkill"])
    shell = "/var/spool/x: line 3: 31337 Killed                  ./db -x"
    assert kinds(REASON, shell) == ["notice", "sigkill"]
    assert kinds(STATUS, STATUS) == ["sigkill", "sigkill"]


@pytest.mark.parametrize(("between", "one"), [(0, True), (3, True), (4, False)])
def test_a_field_with_the_status_above_a_reason_is_the_same_death(between: int, one: bool) -> None:
    found = said(FIELD, *["words"] * between, REASON)
    assert [told(item, "kind", "exit_code") for item in found] == (
        [("notice", 137)] if one else [("sigkill", None), ("notice", None)]
    )


def test_a_sentence_with_the_status_above_a_reason_stays() -> None:
    found = said(STATUS, REASON)
    assert [told(item, "kind", "exit_code") for item in found] == [
        ("sigkill", None), ("notice", None)]  # fmt: skip


@pytest.mark.parametrize(("code", "known"), [("137", 137), ("1370", 1370), ("13700", None)])
def test_an_exit_status_has_at_most_four_digits(code: str, known: int | None) -> None:
    (found,) = said(REASON, f"      Exit Code:    {code}")
    assert found.exit_code == known
    (json,) = said('        "reason": "OOMKilled",', f'        "exitCode": {code},')
    assert json.exit_code == known


def test_fields_below_a_reason_are_of_the_kubelet_alone() -> None:
    (found,) = said(REASON, "    Limits:", "      memory:  64Mi", "    Requests:",
                    "      memory:  32Mi", "      cpu:  1")  # fmt: skip
    assert told(found, "limit_kb", "request_kb") == (65_536, 32_768)
    (bare,) = said(REASON, "      memory:  64Mi")
    assert told(bare, "limit_kb", "request_kb") == (None, None)
    first, second = said(REASON, "    Limits:", REASON, "      memory:  64Mi")
    assert (first.limit_kb, second.limit_kb) == (None, None)


# -- a function ----------------------------------------------------------------------------------

DIED = "RequestId: 1 Error: Runtime exited with error: signal: killed"
FULL = "REPORT RequestId: 1 Memory Size: 128 MB Max Memory Used: 128 MB"


@pytest.mark.parametrize(("between", "one"), [(0, True), (30, True), (31, False)])
def test_a_function_that_used_all_it_had(between: int, one: bool) -> None:
    found = kinds(DIED, *["words"] * between, FULL)
    assert found == (["notice"] if one else ["sigkill", "pressure"])


def test_what_a_function_used_is_no_other_death() -> None:
    assert kinds(REASON, FULL) == ["notice", "pressure"]
    assert kinds(FULL, DIED) == ["pressure", "sigkill"]


# -- a pod ---------------------------------------------------------------------------------------


def test_an_event_names_its_pod_and_node() -> None:
    text = "INFO: event for web-1: {kubelet n1} Evicted: The node was low on resource: memory."
    (found,) = said("Pod: other", "Node:  n2/10.0.0.2", text)
    assert told(found, "pod", "node") == ("web-1", "n1")


@pytest.mark.parametrize(("digits", "count"), [("7", 7), ("123456789", 123_456_789),
                                               ("1234567891", 123_456_789)])  # fmt: skip
def test_how_often_an_event_came(digits: str, count: int) -> None:
    row = f"Warning  Evicted  2m (x{digits} over 5m)  kubelet, n1  low on resource: memory."
    (found,) = said(row.replace("low on", "The node was low on"))
    assert told(found, "count", "node") == (count, "n1")


def test_names_above_are_of_a_pod() -> None:
    above = ("Name:         web", "Namespace:    shop", "Node:         n1/10.0.0.1", "  app:")
    (found,) = said(*above, REASON)
    assert told(found, "pod", "namespace", "node", "container_name") == ("web", "shop", "n1", "app")
    # Without its name none of them is known to be of it.
    (nameless,) = said(*above[1:3], REASON)
    assert told(nameless, "pod", "namespace", "node") == (None, None, None)
    # A row that names its pod is of that one.
    row = "2m  Warning  OOMKilling  pod/other  Container app was OOMKilled"
    found_in_row = said(*above, row)
    assert [told(item, "pod", "namespace", "node") for item in found_in_row] == [
        ("other", None, None)]  # fmt: skip


def test_the_command_whose_answer_follows_names_the_pod() -> None:
    for command in ("kubectl describe pod web", "$ kubectl describe pod -n shop web"):
        (found,) = said(command, REASON)
        assert found.pod == "web"
    (other,) = said("kubectl get pod web", REASON)
    assert other.pod is None


@pytest.mark.parametrize(("between", "known"), [(59, True), (60, False)])
def test_the_container_of_a_description_stands_within_60_lines(between: int, known: bool) -> None:
    (found,) = said("Name:         web", "  app:", *["words"] * between, REASON)
    assert told(found, "pod", "container_name") == ("web", "app" if known else None)


@pytest.mark.parametrize(("between", "known"), [(7, True), (8, False)])
def test_a_status_by_itself_is_of_the_container_named_near(between: int, known: bool) -> None:
    (found,) = said(f'"containerID": "docker://{ID}",', *["words"] * between, '"exitCode": 137,')
    assert found.container == (ID if known else None)


def test_docker_names_a_container_by_its_id() -> None:
    inspected = (f'        "Id": "{ID}",', '        "Name": "/cache",',
                 '            "OOMKilled": true,')  # fmt: skip
    far = ["words"] * 100
    for lines in (inspected, (*inspected[:2], *far, inspected[2])):
        (found,) = said(*lines)
        assert told(found, "by", "container", "container_name") == ("docker", ID, "cache")
    (alone,) = said(inspected[2])
    assert told(alone, "container", "container_name") == (None, None)


# -- the kubelet, systemd, nohang ----------------------------------------------------------------

EVICTED = '"Eviction manager: pod is evicted successfully" pod="shop/cart-1"'
RECLAIM = '"Eviction manager: attempting to reclaim" resourceName="{}"'
KUBELET = "Sep 03 12:00:01 n1 kubelet[1]: "


@pytest.mark.parametrize(("between", "known"), [(239, True), (240, False)])
def test_what_ran_short_is_said_before_the_pod(between: int, known: bool) -> None:
    lines = [KUBELET + RECLAIM.format("memory"), *[OTHER] * between, KUBELET + EVICTED]
    found = [item for item in said(*lines) if item.kind == "eviction" and item.pod]
    assert [item.reason for item in found] == ["memory" if known else None]
    last = said(KUBELET + RECLAIM.format("memory"), KUBELET + RECLAIM.format("nodefs"),
                KUBELET + EVICTED)[-1]  # fmt: skip
    assert last.reason == "nodefs"


def test_a_unit_is_named_above_what_its_status_says() -> None:
    active = "     Active: failed (Result: oom-kill) since Sat 2024-06-01 10:00:00 UTC; 5min ago"
    heads = ("● db.service - a", "○ db.service - a", "* db.service", "Id=db.service",
             "\N{MULTIPLICATION SIGN} db.service - a")  # fmt: skip
    for head in heads:
        (found,) = said(head, active)
        assert found.unit == "db.service"
    (bare,) = said(active)
    assert bare.unit is None
    failed = f"{SYSTEMD}web.service: Failed with result 'oom-kill'."
    (own,) = said("● db.service - a", failed)
    assert own.unit == "web.service"


def test_what_a_unit_held_is_its_own() -> None:
    failed = f"{SYSTEMD}db.service: Failed with result 'oom-kill'."
    peak = f"{SYSTEMD}db.service: Consumed 1.2s CPU time, 5.0G memory peak."
    found = said(failed, peak.replace("db.", "web."), peak)
    assert [item.used_kb for item in found] == [5 << 20]


@pytest.mark.parametrize(("between", "known"), [(0, True), (59, True), (60, False)])
def test_nohangs_victim_may_be_a_cgroup(between: int, known: bool) -> None:
    cgroup = f"{NOHANG}CGroup_v2: /user.slice/a.scope"
    (found,) = said(cgroup, *[OTHER] * between, f"{NOHANG}Sending SIGTERM to the victim")
    assert told(found, "pid", "cgroup") == (None, "/user.slice/a.scope" if known else None)
    victim = f"{NOHANG}PID: 77, Name: db, eUID: 1"
    (named,) = said(cgroup, victim, *[OTHER] * between, f"{NOHANG}Sending SIGTERM to the victim")
    assert named.pid == (77 if known else None)


def test_numbers_of_nohangs_victim_have_fewer_than_ten_digits() -> None:
    for pid, known in (("999999999", 999_999_999), ("1000000000", None)):
        victim = f"{NOHANG}PID: {pid}, Name: db, eUID: 1"
        (found,) = said(victim, f"{NOHANG}Sending SIGTERM to the victim")
        assert found.pid == known


# -- systemd-oomd --------------------------------------------------------------------------------

OOMD = "Jan  4 10:00:00 pc systemd-oomd[70]: "


def test_the_pressure_that_its_own_line_names_counts() -> None:
    pressure = (f"{OOMD}Memory pressure for /jobs.slice is 74.23% > 20.00% for > 2s with reclaim "
                "activity")  # fmt: skip
    own = (f"{OOMD}Killed /a.slice/b.service due to memory pressure for /a.slice being 61.00% > "
           "50.00% for > 20s with reclaim activity")  # fmt: skip
    (found,) = said(pressure, own)
    assert found.reason is not None
    assert "/a.slice being 61.00%" in found.reason
    short = pressure.replace(" for > 2s with reclaim activity", "")
    (bare,) = said(short, f"{OOMD}oomd attempting to kill 63 with KILL")
    assert bare.reason == "memory pressure for /jobs.slice being 74.23% > 20.00%"


def test_usage_without_a_path_is_no_candidates() -> None:
    killed = f"{OOMD}Killed /a.slice/b.service due to memory used (total) being high"
    (found,) = said(f"{OOMD}Current Memory Usage: 5.0M", killed)
    assert found.used_kb is None
    lines = [f"{OOMD}Path: /a.slice/b.service", f"{OOMD}Current Memory Usage: 5.0M"]
    far = said(*lines, *[OTHER] * 300, killed)
    assert [item.used_kb for item in far] == [5120]
