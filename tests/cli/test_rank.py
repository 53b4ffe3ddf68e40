"""``oomkit rank`` as a process: what a user asks, and what comes back."""

import json
import subprocess
import sys
from pathlib import Path

import msgspec
import pytest

from oomkit.kernel.snapshot_json import encode_snapshot
from oomkit.kernel.state import Snapshot, Sysctl
from tests.conftest import Command

TASK_FIELDS = {
    "rank", "pid", "comm", "uid", "rss_pages", "swap_pages", "pgtable_pages", "oom_score_adj",
    "oom_adj", "badness", "oom_score", "kernel_oom_score", "eligible", "reason",
    "cgroup", "unit", "pod", "container", "cmdline",
}  # fmt: skip


def ask(oomkit: Command, machine: Snapshot, *args: str) -> tuple[int, str, str]:
    done = oomkit("rank", "--from", "-", *args, stdin=encode_snapshot(machine))
    return done.returncode, done.stdout, done.stderr


def test_json_has_the_documented_fields(oomkit: Command, machine: Snapshot) -> None:
    status, out, _ = ask(oomkit, machine, "--json")
    answer = json.loads(out)
    assert status == 0
    assert answer["rules"] == "6.10"
    assert answer["scope"] == "global"
    assert answer["total_pages"] == 5 << 18
    assert [v["pid"] for v in answer["decision"]["victims"]] == [812]
    assert answer["decision"]["trace"][0].startswith("__alloc_pages_noprof:")
    assert all(set(task) == TASK_FIELDS for task in answer["tasks"])
    assert [task["pid"] for task in answer["tasks"]][:2] == [812, 900]
    out_of_it = {t["pid"]: t["reason"] for t in answer["tasks"] if not t["eligible"]}
    assert out_of_it[500] == "oom_score_adj -1000"
    assert out_of_it[1] == "global init"


def test_what_if_under_another_kernel_with_an_adjustment(
    oomkit: Command, machine: Snapshot
) -> None:
    status, out, _ = ask(
        oomkit, machine, "--json", "--kernel", "2.6.32-754.el6.x86_64", "--adjust", "812=-300"
    )
    answer = json.loads(out)
    assert status == 0
    assert answer["rules"] == "2.6.32-el6"
    # mysqld holds 216/1000 and loses 300; the leak holds 100/1000.
    assert [t["badness"] for t in answer["tasks"][:2]] == [100, 22]
    assert answer["tasks"][0]["comm"] == "leak"


def test_cgroup_with_oom_group_takes_all_along(oomkit: Command, machine: Snapshot) -> None:
    status, out, _ = ask(oomkit, machine, "--cgroup", "/pods/a")
    assert status == 0
    assert "2 of 2 processes die together, 0 are left" in out
    _, out, _ = ask(oomkit, machine, "--cgroup", "pods/a", "--json")
    answer = json.loads(out)
    assert answer["scope"] == "memcg"
    assert [v["pid"] for v in answer["decision"]["victims"]] == [902, 901]
    groups = [c for c in answer["decision"]["counterfactuals"] if c["kind"] == "oom_group"]
    assert groups[0]["needed"] == 0


def test_old_kernel_knows_no_oom_group(oomkit: Command, machine: Snapshot) -> None:
    _, out, _ = ask(oomkit, machine, "--cgroup", "/pods/a", "--kernel", "4.18")
    assert "memory.oom.group is not set: 1 of 2 dies, 1 are left" in out


def test_why_tells_what_would_alter_it(oomkit: Command, machine: Snapshot) -> None:
    _, out, _ = ask(oomkit, machine, "--why", "812")
    assert "mysqld[812] dies" in out
    assert "select_bad_process: mysqld[812] has the highest badness, 282844" in out
    assert "with oom_score_adj of mysqld[812] at or below -116" in out
    _, out, _ = ask(oomkit, machine, "--why", "500")
    assert "sshd[500] can't be chosen: oom_score_adj -1000" in out
    _, out, _ = ask(oomkit, machine, "--why", "901")
    assert "it is chosen first with oom_score_adj at or above 201" in out


def test_a_process_may_be_named(oomkit: Command, machine: Snapshot) -> None:
    by_pid = ask(oomkit, machine, "--why", "812", "--asker", "900")
    assert ask(oomkit, machine, "--why", "mysqld", "--asker", "leak") == by_pid
    _, out, _ = ask(oomkit, machine, "--adjust", "mysqld=-300", "--adjust", "web=1000", "--json")
    found = {t["pid"]: t["oom_score_adj"] for t in json.loads(out)["tasks"]}
    assert (found[812], found[901], found[902], found[900]) == (-300, 1000, 1000, 0)


def test_a_name_may_be_longer_than_the_kernel_keeps(oomkit: Command) -> None:
    shop = Path(__file__).parents[2] / "docs/examples/shop.json"
    done = oomkit("rank", "--from", str(shop), "--why", "systemd-journald")
    assert "systemd-journal[412] lives" in done.stdout


