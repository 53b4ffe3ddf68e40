"""A policy is read by another process."""

import marshal
import os
import select
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import psutil
import pytest

from oomkit.guard import own_program
from oomkit.guard import own_program as reload_module
from oomkit.guard.own_program import Reload
from oomkit.policy.compile import compile_plan
from oomkit.policy.engine.plan import SCHEMA
from oomkit.policy.read import find_policy
from tests.guard.made import Fds
from tests.policy.making import LOW, plan

pytestmark = pytest.mark.hermetic


@pytest.fixture
def reading() -> Callable[..., Reload]:
    """Starts a reader that says what a test wants."""
    now = [100.0]

    def start(code: str) -> Reload:
        return Reload((sys.executable, "-I", "-S", "-c", code), lambda: now[0])

    start.now = now  # type: ignore[attr-defined]  # for the tests to move
    return start


def finished(one: Reload) -> Reload:
    poller = select.poll()
    poller.register(one.fd, select.POLLIN)
    while poller.poll(60_000) and not one.finished():
        pass
    return one


def test_a_plan_that_is_printed_is_taken(reading: Callable[..., Reload]) -> None:
    before = Fds()
    made = plan(LOW)
    one = reading(f"import sys; sys.stdout.buffer.write({marshal.dumps(made.to_values())!r})")
    assert Fds().since(before) == 2
    assert (one.plan, one.fault, one.left_s) == (None, "", 10.0)
    finished(one)
    assert one.plan is not None
    assert (one.plan.to_values(), one.fault) == (made.to_values(), "")
    assert (one.fd, Fds().since(before)) == (-1, 0)
    one.close()


@pytest.mark.parametrize(("code", "fault"), [
    ("import sys; sys.exit('whom.by:   bad\\n more')", "whom.by: bad more"),
    ("import sys; sys.exit(3)", "reading it ended with status 3"),
    ("import os; os.kill(os.getpid(), 9)", "reading it ended with status -9"),
    ("print('x')", "expected a compiled policy"),
    ("", "expected a compiled policy"),
])  # fmt: skip
def test_what_is_wrong_is_said(reading: Callable[..., Reload], code: str, fault: str) -> None:
    one = finished(reading(code))
    assert (one.plan, one.fault) == (None, fault)


def test_a_reader_has_its_time(reading: Callable[..., Reload]) -> None:
    before = Fds()
    one = reading("import time; time.sleep(600)")
    now = reading.now  # type: ignore[attr-defined]  # set by the fixture
    assert not one.finished()
    now[0] += 9.75
    assert one.left_s == 0.25
    assert not one.finished()
    now[0] += 0.25
    assert one.left_s == 0.0
    assert one.finished()
    assert one.fault == "reading it took more than 10 s"
    now[0] += 5
    assert one.left_s == 0.0
    assert Fds().since(before) == 0
    another = reading("import time; time.sleep(600)")
    another.close()
    assert Fds().since(before) == 0


def test_a_reader_that_prints_for_too_long_is_ended(
    reading: Callable[..., Reload], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(own_program, "MAX_BYTES", 100)
    one = finished(
        reading("import sys\nwhile True: sys.stdout.write('x' * 4096); sys.stdout.flush()")
    )
    assert (one.plan, one.fault != "") == (None, True)


def test_a_reader_takes_signals_as_programs_do_and_may_be_killed_sooner(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    ordinary: list[int] = []
    given: dict[str, Any] = {}
    spawn = os.posix_spawn

    def spawning(path: str, argv: Any, environ: Any, **options: Any) -> int:
        given.update(options)
        return spawn(path, argv, environ, **options)

    monkeypatch.setattr(os, "posix_spawn", spawning)
    monkeypatch.setattr(own_program, "ordinary", ordinary.append)
    one = Reload((sys.executable, "-S", "-c", ""))
    assert given["setsigdef"] == (1, 2, 13, 15)
    assert len(ordinary) == 1
    one.close()


def test_a_reader_that_cant_be_started_leaves_nothing_open() -> None:
    before = Fds()
    with pytest.raises(FileNotFoundError):
        Reload(("/none",))
    assert Fds().since(before) == 0


def reloaded(*argv: str) -> Reload:
    one = Reload(argv)
    end = time.monotonic() + 20
    while not one.finished():
        assert time.monotonic() < end
    return one


@pytest.mark.parametrize(
    ("printed", "fault"),
    [
        ({"schema": 1, "name": "x"}, f"of version {SCHEMA}, not 1: another version of oomkit"),
        ({"schema": 3, "name": "x"}, "expected a compiled policy"),
        ([1, 2], "expected a compiled policy"),
        (b"", "expected a compiled policy"),
    ],
)
def test_what_is_no_plan_of_this_version_is_refused(printed: Any, fault: str) -> None:
    data = marshal.dumps(printed) if printed else b""
    program = f"import sys; sys.stdout.buffer.write({data!r})"
    one = reloaded(sys.executable, "-c", program)
    assert one.plan is None
    assert fault in one.fault


def test_a_policy_is_read_by_another_process(tmp_path: Path) -> None:
    compiler = (sys.executable, "-m", "oomkit.guard.compile")
    good = reloaded(*compiler, "earlyoom")
    assert good.plan is not None
    assert good.plan.to_values() == compile_plan(find_policy("earlyoom")).to_values()
    path = tmp_path / "bad.toml"
    path.write_text(
        'name = "x"\n[[when]]\nlevel = "soft"\navailable = "lots"\n[whom]\nby = "luck"\n'
    )
    bad = reloaded(*compiler, str(path))
    assert bad.plan is None
    assert bad.fault.startswith(f"{path}: ")
    assert "when[0].available" in bad.fault
    assert "whom.by" in bad.fault
    assert "\n" not in bad.fault
    odd = reloaded(sys.executable, "-c", "print('hello')")
    assert odd.fault == "expected a compiled policy"
    crashed = reloaded(sys.executable, "-c", "import os; os.abort()")
    assert crashed.fault == "reading it ended with status -6"


def test_reading_a_policy_has_its_time(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(reload_module, "LONGEST_S", 0.2)
    for code in ("import time; time.sleep(600)",
                 "import sys, time; print(flush=True); sys.stdout.close(); time.sleep(600)",
                 "import sys\nwhile True: sys.stderr.write('x' * 65536)"):  # fmt: skip
        before = psutil.Process().children()
        one = reloaded(sys.executable, "-S", "-c", code)
        assert one.plan is None
        assert one.fault
        assert psutil.Process().children() == before, "it was ended, and waited for"
