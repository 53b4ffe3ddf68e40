"""What holds for every command: help, mistyped names, streams that fail, Ctrl-C."""

import contextlib
import fcntl
import importlib
import os
import re
import signal
import struct
import subprocess
import sys
import termios
import time
from pathlib import Path

import click
import pytest

from oomkit.cli import agree
from oomkit.cli.group import COMMANDS
from oomkit.cli.progress import fitting
from oomkit.views.kernels import bootable_lines
from tests.conftest import Command
from tests.forked import command, server

ROOT = Path(__file__).parents[2]
OOMKIT = Path(sys.executable).parent / "oomkit"
SHOP = str(ROOT / "docs" / "examples" / "shop.json")
NODE = str(ROOT / "docs" / "examples" / "node.json")
REDIS = str(ROOT / "docs" / "examples" / "redis.json")
NIGHT = str(ROOT / "docs" / "examples" / "night.jsonl")
LOG = str(ROOT / "tests" / "data" / "oom-logs" / "g-3.10.0-514-el7-sed-mysqld.log")
SCENARIO = str(ROOT / "scenarios" / "oom-group.toml")

PRINTING = (
    ("--version",),
    ("--help",),
    ("help", "run"),
    ("--from", SHOP),
    ("rank", "--from", SHOP),
    ("rank", "--from", SHOP, "--json"),
    ("rank", "--watch", "--top", "1"),
    ("run", SCENARIO),
    ("run", SCENARIO, "--json"),
    ("run", SCENARIO, "--log"),
    ("explain", LOG),
    ("explain", LOG, "--json"),
    ("history", "--journal", NIGHT),
    ("kernels",),
    ("kernels", "--json"),
    ("doctor", "--from", REDIS),
    ("doctor", "--from", REDIS, "--json"),
    ("snapshot",),
    ("guard", "--check"),
    ("daemons",),
    ("cgroup",),
    ("cgroup", "loader", "--from", NODE),
    ("cgroup", "loader", "--from", NODE, "--json"),
)


@pytest.mark.parametrize("args", PRINTING, ids=" ".join)
def test_a_full_disk_is_one_plain_line(args: tuple[str, ...]) -> None:
    with open("/dev/full", "wb") as full:
        done = subprocess.run(
            [OOMKIT, *args], stdout=full, stderr=subprocess.PIPE, check=False, timeout=60
        )
    assert done.returncode == 2
    said = done.stderr.decode().splitlines()
    assert "oomkit: standard output: No space left on device" in said
    assert not any("internal error" in line or "Traceback" in line for line in said)
    assert not any("/proc" in line for line in said)


@pytest.mark.parametrize("args", PRINTING, ids=" ".join)
def test_a_closed_standard_output_is_one_plain_line(args: tuple[str, ...]) -> None:
    done = subprocess.run(
        ["sh", "-c", 'exec "$@" >&-', "sh", OOMKIT, *args],
        capture_output=True, text=True, check=False, timeout=60,
    )  # fmt: skip
    assert done.returncode == 2
    assert "oomkit: standard output: Bad file descriptor" in done.stderr.splitlines()


@pytest.mark.parametrize("closed", ["2>&-", "<&-", "2>/dev/full"])
def test_other_streams_that_fail_change_no_answer(closed: str) -> None:
    for args, status in ((("rank", "--from", SHOP), 0), (("run", "none.toml"), 2)):
        done = subprocess.run(
            ["sh", "-c", f'exec "$@" {closed}', "sh", OOMKIT, *args],
            capture_output=True, text=True, check=False, timeout=60,
        )  # fmt: skip
        assert done.returncode == status
        assert "backup" in done.stdout or status == 2


@pytest.mark.parametrize(
    "args",
    [("explain", "-"), ("explain", "--json", "-"), ("explain", "--follow", "-"),
     ("rank", "--from", "-"), ("--from", "-"), ("new", "--from", "-", "x")],
    ids=" ".join,
)  # fmt: skip
def test_a_closed_standard_input_is_named(args: tuple[str, ...], tmp_path: Path) -> None:
    done = subprocess.run(
        ["sh", "-c", 'exec "$@" <&-', "sh", OOMKIT, *args],
        capture_output=True, text=True, check=False, timeout=60, cwd=tmp_path,
    )  # fmt: skip
    assert done.returncode == 2
    assert done.stderr.splitlines() == ["oomkit: standard input: Bad file descriptor"]


