"""Commands around a kill, each with each way of killing."""

import os
import signal
import time
from pathlib import Path

import pytest

from oomkit.guard.hooks import LONGEST_S, MAX, NOT_ASKED, Hooks
from oomkit.policy.engine.candidate import Candidate
from tests.guard.arena import Arena
from tests.guard.policies import BRISK, SOFT

VICTIM = Candidate(4711, 1, 1, "large", uid=1000, cgroup="/system.slice/big.service")


def script(path: Path, text: str) -> str:
    path.write_text(f"#!/bin/sh\n{text}\n")
    path.chmod(0o755)
    return str(path)


def collected(hooks: Hooks) -> list[str]:
    end = time.monotonic() + 10
    while hooks.busy():
        hooks.collect()
        assert time.monotonic() < end
        time.sleep(0.01)
    return hooks.failures()


@pytest.mark.parametrize(("available", "signal_name"), [(0.08, "TERM"), (0.02, "KILL")])
def test_commands_run_before_and_after_either_signal(
    arena: Arena, available: float, signal_name: str
) -> None:
    large = arena.victim("large", 60)
    said = arena.directory / "said"
    before = script(
        arena.directory / "before",
        f'if kill -0 "$1"; then echo before $1 $OOMKIT_COMM alive >> {said}; fi',
    )
    after = script(
        arena.directory / "after",
        f'if ! kill -0 "$1" 2>/dev/null; then echo after $1 $OOMKIT_COMM gone >> {said}; fi',
    )
    arena.guard(SOFT + f'before = ["{before}", "{{pid}}"]\nafter = ["{after}", "{{pid}}"]\n')
    arena.memory(available=available)
    arena.until(lambda: not arena.alive(large), "the victim dies")
    arena.memory(available=0.5)
    (act,) = arena.ended_acts()
    assert [one["name"] for one in act["signals"]] == [signal_name]
    arena.until(lambda: said.exists() and "after" in said.read_text(), "both have run")
    lines = said.read_text().splitlines()
    assert f"after {large} large gone" in lines
    if signal_name == "TERM":  # SIGKILL does not wait for the command
        assert lines[0] == f"before {large} large alive"


def test_a_command_that_hangs_does_not_keep_the_signal_back(arena: Arena) -> None:
    large = arena.victim("large", 60)
    hanging = script(arena.directory / "before", "exec sleep 600")
    arena.guard(SOFT + f'before = ["{hanging}"]\n')
    arena.memory(available=0.08)
    arena.until(lambda: not arena.alive(large), "the victim dies")


def test_a_command_instead_of_a_signal_and_sigkill_if_that_does_not_help(arena: Arena) -> None:
    large = arena.victim("large", 60)
    said = arena.directory / "said"
    instead = script(arena.directory / "instead", f"echo $@ >> {said}")
    arena.guard(
        SOFT + f'[[how.instead]]\ncomm = "large"\ncommand = ["{instead}", "{{comm}}", "{{pid}}"]\n'
    )
    arena.memory(available=0.08)
    arena.until(said.exists, "the command runs")
    arena.until(lambda: not arena.alive(large), "SIGKILL follows, as memory stays short")
    arena.memory(available=0.5)
    (act,) = arena.ended_acts()
    assert said.read_text() == f"large {large}\n"
    assert act["command"][0] == instead
    assert [one["name"] for one in act["signals"]] == ["KILL"]


def test_a_command_that_fails_is_reported(tmp_path: Path) -> None:
    hooks = Hooks()
    assert hooks.start(["/nonexistent"], VICTIM, "before") is None
    assert hooks.failures() == ["before: /nonexistent: No such file or directory"]
    failing = script(tmp_path / "failing", "exit 3")
    hooks.start([failing], VICTIM, "after")
    assert collected(hooks) == [f"after: {failing}: exit status 3"]


def test_a_command_does_not_inherit_our_adjustment(tmp_path: Path) -> None:
    hooks = Hooks()
    with open("/proc/self/oom_score_adj") as file:
        own = int(file.read())
    said = tmp_path / "said"
    slow = script(tmp_path / "slow", f"sleep 0.3; cat /proc/self/oom_score_adj > {said}")
    hooks.start([slow], VICTIM, "before")
    collected(hooks)
    assert int(said.read_text()) == max(own, 0)


