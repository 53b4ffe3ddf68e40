"""The kubelet's arithmetic: values worked out by hand from its source, and from its own tests."""

import contextlib

import pytest
from hypothesis import given
from hypothesis import strategies as st

from oomkit.kubernetes import rules
from oomkit.kubernetes.documents import cpus, memory
from oomkit.kubernetes.rules import NODE_CRITICAL, Container, Kubelet, Pod, Resources

MIB, GIB = 2**20, 2**30


def container(
    request: int | None = None,
    limit: int | None = None,
    *,
    kind: str = "main",
    cpu: int | None = None,
) -> Container:
    resources = Resources(
        request_bytes=limit if request is None else request,
        limit_bytes=limit, request_mcpu=cpu, limit_mcpu=cpu,
    )  # fmt: skip
    return Container(name=f"{kind}{request}", resources=resources, kind=kind)  # type: ignore[arg-type]  # any field


def pod(*containers: Container, **fields: object) -> Pod:
    return Pod(name="p", containers=containers, **fields)  # type: ignore[arg-type]  # any field


@pytest.mark.parametrize(
    ("text", "size"),
    [
        ("512Mi", 512 * MIB), ("1Gi", GIB), ("1G", 10**9), ("1.5Gi", 3 * GIB // 2),
        ("128974848", 128974848),
        ("129e6", 129_000_000), ("129M", 129_000_000), ("400m", 1), ("0", 0),
        (2048, 2048), ("1E", 10**18),
        ("9Ei", 2**63 - 1), (".5Gi", GIB // 2), ("1.Ki", 1024), ("1500u", 1),
    ],
)  # fmt: skip
def test_quantities_of_memory(text: object, size: int) -> None:
    """As apimachinery reads them, rounded up to whole bytes."""
    assert memory(text) == size


@pytest.mark.parametrize(
    "text",
    ["1Gb", "1GB", "1 Gi", "", "Mi", "1gi", "-1Gi", "1e", "0x10", None, True, [], "1_000",
     "\u0661Gi", "1" * 50],
)  # fmt: skip
def test_what_is_no_quantity_of_memory(text: object) -> None:
    with pytest.raises(ValueError, match="a quantity of memory such as"):
        memory(text)


def test_cpus_are_thousandths() -> None:
    assert [cpus(one) for one in ("500m", "2", 0.1, "1e-3", "100u")] == [500, 2000, 100, 1, 1]


@given(st.one_of(st.text(max_size=12), st.integers(), st.floats(), st.none(), st.booleans()))
def test_any_value_is_a_quantity_or_refused(value: object) -> None:
    with contextlib.suppress(ValueError):
        assert 0 <= memory(value) <= 2**63 - 1


@pytest.mark.parametrize(
    ("containers", "qos"),
    [
        ([container()], "BestEffort"),
        ([container(GIB, GIB, cpu=1000)], "Guaranteed"),
        ([container(GIB, GIB)], "Burstable"),  # no CPU limit
        ([container(MIB, GIB, cpu=1000)], "Burstable"),
        ([container(GIB, GIB, cpu=1000), container()], "Burstable"),
        ([container(kind="init"), container(GIB, GIB, cpu=1000)], "Burstable"),
        ([container(GIB, GIB, cpu=1, kind="sidecar"), container(GIB, GIB, cpu=5)], "Guaranteed"),
        ([container(0, None)], "BestEffort"),
    ],
)  # fmt: skip
def test_classes(containers: list[Container], qos: str) -> None:
    assert pod(*containers).qos == qos


def test_a_pod_of_its_own_resources_has_their_class() -> None:
    whole = Resources(
        request_bytes=GIB, limit_bytes=GIB, request_mcpu=1000, limit_mcpu=1000
    )  # fmt: skip
    assert pod(container(), resources=whole).qos == "Guaranteed"


@pytest.mark.parametrize(
    ("request_bytes", "capacity", "adj"),
    [
        # Of pkg/kubelet/qos/policy_test.go: bounds there are 3 to 999.
        (8_000_000_000, 8_000_000_000, 3),
        (1000, 8_000_000_000, 999),
        (4_000_000_000, 8_000_000_000, 500),
        (GIB, 16 * GIB, 938),  # 1000 - floor(62.5)
        (200 * MIB, 16 * GIB, 988),
        (0, 16 * GIB, 999),
    ],
)
def test_adjustment_of_burstable_containers(request_bytes: int, capacity: int, adj: int) -> None:
    one = container(request_bytes, 32 * GIB)
    assert rules.oom_score_adj(pod(one), one, capacity) == adj


def test_adjustment_of_the_other_classes() -> None:
    kept, least, urgent = container(GIB, GIB, cpu=1), container(), container(MIB, GIB)
    assert rules.oom_score_adj(pod(kept), kept, 16 * GIB) == -997
    assert rules.oom_score_adj(pod(least), least, 16 * GIB) == 1000
    assert rules.oom_score_adj(pod(urgent, priority=NODE_CRITICAL), urgent, 16 * GIB) == -997


def test_a_sidecar_dies_no_sooner_than_the_least_of_its_pod() -> None:
    """Pull request 128029: the larger of its request and the smallest of the regular ones."""
    side, small, large = (
        container(0, GIB, kind="sidecar"),
        container(GIB, 2 * GIB),
        container(4 * GIB),
    )
    whole = pod(side, small, large)
    assert rules.oom_score_adj(whole, side, 16 * GIB, (1, 32)) == 938
    assert rules.oom_score_adj(whole, side, 16 * GIB, (1, 31)) == 999
    init = container(0, GIB, kind="init")
    assert rules.oom_score_adj(pod(init, small), init, 16 * GIB, (1, 34)) == 999


def test_requests_of_the_pod_are_shared_out_among_its_containers() -> None:
    """KEP 2837: what no container requests counts for each of them alike."""
    one, other = container(GIB), container()
    whole = pod(one, other, resources=Resources(request_bytes=5 * GIB, limit_bytes=8 * GIB))
    assert rules.oom_score_adj(whole, one, 16 * GIB, (1, 34)) == 1000 - 1000 * 3 // 16
    assert rules.oom_score_adj(whole, other, 16 * GIB, (1, 34)) == 1000 - 1000 * 2 // 16
    assert rules.oom_score_adj(whole, other, 16 * GIB, (1, 33)) == 999


def test_a_pod_requests_what_runs_together_or_the_largest_init_container() -> None:
    """KEP 753: sidecars that started before an init container run beside it."""
    init, side, main = (
        container(n * GIB, n * GIB, kind=k) for n, k in ((4, "init"), (1, "sidecar"), (2, "main"))
    )
    assert pod(init, side, main).request_bytes == 4 * GIB
    assert pod(side, init, main).request_bytes == 5 * GIB
    assert pod(side, main, overhead_bytes=MIB).limit_bytes == 3 * GIB + MIB
    assert pod(side, main, container(GIB)).limit_bytes is None


@pytest.mark.parametrize(
    ("fields", "kills"),
    [
        ({}, True),
        ({"version": (1, 27)}, False),
        ({"version": (1, 28)}, True),
        ({"cgroup_version": 1}, False),
        ({"single_process_oom_kill": True}, False),
        ({"single_process_oom_kill": True, "version": (1, 31)}, True),
        ({"single_process_oom_kill": False}, True),
    ],
)  # fmt: skip
def test_whole_containers_die_by_version_and_setting(
    fields: dict[str, object], kills: bool
) -> None:
    assert Kubelet(**fields).kills_groups is kills  # type: ignore[arg-type]  # any field


def test_memory_high_of_memory_qos() -> None:
    """KEP 2570: request + 0.9 x (limit - request), in whole pages; without a limit, allocatable."""
    kubelet = Kubelet(memory_qos=True)
    assert rules.memory_high(container(100 * MIB, 200 * MIB), kubelet, 8 * GIB) == 190 * MIB
    assert rules.memory_high(container(GIB), kubelet, 8 * GIB) == int(7.3 * GIB) // 4096 * 4096
    assert rules.memory_high(container(GIB, GIB), kubelet, 8 * GIB) is None
    assert rules.memory_high(container(), kubelet, 8 * GIB) is None
    assert rules.memory_high(container(MIB, GIB), Kubelet(), 8 * GIB) is None
    latest = Kubelet(memory_qos=True, version=(1, 37))
    assert rules.memory_high(container(MIB, GIB), latest, 8 * GIB) is None
    given = Kubelet(memory_qos=True, version=(1, 37), throttling_factor=0.5)
    assert rules.memory_high(container(0, GIB), given, 8 * GIB) == GIB // 2


def test_what_memory_qos_keeps() -> None:
    assert rules.memory_protection(GIB, "Burstable", Kubelet(memory_qos=True)) == (GIB, 0)
    assert rules.memory_protection(GIB, "Burstable", Kubelet()) == (0, 0)
    late = Kubelet(memory_qos=True, version=(1, 36))
    assert rules.memory_protection(GIB, "Burstable", late) == (0, 0)
    tiered = Kubelet(memory_qos=True, version=(1, 36), tiered_reservation=True)
    assert rules.memory_protection(GIB, "Burstable", tiered) == (0, GIB)
    assert rules.memory_protection(GIB, "Guaranteed", tiered) == (GIB, 0)


def test_limited_swap_is_shared_out_by_request() -> None:
    """KEP 2400: burstable containers alone, in proportion to their request."""
    limited = Kubelet(limited_swap=True)
    one = container(GIB, 2 * GIB)
    assert rules.swap_max(pod(one), one, limited, 16 * GIB, 8 * GIB) == GIB // 2
    assert rules.swap_max(pod(one), one, Kubelet(), 16 * GIB, 8 * GIB) == 0
    same = container(GIB, GIB)
    assert rules.swap_max(pod(same), same, limited, 16 * GIB, 8 * GIB) == 0
    kept = container(GIB, GIB, cpu=1)
    assert rules.swap_max(pod(kept), kept, limited, 16 * GIB, 8 * GIB) == 0
    assert rules.swap_max(pod(one, priority=2 * 10**9), one, limited, 16 * GIB, 8 * GIB) == 0
