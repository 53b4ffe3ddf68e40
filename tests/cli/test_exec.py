"""``oomkit exec`` changes nothing about a command: status, signals, terminal, files, jobs."""

import contextlib
import json
import os
import shutil
import signal
import subprocess
import sys
from pathlib import Path

import pytest

import oomkit as oomkit_package
from tests.conftest import Command

OOMKIT = str(Path(sys.executable).parent / "oomkit")
PYTHON = sys.executable


def test_exit_status_and_output_are_the_commands(oomkit: Command) -> None:
    done = oomkit("exec", "--", "sh", "-c", "cat; echo err >&2; exit 7", stdin="hello")
    assert (done.returncode, done.stdout) == (7, "hello")
    assert done.stderr.startswith("err\n")
    assert "exit status 7" in done.stderr.splitlines()[1]


@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGTERM, signal.SIGSEGV])
def test_it_ends_by_the_same_signal(oomkit: Command, number: signal.Signals) -> None:
    done = oomkit("exec", "--", "sh", "-c", f"kill -{number.value} $$")
    assert done.returncode == -number.value
    assert f"killed by {number.name}" in done.stderr
    assert ("by a SIGKILL of unknown origin" in done.stderr) == (number == signal.SIGKILL)


def test_a_command_that_cant_be_started(oomkit: Command, tmp_path: Path) -> None:
    plain = tmp_path / "plain"
    plain.write_text("exit 3\n")
    for args, status, said in (
        ((str(tmp_path / "none"),), 127, "No such file or directory"),
        ((str(tmp_path),), 126, "Permission denied"),
        ((str(plain),), 126, "Permission denied"),
    ):
        done = oomkit("exec", "--", *args)
        assert (done.returncode, done.stdout) == (status, "")
        assert done.stderr == f"oomkit: {args[0]}: {said}\n"
    plain.chmod(0o755)
    assert oomkit("exec", "--", str(plain)).returncode == 3


def test_misuse_runs_nothing(oomkit: Command, tmp_path: Path) -> None:
    mark = tmp_path / "ran"
    for args, said in (
        (("--limit", "1X"), "--limit: '1X': expected a size"),
        (("--limit", "5"), "--limit: '5': expected a size"),
        (("--swap", "-1"), "--swap: '-1': expected a size"),
        (("--adj", "2000"), "expected a whole number from -1000 to 1000, not 2000"),
    ):
        done = oomkit("exec", *args, "--", "touch", str(mark))
        assert done.returncode == 2
        assert said in done.stderr
    assert oomkit("exec").returncode == 2
    assert not mark.exists()


def test_options_behind_the_command_are_its_own(oomkit: Command) -> None:
    assert oomkit("exec", "echo", "--json", "-v").stdout == "--json -v\n"


SHOWS = """
import os, re, sys
text = open("/proc/self/status").read()
print(re.findall(r"Sig(?:Ign|Blk|Cgt):\\s*(\\w+)", text), os.read(int(sys.argv[1]), 9))
"""


def test_a_command_finds_its_signals_and_files_as_they_were() -> None:
    said = []
    for before in ([], [OOMKIT, "exec", "-q", "--"]):
        read, write = os.pipe()
        os.write(write, b"through")
        done = subprocess.run(
            [*before, PYTHON, "-IS", "-c", SHOWS, str(read)],
            capture_output=True, text=True, check=True, pass_fds=[read],
        )  # fmt: skip
        said.append(done.stdout)
        os.close(read)
        os.close(write)
    assert said[0] == said[1]
    assert "through" in said[0]


def test_adj_raises_the_commands_own(oomkit: Command) -> None:
    done = oomkit("exec", "--adj", "700", "--", "cat", "/proc/self/oom_score_adj")
    assert done.stdout == "700\n"


def test_the_record(oomkit: Command, tmp_path: Path) -> None:
    file = tmp_path / "run.json"
    done = oomkit("exec", "--json", str(file), "--", "sh", "-c", "exit 5")
    assert done.returncode == 5
    made = json.loads(file.read_text())
    assert made["command"] == ["sh", "-c", "exit 5"]
    assert made["status"] == {"exit": 5, "signal": None}
    assert made["verdict"]["killer"] == "none"
    assert made["elapsed_s"] >= 0


def test_a_record_that_cant_be_written_changes_no_status(oomkit: Command, tmp_path: Path) -> None:
    done = oomkit("exec", "--json", str(tmp_path / "none/run.json"), "--", "sh", "-c", "exit 4")
    assert done.returncode == 4
    assert "--json" in done.stderr


