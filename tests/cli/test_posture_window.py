"""The posture screen in windows of any width, on terminals, and what it advises."""

import json
import os
import pty
import shlex
import subprocess
import sys
from pathlib import Path

import msgspec
import pytest

from oomkit.kernel.snapshot_json import encode_snapshot
from oomkit.kernel.state import Memcg, Memory, Snapshot
from tests.conftest import Command, fits

ROOT = Path(__file__).parents[2]
SHOP = str(ROOT / "docs/examples/shop.json")
NODE = str(ROOT / "tests/data/machines/node.json")


@pytest.mark.parametrize("width", [60, 80, 200])
@pytest.mark.parametrize("source", [SHOP, NODE])
def test_the_screen_fits_and_what_goes_on_is_indented(
    oomkit: Command, width: int, source: str
) -> None:
    done = oomkit("--from", source, env={"COLUMNS": str(width)})
    assert done.returncode == 0
    for line in done.stdout.splitlines():
        assert fits(line, width)
        assert not line or line.startswith(" " * 10) or line[:10].rstrip() in {
            "kernel", "memory", "swap", "commit", "pressure", "next", "attention",
        }  # fmt: skip


def test_the_next_ones_cgroup_is_named(oomkit: Command) -> None:
    assert "backup[4711] is in /system.slice/backup.service" in oomkit("--from", SHOP).stdout
    out = " ".join(oomkit("--from", NODE, env={"COLUMNS": "60"}).stdout.split())
    assert "java[2100] is in pod 1f0c9a52, container 222222222222" in out


def test_the_bar_and_its_text_say_the_same(oomkit: Command) -> None:
    out = oomkit("--from", SHOP).stdout
    assert "[#####################...] 90 % of 7.75 GiB used, 828 MiB left" in out
    assert "[####....................] 15 % of 2.00 GiB used, 1.69 GiB left" in out


def test_a_pod_near_its_limit_is_one_line(oomkit: Command) -> None:
    done = oomkit("--from", NODE, "--json")
    near = [i for i in json.loads(done.stdout)["attention"] if i["code"] == "cgroup_near_limit"]
    text = "pod 1f0c9a52 (burstable), container 222222222222, is at 99 % of its limit"
    assert [item["text"] for item in near] == [f"{text} (page cache included)"]
    assert near[0]["cgroup"].endswith("cri-containerd-" + "2" * 64 + ".scope")
    command = near[0]["advice"][0]["command"]
    assert command.endswith("| grep 1f0c9a52-77aa-4c0e-9d2e-0a1b2c3d4e5f")


UID = "0f0f0f0f-1111-2222-3333-444455556666"


@pytest.mark.parametrize(
    ("paths", "texts"),
    [
        (
            [f"/kubepods/besteffort/pod{UID}", f"/kubepods/besteffort/pod{UID}/{'ab' * 32}"],
            ["pod 0f0f0f0f (besteffort), container abababababab, is at 97 % of its limit"],
        ),
        (
            [f"/kubepods.slice/kubepods-pod{UID.replace('-', '_')}.slice"],
            ["pod 0f0f0f0f (guaranteed) is at 97 % of its limit"],
        ),
        ([f"/system.slice/docker-{'12' * 32}.scope"], ["container 121212121212 is at 97 %"]),
        (["/outer", "/outer/inner"], ["cgroup /outer/inner is at 97 % of its limit"]),
        (["/one", "/two"], ["cgroup /one is at 97 %", "cgroup /two is at 97 %"]),
    ],
)
def test_nested_cgroups_are_reported_once(
    oomkit: Command, machine: Snapshot, paths: list[str], texts: list[str]
) -> None:
    memcgs = tuple(Memcg(path=path, limit_pages=1000, usage_pages=970) for path in paths)
    full = msgspec.structs.replace(machine, memcgs=memcgs)
    done = oomkit("--from", "-", "--json", stdin=encode_snapshot(full))
    found = [i for i in json.loads(done.stdout)["attention"] if i["code"] == "cgroup_near_limit"]
    assert len(found) == len(texts)
    assert all(item["text"].startswith(text) for item, text in zip(found, texts, strict=True))


def test_json_says_what_the_screen_shows(oomkit: Command, machine: Snapshot) -> None:
    answer = json.loads(oomkit("--from", "-", "--json", stdin=encode_snapshot(machine)).stdout)
    assert answer["memory"] == {
        "total_pages": 1 << 20, "free_pages": 200000, "available_pages": 600000,
    }  # fmt: skip
    assert answer["swap"] == {"total_pages": 1 << 18, "free_pages": (1 << 18) - 20000}
    assert answer["pressure"]["some_avg10"] == 0.5
    assert answer["page_size"] == 4096
    old = Memory(total_ram_pages=1000, free_pages=100, file_pages=300, shmem_pages=40)
    before = encode_snapshot(msgspec.structs.replace(machine, memory=old, pressure=None))
    answer = json.loads(oomkit("--from", "-", "--json", stdin=before).stdout)
    assert answer["memory"]["available_pages"] == 360
    assert answer["pressure"] is None


def on_a_terminal(*args: str, **env: str) -> bytes:
    """What the command sends to a terminal."""
    master, slave = pty.openpty()
    executable = str(Path(sys.executable).parent / "oomkit")
    environment = {k: v for k, v in os.environ.items() if k not in ("NO_COLOR", "COLUMNS")}
    process = subprocess.Popen(
        [executable, *args], stdout=slave, env={**environment, "TERM": "xterm", **env}
    )
    os.close(slave)
    output = b""
    try:
        while data := os.read(master, 4096):
            output += data
    except OSError:
        pass  # the terminal's end
    process.wait()
    os.close(master)
    return output


