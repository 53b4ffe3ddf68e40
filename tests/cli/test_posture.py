"""``oomkit`` alone, ``oomkit kernels``, help and misuse, as processes."""

import json

import msgspec
import pytest

from oomkit.kernel.snapshot_json import encode_snapshot
from oomkit.kernel.state import Snapshot, Sysctl
from tests.conftest import Command


def test_posture_of_this_machine(oomkit: Command) -> None:
    done = oomkit()
    assert done.returncode in (0, 1)
    for heading in ("kernel", "memory", "swap", "commit", "pressure", "next", "attention"):
        assert any(line.startswith(heading) for line in done.stdout.splitlines())
    assert "\x1b" not in done.stdout


def test_posture_names_the_victim_and_what_deserves_attention(
    oomkit: Command, machine: Snapshot
) -> None:
    done = oomkit("--from", "-", stdin=encode_snapshot(machine))
    assert done.returncode == 0
    assert "next      mysqld[812] dies" in done.stdout
    assert "a database tops the list: mysqld[812] dies first" in done.stdout
    assert "cgroup /pods/a is at 98 % of its limit" in done.stdout


def test_no_panic_is_foretold_where_others_are_hidden(oomkit: Command, machine: Snapshot) -> None:
    """In a container without anything killable the machine kills somebody it does not show."""
    only = tuple(task for task in machine.tasks if task.comm == "sshd")
    done = oomkit(
        "--from", "-", stdin=encode_snapshot(msgspec.structs.replace(machine, tasks=only))
    )
    assert done.returncode == 0
    assert "panic" not in done.stdout
    assert "others are hidden" in done.stdout
    init = tuple(task for task in machine.tasks if task.comm in ("sshd", "systemd"))
    done = oomkit(
        "--from", "-", stdin=encode_snapshot(msgspec.structs.replace(machine, tasks=init))
    )
    assert done.returncode == 1
    assert "critical: no process can be killed" in done.stdout


def test_bad_news_has_status_1(oomkit: Command, machine: Snapshot) -> None:
    tight = msgspec.structs.replace(machine, sysctl=Sysctl(overcommit_memory=2))
    memory = msgspec.structs.replace(tight.memory, committed_pages=(3 << 18) - 10)
    tight = msgspec.structs.replace(tight, memory=memory)
    done = oomkit("--from", "-", "--json", stdin=encode_snapshot(tight))
    assert done.returncode == 1
    answer = json.loads(done.stdout)
    assert answer["state"] == "critical"
    assert answer["attention"][0]["code"] == "commit_headroom"


def test_kernels_lists_every_rule_set(oomkit: Command) -> None:
    done = oomkit("kernels", "--json")
    names = [row["rules"]["name"] for row in json.loads(done.stdout)]
    assert {"2.6.11", "2.6.32", "2.6.32-article", "2.6.32-el6", "5.9", "6.14"} <= set(names)
    text = oomkit("kernels").stdout
    assert "2.6.32-article" in text
    assert "oom_reaper" in text


def test_kernels_of_one_release(oomkit: Command) -> None:
    done = oomkit("kernels", "--of", "4.19.3")
    assert "memory.oom.group" in done.stdout


@pytest.mark.parametrize("command", [(), ("rank",), ("kernels",), ("snapshot",)])
def test_help_has_an_example(oomkit: Command, command: tuple[str, ...]) -> None:
    done = oomkit(*command, "--help")
    assert done.returncode == 0
    assert "Example" in done.stdout
    assert "oomkit" in done.stdout


@pytest.mark.parametrize("args", [("nope",), ("--nope",), ("--kernel", "x"), ("--json", "rank")])
def test_misuse(oomkit: Command, args: tuple[str, ...]) -> None:
    done = oomkit(*args)
    assert done.returncode == 2
    assert done.stdout == ""
    assert done.stderr.count("\n") == 1


def test_start_up_imports_nothing_heavy(oomkit: Command, machine: Snapshot) -> None:
    """--json must not pay for what only tables need."""
    done = oomkit(
        "rank", "--json", "--from", "-",
        stdin=encode_snapshot(machine),
        env={"PYTHONPROFILEIMPORTTIME": "1"},
    )  # fmt: skip
    imported = {line.rsplit("|", 1)[-1].strip() for line in done.stderr.splitlines()}
    assert "oomkit.kernel.rank" in imported
    assert not imported & {"rich.table", "rich.console", "asyncio", "hypothesis"}
