"""Where two records part: who died, in which order, when, and how far the curves are apart."""

import msgspec
import pytest

from oomkit.agree import summarise
from oomkit.agree.compare import compare, compare_order, first_kill_s, overlap
from oomkit.scenario import Denied, Kill, Run, Samples, TaskSamples
from oomkit.scenario.record import Freeze, Outcome
from oomkit.views import agree_text
from tests.views.runs import kill, scenario


def dead(*names: str, tied: dict[str, tuple[str, ...]] | None = None) -> tuple[Kill, ...]:
    return tuple(
        kill(t_s=10.0 + i, task=name[:-1], instance=int(name[-1]),
             tied_with=tuple(f"{t[:-1]}/{t[-1]}" for t in (tied or {}).get(name, ())))
        for i, name in enumerate(names)
    )  # fmt: skip


def record(
    kills: tuple[Kill, ...] = (),
    *,
    on: str = "qemu",
    outcome: Outcome = "completed",
    available: tuple[float, ...] = (100.0, 50.0, 0.0),
    swap: tuple[float, ...] = (256.0, 256.0, 0.0),
    denied: tuple[Denied, ...] = (),
) -> Run:
    count = len(available)
    nothing = [0.0] * count
    return Run(
        scenario="x",
        on=on,
        kernel="6.12",
        outcome=outcome,
        ended_s=30.0,
        kills=kills,
        denied=denied,
        samples=Samples(
            t_s=[float(i) for i in range(count)],
            free_mb=list(available),
            available_mb=list(available),
            cached_mb=nothing,
            swap_free_mb=list(swap),
            psi_some_avg10=nothing,
            psi_full_avg10=nothing,
            cpu_busy=nothing,
            tasks={"hog/0": TaskSamples(rss_mb=nothing, swap_mb=nothing, progress=nothing)},
        ),
    )


@pytest.mark.parametrize(
    ("real", "model", "said"),
    [
        (dead("a0", "b0"), dead("a0", "b0"), "same"),
        ((), (), "same"),
        (dead("a0", "b0"), dead("b0", "a0"), "differs"),
        (dead("a0"), dead("a0", "b0"), "differs"),
        (dead("a0"), (), "differs"),
    ],
)
def test_order_of_those_that_differ(
    real: tuple[Kill, ...], model: tuple[Kill, ...], said: str
) -> None:
    assert compare_order(real, model) == said


def test_equals_may_change_places_and_keep_them() -> None:
    every = ("t0", "t1", "t2")
    tied = {name: tuple(other for other in every if other != name) for name in every}
    model = dead("t0", "t1", "t2", "z0", tied=tied)
    assert compare_order(dead("t2", "t0", "t1", "z0"), model) == "tie"
    assert compare_order(dead("t1", "t0", "t2", "z0"), model) == "tie"
    # Who was no equal does not become one.
    assert compare_order(dead("z0", "t0", "t1", "t2"), model) == "differs"


def test_a_tie_that_only_the_real_kernel_saw_counts_as_well() -> None:
    real = dead("a0", "b0", tied={"a0": ("b0",), "b0": ("a0",)})
    assert compare_order(real, dead("b0", "a0")) == "tie"


def test_a_panic_has_a_time_like_a_kill() -> None:
    assert first_kill_s(record(outcome="panicked")) == 30.0
    assert first_kill_s(record()) is None
    assert first_kill_s(record(dead("a0"))) == 10.0


def test_curves_are_compared_at_the_real_samples_as_a_share_of_ram() -> None:
    asked = scenario()
    ram_mb = asked.machine.ram_bytes / 2**20
    real = record(available=(100.0, 60.0, 30.0), swap=(256.0, 200.0, 100.0))
    found = compare("f", asked, real, record())
    assert (found.curve, found.curve_error) == ("available", round(10.0 / ram_mb, 4))
    assert found.swap_error == round(56.0 / ram_mb, 4)


def test_curves_are_compared_while_both_run() -> None:
    real = record(available=(100.0, 50.0, 0.0, 500.0, 500.0, 500.0, 500.0, 500.0), swap=(0.0,) * 8)
    assert compare("f", scenario(), real, record()).curve_error == 0.0


def test_a_cgroup_is_compared_by_what_is_left_of_its_limit() -> None:
    real = record(on="cgroup", available=(100.0, 70.0, 20.0))
    real = msgspec.structs.replace(
        real, samples=msgspec.structs.replace(real.samples, available_mb=[0.0, 0.0, 0.0])
    )
    found = compare("f", scenario(), real, record())
    assert (found.curve, found.curve_error) == ("free", round(20.0 / 1024, 4))


def test_refused_requests_belong_to_the_outcome() -> None:
    refused = Denied(t_s=1.0, task="a", instance=0, call="mmap", mb=10.0, limit="CommitLimit")
    found = compare("f", scenario(), record(denied=(refused,)), record())
    assert not found.same_outcome
    assert found.denied == ("a: mmap",)
    later = msgspec.structs.replace(refused, t_s=2.0)
    both = compare("f", scenario(), record(denied=(refused,)), record(denied=(later,)))
    assert both.same_outcome


@pytest.mark.parametrize(
    ("real_s", "good"), [(10.0, True), (12.9, True), (13.1, False), (7.6, False)]
)
def test_the_first_kill_may_be_a_little_off(real_s: float, *, good: bool) -> None:
    real = record((kill(t_s=real_s, task="a"),))
    assert compare("f", scenario(), real, record(dead("a0"))).in_time is good


def test_a_kill_on_one_side_alone_is_not_in_time() -> None:
    found = compare("f", scenario(), record(dead("a0")), record())
    assert not found.in_time
    assert found.ratio is None
    assert found.first == "differs"


@pytest.mark.parametrize(
    ("real", "model", "share"),
    [
        ((), (), None),
        (((2.0, 4.0),), ((2.0, 4.0),), 1.0),
        (((2.0, 4.0),), (), 0.0),
        (((2.0, 4.0),), ((3.0, 5.0),), 0.3333),
        (((0.0, 1.0), (2.0, 4.0)), ((0.5, 3.0),), 0.375),
        (((2.0, 4.0),), ((5.0, 6.0),), 0.0),
    ],
)
def test_frozen_spans_overlap_by_intersection_over_union(
    real: tuple[tuple[float, float], ...],
    model: tuple[tuple[float, float], ...],
    share: float | None,
) -> None:
    assert overlap(real, model) == overlap(model, real) == share


def test_freezes_of_both_are_shown_beside_each_other() -> None:
    frozen = msgspec.structs.replace(record(), frozen=(Freeze(from_s=2.0, to_s=4.0),))
    late = msgspec.structs.replace(
        record(on="model"), frozen=(Freeze(from_s=3.0, to_s=5.0), Freeze(from_s=8.0, to_s=9.25))
    )
    found = compare("x.toml", scenario(), frozen, late)
    assert found.overlap == pytest.approx(1 / 4.25, abs=1e-4)
    line = next(line for line in agree_text.verdict(found) if line.startswith("frozen"))
    assert line == "frozen (s), real / model: 2.0-4.0 / 3.0-5.0, 8.0-9.2; overlap 0.24"
    (summary,) = summarise([found, compare("y.toml", scenario(), record(), record(on="model"))])
    assert (summary.frozen, summary.overlap) == (1, found.overlap)
    table = agree_text.markdown([found], [summary])
    assert "| 2.0-4.0 / 3.0-5.0, 8.0-9.2 | 0.24 |" in table
    assert "frozen in 1, spans overlap by 0.24 (median)" in table