def test_the_next_ones_change_names_its_process_and_units(
    oomkit: Command, machine: Snapshot
) -> None:
    """The adjustment is the first one's, and points are pages."""
    _, out, _ = ask(oomkit, machine)
    assert "badness 282844 pages (1.08 GiB) of 5.00 GiB" in out
    assert "next is leak[900], 151472 pages (592 MiB) behind" in out
    assert "with oom_score_adj of mysqld[812] at or below -116 (now 0), leak[900] dies" in out
    _, out, _ = ask(oomkit, machine, "--kernel", "2.6.36")
    assert "badness 215 thousandths of 5.00 GiB" in out
    _, out, _ = ask(oomkit, machine, "--kernel", "2.6.32")
    assert " points behind; with oom_adj of " in out


@pytest.mark.parametrize("args", [(), ("--json",)])
def test_an_unknown_outcome_is_no_bad_news(
    oomkit: Command, machine: Snapshot, args: tuple[str, ...]
) -> None:
    empty = msgspec.structs.replace(machine, tasks=())
    status, out, _ = ask(oomkit, empty, *args)
    assert status == 0
    assert json.loads(out)["others_hidden"] is True if args else "unknown" in out
    init = msgspec.structs.replace(machine, tasks=machine.tasks[:1])
    assert ask(oomkit, init, *args)[0] == 1


def test_panic_is_bad_news(oomkit: Command, machine: Snapshot) -> None:
    panicky = msgspec.structs.replace(machine, sysctl=Sysctl(panic_on_oom=1))
    status, out, _ = ask(oomkit, panicky)
    assert status == 1
    assert "kernel panic (Out of memory: system-wide panic_on_oom is enabled)" in out


def test_foreign_names_never_reach_the_terminal_raw(oomkit: Command, machine: Snapshot) -> None:
    nasty = msgspec.structs.replace(machine.tasks[3], comm="\x1b[31mred[/]")
    tasks = (*machine.tasks[:3], nasty, *machine.tasks[4:])
    _, out, _ = ask(oomkit, msgspec.structs.replace(machine, tasks=tasks))
    assert "\x1b" not in out
    assert r"\x1b[31mred[/]" in out


@pytest.mark.parametrize(
    ("args", "expected"),
    [
        (("--adjust", "812"), "expected PROCESS=ADJ, such as 812=-300"),
        (("--adjust", "812=2000"), "outside -1000..1000"),
        (("--adjust", "7=1"), "no process 7"),
        (("--why", "7"), "no process 7"),
        (("--asker", "7"), "no process 7"),
        (("--cgroup", "/nope"), "no memory cgroup '/nope'"),
        (("--adjust", "mysqld=x"), "expected PROCESS=ADJ"),
        (("--adjust", "mysql=1"), "no process mysql in this snapshot; near: mysqld"),
        (("--why", "msqld"), "no process msqld in this snapshot; near: mysqld"),
        (("--why", "web"), "2 processes are named web: 901, 902; give a pid"),
        (("--asker", "web"), "2 processes are named web: 901, 902; give a pid"),
        (("--kernel", "1.2"), "older than 2.6.11"),
        (("--top", "-1"), "--top"),
        (("--watch",), "--watch"),
        (("--interval", "nan"), "--interval: expected seconds"),
        (("extra",), "unexpected extra argument"),
    ],
)
def test_misuse_is_one_line_and_status_2(
    oomkit: Command, machine: Snapshot, args: tuple[str, ...], expected: str
) -> None:
    status, out, err = ask(oomkit, machine, *args)
    assert status == 2
    assert out == ""
    assert err.count("\n") == 1
    assert expected in err


@pytest.mark.parametrize("text", ["", "{}", "[1]", "{", '{"kernel": 3}', "\x00"])
def test_a_broken_snapshot_is_refused_in_one_line(oomkit: Command, text: str) -> None:
    done = oomkit("rank", "--from", "-", stdin=text)
    assert done.returncode == 2
    assert done.stderr.startswith("oomkit: standard input: ")
    assert done.stderr.count("\n") == 1


def test_live_machine(oomkit: Command) -> None:
    done = oomkit("rank", "--json")
    assert done.returncode in (0, 1)
    answer = json.loads(done.stdout)
    assert answer["tasks"]


def test_a_snapshot_is_read_back(oomkit: Command) -> None:
    taken = oomkit("snapshot")
    assert taken.returncode == 0
    done = oomkit("rank", "--from", "-", "--json", stdin=taken.stdout)
    assert done.returncode in (0, 1)
    assert json.loads(done.stdout)["kernel"] == json.loads(taken.stdout)["kernel"]


def test_a_reader_that_has_seen_enough_ends_the_watch() -> None:
    """``oomkit rank --watch | head`` is no fault of anybody."""
    executable = Path(sys.executable).parent / "oomkit"
    watch = subprocess.Popen(
        [executable, "rank", "--watch", "--interval", "0.1", "--top", "1"],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    assert watch.stdout is not None
    assert watch.stderr is not None
    assert watch.stdout.readline()
    watch.stdout.close()
    assert watch.wait(timeout=30) == 0
    assert "/proc" not in watch.stderr.read()
    watch.stderr.close()