@pytest.mark.parametrize(
    "args",
    [("explain", "{}"), ("rank", "--from", "{}"), ("doctor", "--from", "{}"),
     ("--from", "{}"), ("run", "{}"),
     ("sweep", "{}"), ("new", "--from", "{}"), ("new", "{}/x"), ("snapshot", "-o", "{}/x"),
     ("explain", LOG, "--html", "{}/x"), ("run", SCENARIO, "--html", "{}/x.html"),
     ("run", SCENARIO, "--svg", "{}/x.svg"), ("agree", "{}"),
     ("guard", "--check", "--policy", "{}"), ("history", "--journal", "{}"),
     ("run", SCENARIO, "--policy", "{}")],
    ids=" ".join,
)  # fmt: skip
def test_every_command_names_a_file_alike(args: tuple[str, ...], tmp_path: Path) -> None:
    """Without quotes, so that it can be copied; the reason follows."""
    missing = f"{tmp_path}/no such"
    done = command(*(arg.format(missing) for arg in args), cwd=tmp_path)
    assert done.returncode == 2
    last = done.stderr.splitlines()[-1]
    assert f" {missing}" in last
    assert "No such file or directory" in last
    assert "'" not in last


def test_agree_plays_the_battery_of_the_source_or_the_installed_one(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "prefix", f"{tmp_path}/venv")
    installed = tmp_path / "venv/share/oomkit/scenarios/battery"
    with pytest.raises(SystemExit) as end:
        agree.battery()
    assert end.value.code == 2
    assert capsys.readouterr().err == (
        f"oomkit: scenarios/battery: no such directory here, and none at {installed}: expected a "
        "directory or scenarios to play\n"
    )
    installed.mkdir(parents=True)
    assert agree.battery() == str(installed)
    (tmp_path / "scenarios/battery").mkdir(parents=True)
    assert agree.battery() == "scenarios/battery"


def test_a_reader_of_errors_that_left_does_not_hide_the_status() -> None:
    read, write = os.pipe()
    os.close(read)
    done = subprocess.run([OOMKIT, "run", "none.toml"], stderr=write, check=False, timeout=60)
    os.close(write)
    assert done.returncode == 2


def test_a_file_is_not_written_into_a_standard_stream_that_was_closed(tmp_path: Path) -> None:
    """The first file that is opened would get number 1, and what is printed would go into it."""
    target = tmp_path / "s.json"
    done = subprocess.run(
        ["sh", "-c", 'exec "$@" >&-', "sh", OOMKIT, "snapshot", "-o", str(target)],
        capture_output=True, text=True, check=False, timeout=60,
    )  # fmt: skip
    assert done.returncode == 0
    assert target.read_bytes().startswith(b"{")


@pytest.mark.parametrize("name", sorted(COMMANDS))
def test_every_command_has_h_and_help_with_its_name(oomkit: Command, name: str) -> None:
    long, short, named = oomkit(name, "--help"), oomkit(name, "-h"), oomkit("help", name)
    assert long.returncode == short.returncode == named.returncode == 0
    assert long.stdout == short.stdout == named.stdout
    assert long.stdout.startswith(f"Usage: oomkit {name}")


@pytest.mark.parametrize("columns", ["60", "80", "200"])
def test_summaries_of_commands_are_whole_at_any_width(oomkit: Command, columns: str) -> None:
    done = oomkit("--help", env={"COLUMNS": columns})
    assert "..." not in done.stdout.partition("Commands:")[2].partition("Examples:")[0]
    assert "settings and policies, and find the best." in " ".join(done.stdout.split())
    assert max(map(len, done.stdout.splitlines())) <= int(columns)


@pytest.mark.parametrize(
    ("args", "said"),
    [
        (("rnak",), "no such command 'rnak'; did you mean rank?"),
        (("help", "expalin"), "no such command 'expalin'; did you mean explain?"),
        (("frobnicate",), "no such command 'frobnicate'; expected one of agree, cgroup, "),
        (("run",), "Missing argument 'SCENARIO|RECORDING'. Try 'oomkit run --help'."),
        (("new",), "Missing argument 'NAME'. Try 'oomkit new --help'."),
        (("rank", "--xyzzy"), "No such option '--xyzzy'. Try 'oomkit rank --help'."),
    ],
)
def test_misuse_says_where_to_read_on(oomkit: Command, args: tuple[str, ...], said: str) -> None:
    done = oomkit(*args)
    assert done.returncode == 2
    assert done.stderr.startswith(f"oomkit: {said}")
    assert done.stderr.count("\n") == 1