def started(*args: str) -> "subprocess.Popen[str]":
    """Begin a command that says when it is ready."""
    process = subprocess.Popen(
        [OOMKIT, "exec", *args], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
        start_new_session=True,
    )  # fmt: skip
    assert process.stdout is not None
    assert process.stdout.readline() == "ready\n"
    return process


TRAPS = "trap 'echo got; exit 9' {0}; echo ready; while :; do sleep 0.05; done"


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGHUP, signal.SIGINT, signal.SIGUSR1])
def test_a_signal_to_oomkit_is_the_commands(number: signal.Signals) -> None:
    process = started("--", "sh", "-c", TRAPS.format(number.name.removeprefix("SIG")))
    process.send_signal(number)
    out, _ = process.communicate(timeout=60)
    assert (process.returncode, out) == (9, "got\n")


class Terminal:
    """A terminal of its own with a command in the foreground."""

    def __init__(self, *args: str) -> None:
        self.pid, self.fd = os.forkpty()
        if self.pid == 0:
            with contextlib.suppress(BaseException):
                signal.signal(signal.SIGINT, signal.SIG_DFL)
                signal.signal(signal.SIGTSTP, signal.SIG_DFL)
                os.execvp(args[0], args)
            os._exit(99)
        self.written = ""

    def type(self, text: str) -> None:
        os.write(self.fd, text.encode())

    def until(self, text: str) -> None:
        while text not in self.written:
            self.written += os.read(self.fd, 4096).decode()

    def end(self) -> int:
        with contextlib.suppress(OSError):  # EIO: the last one that had it is gone
            while data := os.read(self.fd, 4096):
                self.written += data.decode()
        _, status = os.waitpid(self.pid, 0)
        os.close(self.fd)
        return os.waitstatus_to_exitcode(status)


def test_ctrl_c_reaches_the_command_once() -> None:
    counts = (
        "import signal, sys\n"
        "got = []\n"
        "signal.signal(signal.SIGINT, lambda *_: got.append(1))\n"
        "print('ready', flush=True)\n"
        "line = sys.stdin.readline()\n"
        "print('got', len(got), 'then', line.strip())\n"
        "sys.exit(6)\n"
    )
    terminal = Terminal(OOMKIT, "exec", "-q", "--", PYTHON, "-IS", "-c", counts)
    terminal.until("ready")
    terminal.type("\x03")
    terminal.until("^C")
    terminal.type("more\n")
    assert terminal.end() == 6
    assert "got 1 then more" in terminal.written


def test_ctrl_c_ends_a_command_that_does_not_mind_as_ever() -> None:
    terminal = Terminal(OOMKIT, "exec", "-q", "--", "sh", "-c", "echo ready; exec sleep 1000")
    terminal.until("ready")
    terminal.type("\x03")
    assert terminal.end() == -signal.SIGINT


def test_a_shell_stops_and_continues_it_as_a_job() -> None:
    if shutil.which("bash") is None:
        pytest.skip("needs bash for its job control")
    job = "sh -c 'echo ready; read line; echo then $line; exit 5'"
    script = f"set -m; {OOMKIT} exec -q -- {job}; echo stopped $?; fg; echo ended $?"
    terminal = Terminal("bash", "-c", script)
    terminal.until("ready")
    terminal.type("\x1a")
    terminal.until(f"stopped {128 + signal.SIGTSTP}")
    terminal.type("on\n")
    terminal.until("then on")
    assert terminal.end() == 0
    assert "ended 5" in terminal.written


STOPPED_EARLY = """
import os, signal, sys
from oomkit.command.launch import end_as, run

def started(pid):
    os.killpg(0, int(sys.argv[1]))
    os.waitid(os.P_PID, pid, os.WSTOPPED | os.WNOWAIT)

end_as(run(["sh", "-c", "read line; exit 5"], [], None, started))
"""


@pytest.mark.parametrize("number", [signal.SIGTSTP, signal.SIGTTIN, signal.SIGTTOU])
def test_it_stops_once_though_both_signals_wait_for_it(number: signal.Signals) -> None:
    """The terminal's own and that of the stopped command."""
    argv = [PYTHON, "-c", STOPPED_EARLY, str(number.value)]
    with subprocess.Popen(argv, stdin=subprocess.PIPE, process_group=0) as process:
        _, status = os.waitpid(process.pid, os.WUNTRACED)
        assert os.WIFSTOPPED(status)
        os.killpg(process.pid, signal.SIGCONT)
        assert process.stdin is not None
        process.stdin.close()
        _, status = os.waitpid(process.pid, os.WUNTRACED)
        process.returncode = 0 if os.WIFSTOPPED(status) else os.waitstatus_to_exitcode(status)
        if os.WIFSTOPPED(status):
            os.killpg(process.pid, signal.SIGKILL)
        assert process.returncode == 5