@pytest.mark.parametrize("command", [(), ("rank",)])
def test_colours_are_for_terminals_that_want_them(command: tuple[str, ...]) -> None:
    args = (*command, "--from", SHOP)
    colours = [b"\x1b[%dm" % code for code in (*range(31, 38), *range(91, 98))]
    assert b"\x1b[" in on_a_terminal(*args)
    if not command:
        assert b"\x1b[33m" in on_a_terminal(*args)
    without = on_a_terminal(*args, NO_COLOR="1")
    assert not any(colour in without for colour in colours)


def commands(oomkit: Command, machine: Snapshot, knob: str) -> list[str]:
    done = oomkit("rank", "--from", "-", "--json", stdin=encode_snapshot(machine))
    found = json.loads(done.stdout)["decision"]["counterfactuals"]
    return [
        advice["command"] for item in found if item["knob"].endswith(knob)
        for advice in item["advice"]
    ]  # fmt: skip


def in_cgroup(machine: Snapshot, path: str) -> Snapshot:
    tasks = tuple(
        msgspec.structs.replace(task, cgroup=path) if task.pid == 812 else task
        for task in machine.tasks
    )
    memcgs = (*machine.memcgs, Memcg(path=path))
    return msgspec.structs.replace(machine, tasks=tasks, memcgs=memcgs)


def test_an_adjustment_comes_with_its_commands(oomkit: Command, machine: Snapshot) -> None:
    path = r"/system.slice/my\x2ddb@1.service"
    found = commands(oomkit, in_cgroup(machine, path), "oom_score_adj")
    assert found[0] == "choom -n -116 -p 812"
    words = shlex.split(found[1])
    assert words[:3] == ["mkdir", "-p", r"/etc/systemd/system/my\x2ddb@1.service.d"]
    assert words[-2:] == ["systemctl", "daemon-reload"]
    assert r"/etc/systemd/system/my\x2ddb@1.service.d/50-oom.conf" in words
    assert commands(oomkit, machine, "oom_score_adj") == ["choom -n -116 -p 812"]


def test_a_drop_in_is_written_as_it_says(
    oomkit: Command, machine: Snapshot, tmp_path: Path
) -> None:
    """The user manager's command, run by a shell in another home."""
    path = "/user.slice/user-1000.slice/user@1000.service/app.slice/it's mine.service"
    found = commands(oomkit, in_cgroup(machine, path), "oom_score_adj")
    stub = tmp_path / "systemctl"
    stub.write_text(f'#!/bin/sh\necho "$@" > {tmp_path}/called\n')
    stub.chmod(0o755)
    env = {"HOME": str(tmp_path), "PATH": f"{tmp_path}:{os.environ['PATH']}"}
    subprocess.run(["sh", "-c", found[1]], check=True, env=env)
    folder = tmp_path / ".config/systemd/user/it's mine.service.d"
    assert (folder / "50-oom.conf").read_text() == "[Service]\nOOMScoreAdjust=-116\n"
    assert (tmp_path / "called").read_text() == "--user daemon-reload\n"


def test_the_command_on_the_screen_is_the_command(oomkit: Command) -> None:
    """Also where the window breaks it."""
    whole = json.loads(oomkit("--from", SHOP, "--json").stdout)
    wanted = [
        shlex.split(advice["command"])
        for item in whole["counterfactuals"] if item["kind"] == "oom_score_adj"
        for advice in item["advice"]
    ]  # fmt: skip
    for width in ("40", "80", "200"):
        out = oomkit("--from", SHOP, env={"COLUMNS": width}).stdout
        lines = [line.strip() for line in out.splitlines()]
        start = next(i for i, line in enumerate(lines) if line.startswith("mkdir"))
        end = next(i for i in range(start, len(lines)) if lines[i].endswith("daemon-reload"))
        text = " ".join(line.removesuffix("\\") for line in lines[start : end + 1])
        assert shlex.split(text) == wanted[1]


def test_a_unit_file_is_proposed_for_whole_units_only(oomkit: Command) -> None:
    """It would move the other six workers along."""
    done = oomkit("rank", "--from", SHOP, "--cgroup", "php", "--json")
    found = json.loads(done.stdout)["decision"]["counterfactuals"][0]
    assert [advice["command"] for advice in found["advice"]] == ["choom -n -45 -p 2105"]
    done = oomkit("rank", "--from", SHOP, "--adjust", "php-fpm8.2=5", "--json")
    first, second = json.loads(done.stdout)["what_if"]["changed"][0]["advice"]
    assert first["command"].startswith("for p in 950 2100 ")
    assert "php8.2-fpm.service.d" in second["command"]


def test_no_command_is_made_of_control_characters(oomkit: Command, machine: Snapshot) -> None:
    nasty = in_cgroup(machine, "/system.slice/a\nreboot\x1b.service")
    found = commands(oomkit, nasty, "oom_score_adj")
    assert found == ["choom -n -116 -p 812"]
    assert "\x1b" not in oomkit("rank", "--from", "-", stdin=encode_snapshot(nasty)).stdout


def test_old_kernels_get_the_old_file(oomkit: Command, machine: Snapshot) -> None:
    old = msgspec.structs.replace(machine, kernel="2.6.32")
    found = commands(oomkit, old, "oom_adj")
    assert len(found) == 1
    assert found[0].startswith("echo -")
    assert found[0].endswith("/oom_adj")
