"""Two reports at once, in a log that does not say which CPU a line is from; reports cut short."""

import random

import pytest

from oomkit.klog import read_bytes, replay_all
from tests.klog.test_styles import CLEAN, bare_lines, expected


def mixed(first: list[str], second: list[str], dice: random.Random) -> list[str]:
    """Lines of two reports in runs, as two CPUs print them."""
    lines: list[str] = []
    rest = [list(first), list(second)]
    while rest[0] or rest[1]:
        source = rest[dice.random() < 0.5] or rest[0] or rest[1]
        length = dice.randint(1, 30)
        lines += source[:length]
        del source[:length]
    return lines


@pytest.mark.parametrize("seed", range(40))
def test_every_victim_is_reported_once_and_no_choice_is_disputed(seed: int) -> None:
    dice = random.Random(seed)
    names = dice.sample(CLEAN, 2)
    lines = mixed(bare_lines(names[0]), bare_lines(names[1]), dice)
    text = "\n".join(f"[{100 + i / 1e4:12.6f}] {line}" for i, line in enumerate(lines))
    reports = list(replay_all(read_bytes(text.encode())))
    told = sorted((victim.pid, victim.comm) for r in reports for victim in r.killed)
    assert told == sorted(k[:2] for name in names for r in expected(name) for k in r["killed"])
    assert all(report.agrees is not False for report in reports)
    assert any(report.problems for report in reports) or len(reports) == sum(
        len(expected(name)) for name in names
    )


def test_reports_without_heads_are_reported_to_be_limited() -> None:
    kill = "Out of memory: Killed process {} (x) total-vm:9kB, anon-rss:8kB, file-rss:1kB"
    lines = [kill.format(1), kill.format(2), "oom_kill_process: 1 callbacks suppressed"]
    text = "\n".join(f"[  100.00000{i}] {line}" for i, line in enumerate(lines))
    first, second = read_bytes(text.encode())
    assert [first.killed[0].pid, second.killed[0].pid] == [1, 2]
    assert [p.line for p in second.problems if p.kind == "limited"] == [3]


@pytest.mark.parametrize(
    "names", [(CLEAN[0], CLEAN[1]), (CLEAN[0], CLEAN[6]), (CLEAN[0], CLEAN[7])]
)
def test_reports_printed_line_by_line_in_turns_are_two(names: tuple[str, str]) -> None:
    first, second = (bare_lines(name) for name in names)
    turns = [line for pair in zip(first, second, strict=False) for line in pair]
    rest = first[len(second) :] or second[len(first) :]
    text = "\n".join(f"[{100 + i / 1e4:12.6f}] {line}" for i, line in enumerate(turns + rest))
    reports = list(read_bytes(text.encode()))
    assert len(reports) == 2
    assert all(report.invoker and report.killed for report in reports)
