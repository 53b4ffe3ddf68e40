import json
import struct
import sys
import xml.etree.ElementTree as ET

import pytest
from hypothesis import given, settings

from oomkit.render.extras import MissingExtraError
from oomkit.scenario import Cgroup, Run, Samples, Task, TaskSamples
from oomkit.views import run_chart_rows
from oomkit.views.run_charts import panels
from oomkit.views.run_figure import picture, picture_spec
from oomkit.views.run_page import html_page
from tests.views.runs import kill, run, runs, scenario
from tests.views.schema import hold


def _samples(count: int, tasks: int = 1) -> Samples:
    flat = [1.0] * count
    curve = TaskSamples(rss_mb=flat, swap_mb=[0.0] * count, progress=flat)
    return Samples(
        t_s=[i * 120 / count for i in range(count)], free_mb=flat, available_mb=flat,
        cached_mb=flat, swap_free_mb=[0.0] * count, psi_some_avg10=flat, psi_full_avg10=flat,
        cpu_busy=flat, tasks={f"t{i}/0": curve for i in range(tasks)},
    )  # fmt: skip


def test_uses_add_up_to_memory() -> None:
    for row in run_chart_rows.memory_rows(run(), scenario()):
        assert sum(row[use] for use in run_chart_rows.USES) == pytest.approx(1024, abs=0.05)


def test_no_two_samples_of_a_chart_fall_together() -> None:
    fine = run(samples=_samples(900_000))
    times = [row["t"] for row in run_chart_rows.memory_rows(fine, scenario())]
    assert len(set(times)) == len(times)


def test_long_curves_are_thinned_but_keep_what_is_beside_an_event() -> None:
    made = run(samples=_samples(50_000))
    chosen = run_chart_rows.shown_indices(made)
    assert len(chosen) < 2 * run_chart_rows.MAX_POINTS
    assert chosen[0] == 0
    assert chosen[-1] == 49_999
    t_s = made.samples.t_s
    at = next(i for i, t in enumerate(t_s) if t >= 60.0)
    assert {at - 1, at} <= set(chosen)


def test_many_tasks_are_cut_and_the_rest_is_counted() -> None:
    made = run(samples=_samples(50, tasks=300), kills=())
    rows, left_out = run_chart_rows.task_rows(made)
    assert len({row["task"] for row in rows}) == run_chart_rows.MAX_CURVES
    assert left_out == 300 - run_chart_rows.MAX_CURVES
    assert len(run_chart_rows.task_names(made)) == run_chart_rows.MAX_NAMES + 1
    assert {row["name"] for row in rows} <= set(run_chart_rows.task_names(made))
    note = next(p.note for p in panels(made) if p.key == "tasks")
    assert "240 smaller tasks are not drawn" in note


def test_every_kill_is_marked_in_every_panel() -> None:
    made = run(kills=(kill(), kill(70.0, 1)))
    for panel in panels(made, scenario()):
        spec = json.dumps(panel.chart.to_dict())
        assert spec.count('"victim": "hog/0"') == spec.count('"victim": "hog/1"') == 1


def test_a_limited_cgroup_has_a_panel_with_its_limit() -> None:
    load = scenario(
        cgroups=(Cgroup(name="box", max_bytes=2**29), Cgroup(name="free"), Cgroup(name="box/in")),
        tasks=(Task(name="hog", count=3, cgroup="box/in"),),
    )
    rows, limits = run_chart_rows.cgroup_rows(run(), load)
    assert limits == [{"cgroup": "box", "max": 512.0, "label": "max of box"}]
    tasks = run().samples.tasks
    at = {row["t"]: row["rss"] for row in rows}
    assert at[30.0] == pytest.approx(sum(tasks[f"hog/{i}"].rss_mb[30] for i in range(3)), abs=0.01)
    assert "cgroups" in [p.key for p in panels(run(), load)]
    assert "cgroups" not in [p.key for p in panels(run(), scenario(tasks=()))]


def test_swap_has_a_panel_only_where_there_is_swap() -> None:
    assert [p.key for p in panels(run())] == ["memory", "swap", "tasks", "pressure"]
    assert [p.key for p in panels(run(samples=_samples(9)))] == ["memory", "tasks", "pressure"]


def test_the_svg_is_one_and_names_what_it_shows() -> None:
    data = picture(run(), "svg", scenario())
    root = ET.fromstring(data)
    assert root.tag == "{http://www.w3.org/2000/svg}svg"
    words = " ".join(root.itertext())
    for expected in ("three hogs: model, kernel 6.12", "Memory by use", "PSI full", "hog"):
        assert expected in words


def test_the_png_has_the_size_asked_for() -> None:
    sizes = {}
    for scale in (0.5, 1.0):
        data = picture(run(), "png", scenario(), scale=scale)
        assert data.startswith(b"\x89PNG\r\n\x1a\n")
        assert data.endswith(b"IEND\xaeB`\x82")
        sizes[scale] = struct.unpack(">II", data[16:24])
    assert sizes[1.0][0] > 860
    assert sizes[1.0][1] > 600
    assert abs(sizes[1.0][0] - 2 * sizes[0.5][0]) <= 2


def test_a_run_without_samples_has_no_picture() -> None:
    with pytest.raises(ValueError, match="no samples"):
        picture(run(samples=_samples(0)), "svg")


@pytest.mark.parametrize("module", ["altair", "vl_convert"])
def test_a_missing_library_is_reported_in_one_line(
    module: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, module, None)
    with pytest.raises(MissingExtraError, match=r"install oomkit\[report\]") as told:
        picture(run(), "svg")
    assert "\n" not in str(told.value)


def test_a_missing_template_library_is_reported_too(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "jinja2", None)
    with pytest.raises(MissingExtraError, match="jinja2"):
        html_page(run())


def test_a_chart_that_is_not_as_its_schema_says_is_found() -> None:
    spec = picture_spec(run(), scenario())
    hold(spec)
    spec["vconcat"][0]["layer"][0]["mark"] = {"type": "bars"}
    with pytest.raises(Exception, match="bars"):
        hold(spec)


@given(runs)
@settings(deadline=None, max_examples=8)
def test_any_record_with_samples_can_be_drawn(made: Run) -> None:
    if made.samples.t_s:
        spec = picture_spec(made)
        assert spec["vconcat"]
        hold(spec)
        json.dumps(spec, allow_nan=False)


def test_odd_names_do_not_break_the_drawing() -> None:
    made = run()
    curve = made.samples.tasks["hog/0"]
    for name in ("a:b.c[0]/0", "</script>/1", "'; datum.x/2", "\x1b[31m/3"):
        made.samples.tasks[name] = curve
    assert ET.fromstring(picture(made, "svg")) is not None
