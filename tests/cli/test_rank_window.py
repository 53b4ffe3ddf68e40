"""``oomkit rank`` in windows of any width, and which cgroup a row belongs to."""

import json
import os
import re
from pathlib import Path

import msgspec
import pytest

from oomkit.kernel.snapshot_json import encode_snapshot
from oomkit.kernel.state import Snapshot
from tests.conftest import Command, fits

ROOT = Path(__file__).parents[2]
SHOP = str(ROOT / "docs/examples/shop.json")
NODE = str(ROOT / "tests/data/machines/node.json")

WIDTHS = (20, 40, 60, 72, 80, 100, 140, 200)


def ask(oomkit: Command, width: int, *args: str, source: str = SHOP) -> str:
    done = oomkit("rank", "--from", source, *args, env={"COLUMNS": str(width)})
    assert done.returncode == 0, done.stderr
    return done.stdout


@pytest.mark.parametrize("width", WIDTHS)
@pytest.mark.parametrize("source", [SHOP, NODE])
def test_a_number_is_shown_whole_or_not_at_all(oomkit: Command, width: int, source: str) -> None:
    whole = json.loads(oomkit("rank", "--from", source, "--json").stdout)["tasks"]
    out = ask(oomkit, width, "--top", "0", source=source)
    for task in whole:
        if not task["eligible"]:
            continue
        row = next(line for line in out.splitlines() if re.search(rf"\b{task['pid']} ", line))
        assert row.split()[1 if row.split()[0] == str(task["rank"]) else 0] == str(task["pid"])
        assert str(task["badness"]) in row.split()
        if "score" in out.split("\n\n", 1)[1].split("\n", 1)[0].split():
            assert str(task["oom_score"]) in row.split()


@pytest.mark.parametrize("width", WIDTHS[1:])
@pytest.mark.parametrize(
    "args", [(), ("--cgroup", "php"), ("--kernel", "2.6.32"), ("--why", "845")]
)
def test_every_line_fits(oomkit: Command, width: int, args: tuple[str, ...]) -> None:
    out = ask(oomkit, width, "--top", "4", *args)
    assert all(fits(line, width) for line in out.splitlines())


@pytest.mark.parametrize("width", WIDTHS)
def test_columns_without_room_are_named(oomkit: Command, width: int) -> None:
    out = " ".join(ask(oomkit, width).split())
    heading = re.search(r"(?:# )?pid name .*?badness(?: score)?(?: kernel)?", out)
    assert heading is not None
    for column in ("rss", "swap", "pgtables", "adj", "score", "kernel", "user"):
        left_out = re.search(rf"\(no room for [^;]*\b{column}\b", out) is not None
        assert (column in heading[0].split()) != left_out


@pytest.mark.parametrize("width", [60, 80, 100])
def test_the_reasons_of_the_protected_are_readable(oomkit: Command, width: int) -> None:
    out = ask(oomkit, width, "--top", "4")
    assert "global init" in out
    assert "oom_score_adj -1000" in out
    assert "…" not in out


@pytest.mark.parametrize("width", [60, 80, 200])
def test_a_row_says_which_pod_it_is(oomkit: Command, width: int) -> None:
    out = ask(oomkit, width, source=NODE)
    lines = out.splitlines()
    for pid, pod, container in (("2100", "1f0c9a52", "2" * 12), ("3100", "2b6d1e07", "5a" * 6)):
        at = next(i for i, line in enumerate(lines) if f"{pid} java" in line)
        assert f"pod {pod}, container {container}" in " ".join(lines[at : at + 2])
    assert "/app/orders.jar" in out


def test_json_has_cgroup_names_and_command_line(oomkit: Command) -> None:
    answer = json.loads(oomkit("rank", "--from", NODE, "--json").stdout)
    row = next(task for task in answer["tasks"] if task["pid"] == 2100)
    assert row["cgroup"].startswith("/kubepods.slice/")
    assert row["pod"] == "1f0c9a52-77aa-4c0e-9d2e-0a1b2c3d4e5f"
    assert row["container"] == "2" * 12
    assert row["cmdline"] == "java -Xmx512m -jar /app/orders.jar"
    shop = json.loads(oomkit("rank", "--from", SHOP, "--json").stdout)["tasks"]
    assert {t["unit"] for t in shop if t["comm"] == "mysqld"} == {"mysql.service"}


