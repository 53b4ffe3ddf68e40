import io
import re

import pytest
from hypothesis import given, settings

from oomkit.render.layout import Terminal
from oomkit.render.terminal import terminal_of, to_text
from oomkit.scenario import At, Freeze, Objectives, Run, Scenario
from oomkit.views import run_text
from tests.views.runs import TRACE, kill, run, runs, scenario

_CONTROL = re.compile(r"[\x00-\x09\x0b-\x1f\x7f-\x9f\u202a-\u202e\u2066-\u2069]")


def story(
    played: Run,
    of: Scenario | None = None,
    *,
    terminal: Terminal | None = None,
    every_one: bool = False,
) -> str:
    return to_text(run_text.story(played, of, every_one=every_one), terminal or Terminal())


def test_a_line_for_each_thing_that_happened_in_order() -> None:
    lines = story(run(), scenario()).splitlines()
    starts = [line.strip() for line in lines if re.match(r" *[\d.]+ s  [a-z\d]", line)]
    assert starts == [
        "0.0 s  3 hog start",
        "30.0 s  the scenario sets vm.swappiness = 10",
        "31.0 s  tasks' memory begins to go to swap",
        "38.0 s  tasks wait for memory: PSI some avg10 12.0 %",
        "45.0 s  the machine freezes for 17.0 s, until 62.0 s",
        "53.0 s  nearly nothing moves: PSI full avg10 52.0 %",
        "60.0 s  the kernel kills hog/0 (pid 103)",
        "70.0 s  mmap of 4.00 GiB by hog/1 fails",
    ]


def test_a_kill_has_its_reason_in_two_lines() -> None:
    lines = [line.strip() for line in story(run()).splitlines()]
    at = next(i for i, line in enumerate(lines) if "kernel kills hog/0" in line)
    assert lines[at + 1] == "select_bad_process: hog[103] has the highest badness, 90000"
    assert lines[at + 2] == (
        "badness 90000 pages (352 MiB); oom_score_adj 0; frees 348 MiB; loses 12.2 s of CPU work"
    )


@pytest.mark.parametrize(
    ("kernel", "unit"),
    [("2.6.32", "badness 700 points"), ("2.6.38", "badness 700 of 1000"), ("x", "badness 700;")],
)
def test_badness_has_the_unit_of_the_kernels_rules(kernel: str, unit: str) -> None:
    assert unit in story(run(kernel=kernel, kills=(kill(badness=700),)))


def test_would_have_kills_say_that_the_task_lives() -> None:
    """R12."""
    text = story(run(kills=(kill(would_have=True, freed_mb=0.0),), objectives=Objectives()))
    assert "would have killed hog/0 (pid 103), which lives" in text
    assert "1 would-have" in text
    assert "kernel kills" not in text


def test_many_kills_are_summed_up_unless_every_one_is_wanted() -> None:
    many = run(kills=tuple(kill(60.0 + i, task=f"t{i}") for i in range(40)))
    assert "and 28 more kills until 99.0 s" in story(many)
    assert story(many).count("the kernel kills") == 12
    assert story(many, every_one=True).count("the kernel kills") == 40


def test_a_row_of_kills_of_one_name_is_reported_by_its_first_ones() -> None:
    row = [kill(60.0 + i, i, freed_mb=100.0) for i in range(30)]
    text = story(run(kills=(kill(50.0, task="db"), *row, kill(95.0, task="web"))))
    assert "63.0 s  and 27 more hog until 89.0 s, which frees 2.64 GiB" in text
    assert text.count("the kernel kills") == 5
    assert text.index("kills db/0") < text.index("27 more hog") < text.index("kills web/0")


def test_a_kill_at_a_cgroups_limit_names_the_cgroup() -> None:
    trace = ("try_charge_memcg: /web is at its limit and reclaim found nothing", *TRACE[3:])
    text = story(run(kills=(kill(trace=trace),)))
    assert "the kernel kills hog/0 (pid 103): cgroup /web is at its limit" in text


def test_a_tie_is_said_to_be_one() -> None:
    """Equals die in the order of the task list, which a reader should not take for a reason."""
    trace = (*TRACE[:5], "tie: hog[103], hog[104] have the same badness", TRACE[5])
    assert "has the highest badness, 90000 (a tie; the order of the list decides)" in story(
        run(kills=(kill(trace=trace),)), terminal=Terminal(width=120)
    )