def test_a_command_that_leaves_a_daemon_behind_is_not_waited_for(tmp_path: Path) -> None:
    note = tmp_path / "pid"
    leaves = f"setsid sleep 1000 </dev/null >/dev/null 2>&1 & echo $! > {note}; exit 3"
    done = subprocess.run([OOMKIT, "exec", "--", "sh", "-c", leaves], capture_output=True,
                          text=True, check=False, timeout=60)  # fmt: skip
    pid = int(note.read_text())
    try:
        os.kill(pid, 0)  # it lives
        assert done.returncode == 3
        if "peak" in done.stderr:  # in a cgroup of its own
            assert "1 of its processes still run in" in done.stderr
    finally:
        os.kill(pid, signal.SIGKILL)


def test_nothing_is_polled_while_the_command_runs() -> None:
    """The command counts how often oomkit, its parent, woke up meanwhile."""
    counts = (
        "import os, time, re\n"
        "def woke():\n"
        "    text = open(f'/proc/{os.getppid()}/status').read()\n"
        "    return int(re.search(r'\\nvoluntary_ctxt_switches:\\s*(\\d+)', text)[1])\n"
        "time.sleep(0.3)\n"
        "first = woke(); time.sleep(1.2); print(woke() - first)\n"
    )
    done = subprocess.run([OOMKIT, "exec", "-q", "--", PYTHON, "-IS", "-c", counts],
                          capture_output=True, text=True, check=True, timeout=60)  # fmt: skip
    assert int(done.stdout) == 0


def test_what_runs_before_the_command_loads_little() -> None:
    done = subprocess.run(
        [PYTHON, "-X", "importtime", "-m", "oomkit", "exec", "-q", "--", "true"],
        capture_output=True, text=True, check=True, timeout=60,
    )  # fmt: skip
    loaded = {line.rpartition("|")[2].strip() for line in done.stderr.splitlines()}
    assert "oomkit.command.launch" in loaded
    assert not loaded & {
        "click",
        "msgspec",
        "rich",
        "json",
        "typing_extensions",
        "subprocess",
        "ctypes",
    }
    assert not {name for name in loaded if name.startswith(("oomkit.kernel", "oomkit.klog"))}


SYSTEMD_RUN = """#!/bin/sh
while [ "$1" != -- ]; do shift; done
shift
exec "$@"
"""
ELSEWHERE = """#!{python} -I
import os, sys
with open({note!r}, "a") as file:
    file.write(" ".join(sys.argv[1:]) + "\\n")
sys.path.insert(0, {source!r})
import oomkit.command.group as group
real, exists = group.own_group, os.path.exists
def own_group(now, limit, swap):
    if "OOMKIT_EXEC_IN_SCOPE" in os.environ:
        return real(None, None, None)
    raise group.LimitError("not allowed here")
group.own_group = own_group
os.path.exists = lambda path: "systemd" in path or "cgroup.controllers" in path or exists(path)
from oomkit.__main__ import main
main()
"""


def test_it_comes_back_inside_of_a_scope_as_it_was_started(tmp_path: Path) -> None:
    """By its own script, as from a package or a single file: there is no module oomkit for -m."""
    note, script, run = tmp_path / "note", tmp_path / "there/oomkit", tmp_path / "systemd-run"
    script.parent.mkdir()
    source = str(Path(oomkit_package.__file__).parents[1])
    script.write_text(ELSEWHERE.format(python=PYTHON, note=str(note), source=source))
    run.write_text(SYSTEMD_RUN)
    script.chmod(0o755)
    run.chmod(0o755)
    words = ["exec", "-q", "--limit", "1G", "--", "echo", "hello"]
    done = subprocess.run(
        [script, *words], capture_output=True, text=True, check=False,
        env={**os.environ, "PATH": f"{tmp_path}:{os.environ['PATH']}"},
    )  # fmt: skip
    assert (done.returncode, done.stdout, done.stderr) == (0, "hello\n", "")
    assert note.read_text().splitlines() == [" ".join(words)] * 2
