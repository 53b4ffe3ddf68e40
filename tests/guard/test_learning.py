"""The daemon has its recording read by another program, and takes in what that learnt."""

import marshal
import select
import subprocess
import sys
from pathlib import Path

import pytest

from oomkit.guard import launch
from oomkit.guard.messages import NOTICE, WARNING
from oomkit.guard.own_program import LEARNING_S, Learning
from oomkit.policy.engine.candidate import Start
from oomkit.policy.engine.starts import Starts, to_values
from tests.guard.made import Fds
from tests.history.test_starts import UNIT, WALL_S, record

pytestmark = pytest.mark.hermetic

HERE = Start("ssh.service", 1, WALL_S, (0.5,))
ELSEWHERE = Start("db.service", 3, WALL_S, (7.0, 9.0, 8.0))
COMPLAINT = "the recording teaches nothing of the starts of services: "


class Place:
    """What a daemon gives to what learns."""

    def __init__(self, *argv: str) -> None:
        self.now = 100.0
        self.starts = Starts([HERE])
        self.lines: list[tuple[int, str]] = []
        self.learning = Learning(
            argv,
            self.starts,
            lambda level, text: self.lines.append((level, text)),
            lambda: self.now,
        )

    def learn(self) -> list[str]:
        """Begin, wait for the end; names of the services that are known then."""
        self.learning.begin()
        while (program := self.learning.current) is not None:
            poller = select.poll()
            poller.register(program.fd, select.POLLIN)
            assert poller.poll(60_000)
            self.learning.attend()
        return [one.name for one in self.starts.known()]


def python(code: str) -> tuple[str, ...]:
    return sys.executable, "-I", "-S", "-c", code


def prints(*starts: Start) -> tuple[str, ...]:
    return python(f"import sys; sys.stdout.buffer.write({marshal.dumps(to_values(starts))!r})")


def test_what_was_learnt_is_added_to_what_is_known() -> None:
    before = Fds()
    place = Place(*prints(ELSEWHERE, Start(HERE.name, 9, WALL_S, (99.0,))))
    assert place.learn() == ["db.service", "ssh.service"]
    # What was seen here is newer.
    assert to_values(place.starts.known()) == to_values([ELSEWHERE, HERE])
    assert place.lines == [(NOTICE, "learnt from the recording what starts of 2 services took")]
    assert Fds().since(before) == 0


@pytest.mark.parametrize(("argv", "fault"), [
    (("/none",), "No such file or directory"),
    (python("import sys; sys.exit('no')"), "no"),
    (python("import os; os.kill(os.getpid(), 9)"), "reading it ended with status -9"),
])  # fmt: skip
def test_a_program_that_fails_is_told_of_and_costs_nothing(
    argv: tuple[str, ...], fault: str
) -> None:
    before = Fds()
    place = Place(*argv)
    assert place.learn() == [HERE.name]
    assert place.lines == [(WARNING, COMPLAINT + fault)]
    assert Fds().since(before) == 0


def test_without_a_program_nothing_is_run() -> None:
    place = Place()
    assert place.learn() == [HERE.name]
    assert place.lines == []
    place.learning.close()


def test_a_recording_that_takes_too_long_is_left() -> None:
    before = Fds()
    place = Place(*python("import time; time.sleep(600)"))
    place.learning.begin()
    place.now += LEARNING_S
    place.learning.attend()
    assert place.learning.current is None
    assert place.lines == [(WARNING, COMPLAINT + "reading it took more than 120 s")]
    place.learning.begin()
    place.learning.close()
    assert Fds().since(before) == 0


def test_the_program_reads_the_recording_and_the_one_before(tmp_path: Path) -> None:
    path = record(tmp_path / "recording")
    path.rename(f"{path}.old")
    record(path, starts=0)
    # What is older than a month teaches nothing, and the made one is; so it is shown a clock.
    code = f"import time; time.time = lambda: {WALL_S}; import sys; "
    *python_, program = launch.learn_argv(str(path))[:-1]
    done = subprocess.run([*python_, code + program, str(path)], stdout=subprocess.PIPE, check=True)
    ((name, times, _, costs_s),) = marshal.loads(done.stdout)
    assert (name, times, costs_s) == (UNIT, 3, pytest.approx((12.03,) * 3))


def test_the_program_lets_others_go_first(tmp_path: Path) -> None:
    *python_, program = launch.learn_argv(str(tmp_path / "none"))[:-1]
    shows = (
        "import atexit, os; atexit.register(lambda: os.write(2, b'%d %s' % "
        "(os.nice(0), open('/proc/self/oom_score_adj', 'rb').read()))); "
    )
    done = subprocess.run(
        [*python_, shows + program, str(tmp_path / "none")], capture_output=True, check=True
    )
    assert done.stderr.split() == [b"19", b"1000"]
    assert marshal.loads(done.stdout) == []