def _interrupted(args: tuple[str, ...], after_s: float, cwd: Path) -> tuple[int, str]:
    process = subprocess.Popen(
        [OOMKIT, *args],
        stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True, cwd=cwd, process_group=0,
    )  # fmt: skip
    time.sleep(after_s)
    with contextlib.suppress(ProcessLookupError):
        os.killpg(process.pid, signal.SIGINT)
    _, said = process.communicate(timeout=60)
    return process.returncode, said


@pytest.mark.parametrize("step", range(12))
def test_ctrl_c_is_quiet_at_any_moment(tmp_path: Path, step: int) -> None:
    """Before the command's first line runs, the interpreter itself starts, and the script that an
    installer made may import modules: a traceback of those names no file of ours.
    """
    sweep = ("sweep", str(ROOT / "sweeps" / "policies.toml"), "--workers", "2")
    for args, after_s in ((("rank",), 0.1 + 0.02 * step), (sweep, 0.1 + 0.13 * step)):
        status, said = _interrupted(args, after_s, tmp_path)
        assert "internal error" not in said
        assert status in (0, 1, 130, -signal.SIGINT)
        if "Traceback" in said:
            assert f"{os.sep}oomkit{os.sep}" not in said.replace(str(OOMKIT), "")
            assert "multiprocessing" not in said
        else:
            assert all(line.startswith("oomkit: stopped") for line in said.splitlines())
        for left in tmp_path.iterdir():
            left.unlink()


def test_ctrl_c_is_quiet_from_the_commands_first_line_on() -> None:
    code = "import os, oomkit.__main__; os.kill(os.getpid(), 2); oomkit.__main__.main()"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert (done.returncode, done.stderr) == (-signal.SIGINT, "")


@pytest.mark.parametrize(
    "args",
    [
        ("explain", "--html", "-", LOG),
        ("explain", LOG),
        ("sweep", str(ROOT / "sweeps" / "cgroup-limits.toml"), "--set", "repeat=1", "--html", "-"),
    ],
)
def test_a_reader_that_goes_away_is_no_error(tmp_path: Path, args: tuple[str, ...]) -> None:
    """Pages on standard output go the way of all other output."""
    read, write = os.pipe()
    os.close(read)
    done = subprocess.run(
        [OOMKIT, *args], stdout=write, stderr=subprocess.PIPE, text=True, cwd=tmp_path, check=False
    )
    os.close(write)
    assert (done.returncode, done.stderr) == (0, "")
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize(
    ("args", "said"),
    [
        (("history", "nope"), "'[NUMBER]': expected a whole number, 1 or more, not 'nope'"),
        (("history", "0"), "'[NUMBER]': expected a whole number, 1 or more, not 0"),
        (("explain", "--workers", "0"), "expected a whole number from 1 to 1024, not 0"),
        (("rank", "--top", "-1"), "expected a whole number, 0 or more, not -1"),
        (("rank", "--interval", "0"), "expected a number from 0.1 to 3600, not 0.0"),
        (("exec", "--adj", "many", "true"), "a whole number from -1000 to 1000, not 'many'"),
        (("run", SCENARIO, "--seed", "x"), "expected a whole number, not 'x'"),
        (("run", SCENARIO, "--seed", "9" * 23), f"expected a whole number, not {'9' * 23}"),
    ],
)
def test_what_is_no_number_is_told_in_plain_words(
    oomkit: Command, args: tuple[str, ...], said: str
) -> None:
    done = oomkit(*args)
    assert done.returncode == 2
    assert said in done.stderr
    assert done.stderr.count("\n") == 1


@pytest.mark.parametrize("command", [("rank",), ("new", "x"), ("doctor",), ("cgroup",)])
def test_an_empty_snapshot_is_said_to_be_empty(
    oomkit: Command, tmp_path: Path, command: tuple[str, ...]
) -> None:
    empty = tmp_path / "empty.json"
    empty.write_text("\n")
    done = oomkit(*command, "--from", str(empty))
    assert done.returncode == 2
    said = "empty; expected a snapshot, as oomkit snapshot writes it"
    assert done.stderr == f"oomkit: {empty}: {said}\n"