def test_the_live_table_and_snapshot_show_command_lines(oomkit: Command) -> None:
    answer = json.loads(oomkit("rank", "--json").stdout)
    own = next(task for task in answer["tasks"] if task["pid"] == os.getpid())
    (mine, *_) = Path("/proc/self/cmdline").read_text(encoding="utf-8").split("\0")
    assert own["cmdline"].startswith(mine)
    plain = json.loads(oomkit("snapshot").stdout)
    assert all(task["cmdline"] is None for task in plain["tasks"])
    asked = json.loads(oomkit("snapshot", "--cmdline").stdout)
    assert any((task["cmdline"] or "").startswith(mine) for task in asked["tasks"])


def test_hostile_names_and_command_lines_are_escaped(oomkit: Command, machine: Snapshot) -> None:
    nasty = "\x1b[31m\n[red]\u202e"
    tasks = tuple(
        msgspec.structs.replace(task, comm=nasty[:15], cgroup=f"/{nasty}/a", cmdline=nasty)
        for task in machine.tasks
    )
    hostile = encode_snapshot(msgspec.structs.replace(machine, tasks=tasks))
    for width in ("40", "80", "200"):
        done = oomkit("rank", "--from", "-", stdin=hostile, env={"COLUMNS": width})
        assert "\x1b" not in done.stdout
        assert "\u202e" not in done.stdout


def test_wide_characters_keep_columns_straight(oomkit: Command, machine: Snapshot) -> None:
    tasks = tuple(
        msgspec.structs.replace(task, comm="数据库" if task.pid == 812 else task.comm)
        for task in machine.tasks
    )
    data = encode_snapshot(msgspec.structs.replace(machine, tasks=tasks))
    out = oomkit("rank", "--from", "-", stdin=data).stdout.splitlines()
    row = next(line for line in out if "数据库" in line and line.lstrip().startswith("1"))
    heading = next(line for line in out if line.startswith("#"))
    assert row.index("282844") + 3 + len("282844") == heading.index("badness") + len("badness")


@pytest.mark.parametrize("args", [(), ("--json",)])
def test_a_cgroups_table_holds_only_its_own(oomkit: Command, args: tuple[str, ...]) -> None:
    done = oomkit("rank", "--from", SHOP, "--cgroup", "backup.service", *args)
    if args:
        assert [task["pid"] for task in json.loads(done.stdout)["tasks"]] == [4711]
    else:
        assert "systemd" not in done.stdout
        assert "memory.oom.group is not set: 1 of 1 dies" in done.stdout


def test_oom_group_is_said_of_the_victim_alone(oomkit: Command) -> None:
    """php-fpm's flag says nothing about backup, which dies first of all in system.slice."""
    out = oomkit("rank", "--from", SHOP, "--cgroup", "/system.slice").stdout
    assert "memory.oom.group is not set: 1 of 16 dies, 15 are left" in out


def test_oom_group_above_the_cgroup_that_runs_out_is_not_reached(
    oomkit: Command, machine: Snapshot
) -> None:
    """The kernel looks from the victim up to the cgroup whose limit was hit."""
    memcgs = tuple(msgspec.structs.replace(m, oom_group=m.path == "/pods") for m in machine.memcgs)
    data = encode_snapshot(msgspec.structs.replace(machine, memcgs=memcgs))
    out = oomkit("rank", "--from", "-", "--cgroup", "/pods/a", stdin=data).stdout
    assert "memory.oom.group is not set: 1 of 2 dies" in out


@pytest.mark.parametrize(
    ("source", "given", "path"),
    [
        (SHOP, "php", "/system.slice/php8.2-fpm.service"),
        (SHOP, "system", "/system.slice"),
        (NODE, "22222222", "cri-containerd-" + "2" * 64 + ".scope"),
        (
            NODE,
            "1f0c9a52-77aa",
            "/kubepods-burstable-pod1f0c9a52_77aa_4c0e_9d2e_0a1b2c3d4e5f.slice",
        ),
        (NODE, "/sys/fs/cgroup/system.slice/ssh.service", "/system.slice/ssh.service"),
    ],
)
def test_an_unmistakable_part_of_a_cgroups_path_will_do(
    oomkit: Command, source: str, given: str, path: str
) -> None:
    answer = json.loads(oomkit("rank", "--from", source, "--json", "--cgroup", given).stdout)
    assert answer["cgroup"].endswith(path)


@pytest.mark.parametrize(
    ("given", "expected"),
    [
        ("java", "no memory cgroup 'java' in this snapshot"),
        ("kubelt", "near: /system.slice/kubelet.service"),
        ("cri-containerd", "may mean /kubepods.slice"),
    ],
)
def test_a_doubtful_cgroup_is_refused_in_one_line(
    oomkit: Command, given: str, expected: str
) -> None:
    done = oomkit("rank", "--from", NODE, "--cgroup", given)
    assert (done.returncode, done.stdout) == (2, "")
    assert expected in done.stderr
    assert done.stderr.count("\n") == 1