def test_each_desktop_session_is_notified(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    said = tmp_path / "said"
    tell = f'echo "$DBUS_SESSION_BUS_ADDRESS|$@" >> {said}'
    script(tmp_path / "notify-send", tell)
    script(tmp_path / "setpriv", f'echo "as $1" >> {said}; shift 3; exec "$@"')
    monkeypatch.setenv("PATH", f"{tmp_path}:{os.environ['PATH']}")
    uid = os.geteuid()
    for user in (uid, 1234):
        (tmp_path / f"run/{user}").mkdir(parents=True)
        (tmp_path / f"run/{user}/bus").touch()
    hooks = Hooks(run=str(tmp_path / "run"))
    hooks.notify("Memory is short", "large[4711] was killed")
    assert collected(hooks) == []
    text = said.read_text()
    note = "--urgency=critical --app-name=oomkit Memory is short large[4711] was killed"
    assert f"unix:path={tmp_path}/run/{uid}/bus|{note}" in text
    assert (f"run/1234/bus|{note}" in text) == (uid == 0)
    assert ("as --reuid=1234" in text) == (uid == 0)


def test_what_a_name_holds_is_not_filled_in_again(tmp_path: Path) -> None:
    victim = Candidate(4711, 1, 1, "atk-{cgroup}", cgroup="/its/{pid}", unit="{comm}")
    said = tmp_path / "said"
    tell = script(tmp_path / "tell", f'echo "$OOMKIT_COMM" "$@" > {said}')
    hooks = Hooks()
    hooks.start([tell, "{comm}", "{cgroup}", "x{unit}{pid}", "{other}"], victim, "before")
    assert collected(hooks) == []
    assert said.read_text() == "atk-{cgroup} atk-{cgroup} /its/{pid} x{comm}4711 {other}\n"


def test_a_command_that_runs_too_long_is_killed_with_what_it_started(tmp_path: Path) -> None:
    now_s = 100.0
    hooks = Hooks(clock=lambda: now_s)
    child = tmp_path / "child"
    slow = script(tmp_path / "slow", f"sleep 600 & echo $! > {child}; wait")
    pid = hooks.start([slow], VICTIM, "after")
    assert pid is not None
    end = time.monotonic() + 20
    while not (child.exists() and child.read_text().strip()):
        assert time.monotonic() < end
        time.sleep(0.01)
    now_s += LONGEST_S
    hooks.collect()
    assert hooks.failures() == [f"after: {slow}: killed, as it has run for too long"]
    assert not hooks.busy()
    for one in (pid, int(child.read_text())):
        while not _is_gone(one):
            hooks.collect()
            assert time.monotonic() < end
            time.sleep(0.01)
    while hooks.any():
        hooks.collect()
        assert time.monotonic() < end
    assert hooks.failures() == []


def _is_gone(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] == "Z"
    except OSError:
        return True


def test_no_more_than_so_many_run_and_the_oldest_goes(tmp_path: Path) -> None:
    hooks = Hooks()
    slow = script(tmp_path / "slow", "exec sleep 600")
    pids = [hooks.start([slow], VICTIM, "after") for _ in range(MAX + 3)]
    assert None not in pids
    said = hooks.failures()
    assert said == [f"after: {slow}: killed, as {MAX} commands run already, the maximum"] * 3
    end = time.monotonic() + 20
    while sum(_is_gone(pid or 0) for pid in pids) < 3:
        assert time.monotonic() < end
        time.sleep(0.01)
    assert [_is_gone(pid or 0) for pid in pids] == [True] * 3 + [False] * MAX
    for pid in pids[3:]:
        os.kill(pid or 0, 9)
    collected(hooks)


def test_commands_that_never_end_are_logged_and_do_not_pile_up(arena: Arena) -> None:
    hanging = script(arena.directory / "after", "exec sleep 600")
    victims = [arena.victim(f"large{i}", 40) for i in range(MAX + 2)]
    arena.guard(BRISK + f'after = ["{hanging}"]\n')
    arena.memory(available=0.02)
    arena.until(lambda: not any(arena.alive(pid) for pid in victims), "all die")
    arena.memory(available=0.5)
    arena.until_said(f"{hanging}: killed, as {MAX} commands run", 2)


def test_a_command_is_never_chosen_while_it_runs() -> None:
    own = {1}
    hooks = Hooks(own_pids=own)
    pid = hooks.start(["sleep", "60"], Candidate(5, 1, 1, "victim"), "after")
    assert pid is not None
    assert own == {1, pid}
    os.kill(pid, signal.SIGKILL)
    assert hooks.wait(pid, 10.0)
    assert own == {1}


@pytest.mark.parametrize(
    ("says", "answer"), [("echo end", "end"), ("true", ""), ("exit 1", NOT_ASKED)]
)
def test_one_user_is_asked_and_the_answer_is_heard(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, says: str, answer: str
) -> None:
    own = os.geteuid()
    (tmp_path / f"run/{own}").mkdir(parents=True)
    (tmp_path / f"run/{own}/bus").touch()
    (tmp_path / "bin").mkdir()
    script(tmp_path / "bin/notify-send", f'echo "$@" > {tmp_path}/asked\n{says}')
    monkeypatch.setenv("PATH", f"{tmp_path}/bin:/usr/bin:/bin")
    hooks = Hooks(str(tmp_path / "run"))
    actions = [("resume", "Go on"), ("end", "End it")]
    offer = hooks.offer(own, "Low memory", "freeze x", actions, longest_s=60.0)
    assert offer is not None
    assert hooks.answer(offer) is None, "nobody has chosen yet"
    collected(hooks)
    assert hooks.answer(offer) == answer
    assert "--action=resume=Go on --action=end=End it" in (tmp_path / "asked").read_text()
    assert hooks.offer(own + 1, "x", "y", actions, longest_s=60.0) is None, "no desktop there"
