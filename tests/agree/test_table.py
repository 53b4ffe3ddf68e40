"""Sums over comparisons, and how they are shown."""

import re

import msgspec
import pytest

from oomkit.agree import Agreement, summarise
from oomkit.render.layout import Terminal
from oomkit.render.terminal import to_text
from oomkit.views import agree_text


def agreement(name: str = "leak", **fields: object) -> Agreement:
    values: dict[str, object] = {
        "file": f"{name}.toml",
        "scenario": name,
        "on": "qemu",
        "kernel": "6.12.1",
        "outcome": "completed",
        "model_outcome": "completed",
        "victims": ("leak/0",),
        "model_victims": ("leak/0",),
        "first_kill_s": 4.4,
        "model_first_kill_s": 4.0,
        "ratio": 1.1,
        "curve_error": 0.02,
    }
    return Agreement(**(values | fields))  # type: ignore[arg-type]  # a test names what it alters


def other_order() -> Agreement:
    return agreement(order="differs", victims=("a/0", "b/0"), model_victims=("a/0", "c/0"))


def test_the_sums_of_what_agrees() -> None:
    (one,) = summarise([agreement(), agreement(order="tie"), agreement(refused="no swap here")])
    assert (one.played, one.refused, one.outcome, one.first, one.order) == (2, 1, 2, 2, 2)
    assert (one.ties, one.in_time, one.curve_error, one.meets) == (1, 2, 0.02, True)


def test_a_row_for_each_world_and_kernel() -> None:
    sums = summarise([agreement(), agreement(kernel="6.1.0"), agreement(on="cgroup", kernel="5.4")])
    assert [(one.on, one.kernel, one.played) for one in sums] == [
        ("qemu", "6.12.1", 1), ("qemu", "6.1.0", 1), ("cgroup", "5.4", 1),
    ]  # fmt: skip


@pytest.mark.parametrize(
    ("bad", "of", "meets"),
    [
        (agreement(model_outcome="frozen"), 100, False),
        (agreement(failed="the agent died"), 100, False),
        (agreement(ratio=1.4), 100, False),
        (other_order(), 7, True),
        (other_order(), 6, False),
        (agreement(first="differs"), 20, True),
        (agreement(first="differs"), 19, False),
    ],
)
def test_the_targets(bad: Agreement, of: int, *, meets: bool) -> None:
    (one,) = summarise([bad, *[agreement()] * (of - 1)])
    assert one.meets is meets


def test_text_and_markdown_say_where_they_part() -> None:
    found = [
        agreement(),
        other_order(),
        agreement("off", ratio=1.5),
        agreement("a|b", order="tie"),
        agreement("closed", refused="it has 64 MB of swap"),
        agreement("broken", failed="the agent died"),
        agreement("strict", denied=("t: mmap",), victims=(), model_victims=(), ratio=None,
                  first_kill_s=None, model_first_kill_s=None),
    ]  # fmt: skip
    sums = summarise(found)
    text = to_text(agree_text.report(found, sums), Terminal(width=160))
    page = agree_text.markdown(found, sums)
    for shown in (text, page):
        assert "qemu, kernel 6.12.1" in shown
        assert "model kills a, c" in shown
        assert "time of the first kill" in shown
        assert "equals in another order" in shown
        assert "closed not played: it has 64 MB of swap" in shown
        assert "broken FAILED: the agent died" in shown
        assert "refused t: mmap, model none" in shown
        assert "targets MISSED" in shown
    assert "| a\\|b |" in page
    rows = [line for line in page.splitlines() if line.startswith("| ")]
    assert len({line.replace("\\|", "").count("|") for line in rows}) == 1


def test_one_comparison_in_lines() -> None:
    assert agree_text.verdict(agreement())[0] == "agree"
    assert agree_text.verdict(other_order())[0] == "part: model kills a, c"
    assert agree_text.verdict(agreement(order="tie"))[0].startswith("agree: equals")
    assert any("1.10" in line for line in agree_text.verdict(agreement()))


def test_many_victims_are_summed_up() -> None:
    many = tuple(f"{'ab'[i % 2]}/{i}" for i in range(30))
    one = agreement(victims=many)
    text = agree_text.markdown([one], summarise([one]))
    assert "a, b, a, b, a, b, a, b, 22 more" in text
    same = tuple(f"depmod/{i}" for i in range(13))
    one = agreement(victims=same)
    assert "13 depmod" in agree_text.markdown([one], summarise([one]))


def test_a_narrow_table_leaves_columns_out_whole_and_says_so() -> None:
    found = [agreement(), other_order()]
    wide = to_text(agree_text.report(found, summarise(found)), Terminal(width=160))
    for width in (80, 60):
        shown = to_text(agree_text.report(found, summarise(found)), Terminal(width=width))
        assert max(map(len, shown.splitlines())) <= width
        assert "\u2026" not in shown
        assert set(re.findall(r"\d+\.\d+", shown)) <= set(re.findall(r"\d+\.\d+", wide))
    assert "(no room for " in shown.replace("\n", " ")


def test_several_kernels_stand_side_by_side() -> None:
    new = msgspec.structs.replace
    found = [
        agreement("x", ratio=1.1),
        new(agreement("x", first="differs", ratio=0.9), kernel="7.3.4+deb13-cloud-amd64"),
        new(agreement("y", refused="no v1"), kernel="7.3.4+deb13-cloud-amd64"),
    ]
    page = agree_text.markdown(found, summarise(found))
    assert "| scenario | qemu 6.12.1 | qemu 7.3.4 |" in page
    assert "| x | same 1.10 | another first victim 0.90 |" in page
    assert "| y | - | not played |" in page