def test_numbers_beyond_64_bits_are_a_range_error(oomkit: Command) -> None:
    huge = "9" * 23
    for args in (
        ("history", "--last", huge, "--journal", NIGHT),
        ("history", huge, "--journal", NIGHT),
        ("run", SCENARIO, "--seed", huge),
        ("run", SCENARIO, "--seed", huge, "--json"),
        ("rank", "--from", SHOP, "--adjust", f"4711={huge}"),
        ("rank", "--from", SHOP, "--why", huge),
        ("guard", "--check", "--pid", huge),
        ("explain", "--last", huge, LOG, "--workers", huge),
        ("guard", "--check", "--set", f"whom.work={huge}"),
    ):
        done = oomkit(*args)
        assert done.returncode == 2, args
        assert "internal error" not in done.stderr
        assert done.stderr.count("\n") == 1


def test_a_record_that_is_not_there_is_missed_in_the_file_that_was_named(oomkit: Command) -> None:
    done = oomkit("history", "999", "--journal", NIGHT)
    assert done.returncode == 2
    assert done.stderr == f"oomkit: {NIGHT}: holds no record 999\n"


def test_a_sweep_needs_no_directory_that_it_can_write_to(tmp_path: Path) -> None:
    """Where only an answer is asked for."""
    here, elsewhere = tmp_path / "here", tmp_path / "tmp"
    here.mkdir(mode=0o555)
    elsewhere.mkdir()
    if os.access(here, os.W_OK):
        pytest.skip("root may write everywhere")
    done = subprocess.run(
        [OOMKIT, "sweep", str(ROOT / "sweeps" / "cgroup-limits.toml"), "--set", "runs=1"],
        capture_output=True, text=True, check=False, timeout=120, cwd=here,
        env={**os.environ, "TMPDIR": str(elsewhere)},
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    assert "Permission denied" not in done.stderr
    assert list(elsewhere.rglob("*.part")) == []


@pytest.mark.parametrize("command", ["kernels", "daemons"])
def test_a_home_that_cant_be_written_is_named(oomkit: Command, command: str) -> None:
    what = {"kernels": "6.12", "daemons": "earlyoom"}[command]
    done = oomkit(command, "--fetch", what, env={"XDG_CACHE_HOME": "/proc/none"})
    assert done.returncode == 2
    assert "[Errno" not in done.stderr
    assert "XDG_CACHE_HOME" in done.stderr or "apt" in done.stderr


def _on_a_terminal(columns: int, *args: str, env: dict[str, str] | None = None) -> str:
    """What the command writes to a terminal of a width."""
    master, slave = os.openpty()
    fcntl.ioctl(slave, termios.TIOCSWINSZ, struct.pack("HHHH", 24, columns, 0, 0))
    environment = {**os.environ, "TERM": "xterm-256color", **(env or {})}
    environment.pop("COLUMNS", None)
    streams = (os.open(os.devnull, os.O_RDONLY), os.dup(slave), slave)
    server().begin(args, streams, environment, os.getcwd())
    written = b""
    with contextlib.suppress(OSError):  # EIO: the last one that wrote is gone
        while chunk := os.read(master, 65536):
            written += chunk
    os.close(master)
    server().status()
    return written.decode()


WITH_COLOURS = (
    ("history", "--journal", NIGHT),
    ("history", "2", "--journal", NIGHT),
    ("explain", LOG),
    ("run", SCENARIO),
    ("kernels",),
)


@pytest.mark.parametrize("args", [*WITH_COLOURS, ("--help",), ("guard", "--check")], ids=" ".join)
def test_no_color_means_plain_text(args: tuple[str, ...]) -> None:
    assert "\x1b[" not in _on_a_terminal(100, *args, env={"NO_COLOR": "1"})


def test_without_no_color_a_terminal_is_coloured() -> None:
    assert all("\x1b[" in _on_a_terminal(100, *args, env={"NO_COLOR": ""}) for args in WITH_COLOURS)


@pytest.mark.parametrize("columns", [60, 80, 200])
@pytest.mark.parametrize(
    "args",
    [
        ("history", "--journal", NIGHT),
        ("history", "2", "--journal", NIGHT),
        ("kernels",),
        ("guard", "--check"),
        ("guard", "--check", "--pid", "1"),
        ("daemons",),
        ("cgroup", "--from", NODE),
        ("cgroup", "loader", "--from", NODE),
        *((name, "--help") for name in sorted(COMMANDS)),
    ],
    ids=" ".join,
)
def test_output_fits_the_terminal(args: tuple[str, ...], columns: int) -> None:
    written = _on_a_terminal(columns, *args, env={"NO_COLOR": "1"})
    wide = [line for line in written.splitlines() if len(line.rstrip()) > columns]
    # Commands to copy, and notes on stderr, which are a line each.
    assert [line for line in wide if not line.lstrip().startswith(("oomkit ", "oomkit:"))] == []


def test_a_wrapped_record_keeps_its_column(oomkit: Command) -> None:
    done = oomkit("history", "2", "--journal", NIGHT, env={"COLUMNS": "60"})
    assert "\n            growth\n" in done.stdout


def test_scores_of_a_record_are_sizes(oomkit: Command) -> None:
    done = oomkit("history", "2", "--journal", NIGHT)
    assert "e+0" not in done.stdout
    assert "2.68 GiB gain 2.70 GiB, growth 1, work 0.991" in done.stdout


def test_paths_of_bootable_kernels_can_be_copied() -> None:
    image = f"/srv/{'a' * 100}/boot/vmlinuz-6.12.1"
    lines = list(bootable_lines([("6.12.1", image, None)]))
    assert lines == ["6.12.1", f"  image    {image}", "  modules  none"]


def test_both_names_of_an_option_work(oomkit: Command) -> None:
    of, kernel = oomkit("kernels", "--of", "4.18"), oomkit("kernels", "--kernel", "4.18")
    assert of.stdout == kernel.stdout != ""
    for option in ("-o", "--out", "--output"):
        done = oomkit("sweep", str(ROOT / "sweeps" / "policies.toml"), option, "rows.txt")
        assert done.stderr == (
            "oomkit: --output: rows.txt: expected a name that ends in .parquet, .csv or .jsonl\n"
        )


def test_a_progress_line_is_never_wider_than_the_terminal(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COLUMNS", "20")
    assert fitting("x" * 50) == "x" * 16 + "..."
    assert fitting("short") == "short"


def test_an_interrupt_that_a_finalizer_swallowed_comes_again() -> None:
    code = (
        "import signal, sys, time\n"
        "from oomkit.cli.group import _Interrupts\n"
        "interrupts = _Interrupts()\n"
        "class Dying:\n"
        "    def __del__(self):\n"
        "        signal.raise_signal(signal.SIGINT)\n"
        "try:\n"
        "    one = Dying()\n"
        "    del one\n"
        "    time.sleep(60)\n"
        "except KeyboardInterrupt:\n"
        "    sys.exit(3)\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], check=False, capture_output=True, text=True, timeout=60
    )
    assert (done.returncode, done.stdout, done.stderr) == (3, "", "")


PRIVATE_WORDS = re.compile(
    r"\b(who|whom|whoever|nobody|everybody|somebody|so many|so long|anew|of late|tells?|told|"
    r"gets short|goes on|take along)\b",
    re.IGNORECASE,
)


@pytest.mark.parametrize("name", sorted(COMMANDS))
def test_every_option_is_described_in_plain_words(oomkit: Command, name: str) -> None:
    module = importlib.import_module(COMMANDS[name])
    for param in module.command.params:
        if isinstance(param, click.Option):
            assert param.help, param.name
    printed = oomkit(name, "--help", env={"COLUMNS": "80"}).stdout
    assert PRIVATE_WORDS.findall(printed) == []
    assert str(2**63 - 1) not in printed


def test_the_start_imports_what_every_command_needs_alone() -> None:
    code = (
        "import gc, sys; sys.argv = ['oomkit', '--version']\n"
        "from oomkit.__main__ import main\n"
        "try: main()\n"
        "except SystemExit: pass\n"
        "print(gc.isenabled(), *sorted(m for m in sys.modules if m.startswith('oomkit')))"
    )
    done = subprocess.run([sys.executable, "-c", code], check=True, capture_output=True, text=True)
    assert done.stdout.splitlines()[-1].split() == [
        "True",
        "oomkit",
        "oomkit.__main__",
        "oomkit.cli",
        "oomkit.cli.group",
        "oomkit.cli.main",
        "oomkit.cli.streams",
    ]