def test_the_longest_freezes_are_reported_and_the_rest_summed_up() -> None:
    spans = [(10.0, 11.5), (20.0, 50.0), (52.0, 53.5), (54.0, 60.0), (61.0, 64.0), (70.0, 120.0)]
    text = story(run(frozen=tuple(Freeze(from_s=a, to_s=b) for a, b in spans)))
    assert "10.0 s  2 shorter freezes until 53.5 s, 3.0 s in all" in text
    for told in ("freezes for 30.0 s", "freezes for 6.0 s", "freezes for 50.0 s, until the end"):
        assert told in text


def test_a_panic_ends_the_story_with_the_kernels_own_line() -> None:
    """R13."""
    line = "[   61.000000] Kernel panic - not syncing: System is deadlocked on memory"
    text = story(run(outcome="panicked", ended_s=61.0, log=("x", line)))
    assert text.rstrip().splitlines()[-4:-1] == [
        "panicked after 61.0 s: the kernel panicked",
        f"  {line}",
        "  (the log's clock began 60.0 s before the run)",
    ]


def test_swap_that_is_full_and_comes_free_in_bits_is_reported() -> None:
    """R14."""
    made = run()
    free = [200.0] * 30 + [0.0] * 10 + [1.0] + [0.0] * 9 + [2.0] + [0.0] * 70
    samples = {f: getattr(made.samples, f) for f in made.samples.__struct_fields__}
    changed = type(made.samples)(**(samples | {"swap_free_mb": free}))
    text = story(run(samples=changed))
    assert re.search(
        r"30\.0 s  swap is full \(200 MiB\)\n +afterwards some of it comes free 2 times", text
    )


def test_freezes_until_the_end_and_the_probe_are_reported() -> None:
    """R15."""
    text = story(run(outcome="frozen", frozen=(Freeze(from_s=45.0, to_s=120.0),)))
    assert "freezes for 75.0 s, until the end" in text
    assert "probe answered 45 times, the last at 45.0 s" in text


def test_changes_after_the_end_are_not_reported() -> None:
    late = scenario(at=(At(t_s=500.0, vm={"panic_on_oom": 1}),))
    assert "panic_on_oom" not in story(run(), late)


def test_without_colours_no_escape_is_sent_and_with_them_some_are() -> None:
    assert "\x1b" not in story(run(), scenario())
    assert "\x1b[" in story(run(), scenario(), terminal=Terminal(colour=True))


def test_without_unicode_everything_is_ascii() -> None:
    made = run(scenario="žluťoučký", kills=(kill(task="kůň…"),))
    assert story(made, scenario(about="čaj"), terminal=Terminal(unicode=False)).isascii()


class _Terminal(io.TextIOWrapper):
    def isatty(self) -> bool:
        return True


def test_no_color_is_respected(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TERM", "xterm-256color")
    monkeypatch.delenv("NO_COLOR", raising=False)
    monkeypatch.delenv("FORCE_COLOR", raising=False)
    terminal = _Terminal(io.BytesIO(), encoding="utf-8")
    assert terminal_of(terminal).colour
    monkeypatch.setenv("NO_COLOR", "1")
    assert not terminal_of(terminal).colour
    assert terminal_of(terminal).unicode
    assert not terminal_of(_Terminal(io.BytesIO(), encoding="ascii")).unicode


def test_a_pipe_is_as_wide_as_columns_says(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COLUMNS", "57")
    assert terminal_of(io.StringIO()).width == 57
    monkeypatch.delenv("COLUMNS")
    assert terminal_of(io.StringIO()).width == 100
    assert not terminal_of(io.StringIO()).colour


@given(runs)
@settings(deadline=None, max_examples=60)
def test_any_record_can_be_known_and_sends_no_control_character(made: Run) -> None:
    for terminal in (Terminal(width=20, unicode=False), Terminal(width=90)):
        text = story(made, terminal=terminal)
        assert not _CONTROL.search(text)
        assert terminal.unicode or text.isascii()
        if terminal.unicode and all(ord(c) < 0x300 for c in text):
            assert max(len(line) for line in text.splitlines()) <= 90
