"""``oomkit rank --set`` and ``--by``: what would be if this machine were another."""

import json
from pathlib import Path
from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from oomkit.kernel.snapshot_json import encode_snapshot
from oomkit.kernel.state import Memcg, Memory, Snapshot, Task
from oomkit.kernel.versions import rules_for
from oomkit.posture.whatif import SetError, changed
from tests.conftest import Command, fits

ROOT = Path(__file__).parents[2]
SHOP = str(ROOT / "docs/examples/shop.json")
NODE = str(ROOT / "tests/data/machines/node.json")
RULES = rules_for("6.12")
GIB = 1 << 18
WIDE = {"COLUMNS": "200"}


def ask(oomkit: Command, *args: str, source: str = SHOP) -> dict[str, Any]:
    done = oomkit("rank", "--from", source, "--json", *args)
    assert done.returncode in (0, 1), done.stderr
    answer = json.loads(done.stdout)
    assert isinstance(answer, dict)
    return answer


def v1(machine: Snapshot) -> Snapshot:
    memcgs = tuple(
        msgspec.structs.replace(m, version=1, oom_group=False, memsw_limit_pages=60000)
        if m.limit_pages
        else msgspec.structs.replace(m, version=1)
        for m in machine.memcgs
    )
    return msgspec.structs.replace(machine, memcgs=memcgs)


def test_ram_and_swap_move_what_badness_is_measured_against(oomkit: Command) -> None:
    asked = ask(oomkit, "--set", "machine.ram=+4G", "--set", "machine.swap=3G")
    assert asked["total_pages"] == 2031616 + 4 * GIB + 3 * GIB
    ram, swap = asked["what_if"]["changed"]
    assert (ram["was"], ram["now"]) == (2031616 * 4096, 2031616 * 4096 + (4 << 30))
    assert (swap["was"], swap["now"], swap["unit"]) == (2 << 30, 3 << 30, "bytes")
    assert asked["what_if"]["decisions"][0]["altered"] is False


def test_the_change_of_victim_is_said_in_words(oomkit: Command) -> None:
    """0.2 of what is added counts for backup, whose oom_score_adj is 200."""
    done = oomkit("rank", "--from", SHOP, "--set", "machine.ram=3G", "--set", "machine.swap=190M")
    assert "as it is, backup[4711] dies; so changed, mysqld[845] dies" in done.stdout
    assert "machine.ram (MemTotal): 7.75 GiB -> 3.00 GiB" in done.stdout
    assert "in use would not fit" in done.stdout
    done = oomkit("rank", "--from", SHOP, "--adjust", "mysqld=1000")
    assert "as it is, backup[4711] dies; so changed, mysqld[845] dies" in done.stdout
    done = oomkit("rank", "--from", SHOP, "--set", "vm.swappiness=10")
    assert "backup[4711] dies, as without the change" in done.stdout


def test_another_kernel_is_a_change_too(oomkit: Command) -> None:
    assert ask(oomkit, "--set", "machine.kernel=2.6.32") == ask(oomkit, "--kernel", "2.6.32")
    asked = ask(oomkit, "--kernel", "2.6.32")
    assert asked["what_if"]["rules"] == {"was": "6.10", "now": "2.6.32"}
    assert "what_if" not in ask(oomkit, "--kernel", "6.12")
    assert "what_if" not in ask(oomkit)


def test_a_knob_decides(oomkit: Command) -> None:
    done = oomkit("rank", "--from", SHOP, "--set", "vm.panic_on_oom=1", "--json")
    assert done.returncode == 1
    decided = json.loads(done.stdout)["what_if"]["decisions"][0]
    assert (decided["before"]["action"], decided["after"]["action"]) == ("kill", "panic")


def test_a_cgroups_group_flag(oomkit: Command) -> None:
    args = ("--cgroup", "php", "--set", "cgroup.php.oom_group=false")
    decided = ask(oomkit, *args)["what_if"]["decisions"]
    assert len(decided) == 1
    assert len(decided[0]["before"]["victims"]) == 7
    assert [victim["pid"] for victim in decided[0]["after"]["victims"]] == [2105]


def test_a_limit_is_measured_against(oomkit: Command) -> None:
    """3 GiB of swap have no limit there: 2 GiB of memory and 2 GiB of swap."""
    asked = ask(oomkit, "--cgroup", "php", "--set", "cgroup.php8.2-fpm.service.max=2G")
    assert asked["total_pages"] == 2 * GIB + 524288
    asked = ask(
        oomkit, "--cgroup", "php", "--set", "cgroup.php.max=+768M", "--set", "cgroup.php.swap_max=0"
    )
    assert asked["total_pages"] == 2 * GIB
    assert asked["what_if"]["changed"][0]["now"] == 2 << 30
    command = asked["what_if"]["changed"][0]["advice"][0]["command"]
    assert command == "systemctl set-property php8.2-fpm.service MemoryMax=2147483648"


def test_a_limit_below_what_is_used_says_so(oomkit: Command) -> None:
    asked = ask(oomkit, "--set", "cgroup.php.max=200M")
    assert "ends in an OOM of its own at once" in asked["what_if"]["changed"][0]["text"]
    assert [d["cgroup"] for d in asked["what_if"]["decisions"]] == [
        None, "/system.slice/php8.2-fpm.service",
    ]  # fmt: skip
    asked = ask(oomkit, "--set", "cgroup.php.max=1220M")
    assert "page cache has to go first" in asked["what_if"]["changed"][0]["text"]
    asked = ask(oomkit, "--set", "cgroup.php.max=max")
    assert asked["what_if"]["changed"][0]["now"] is None
    asked = ask(oomkit, "--set", "cgroup.php.high=1G")
    assert "kills none" in asked["what_if"]["changed"][0]["text"]


def test_a_cgroup_without_a_record_gets_a_limit(oomkit: Command) -> None:
    asked = ask(oomkit, "--cgroup", "nginx", "--set", "cgroup.nginx.max=1G")
    assert asked["total_pages"] == GIB + 524288


def test_version_1_has_its_own_knobs(oomkit: Command, machine: Snapshot) -> None:
    old = v1(machine)
    snapshot, changes = changed(
        old, ["cgroup.a.max=64M", "cgroup.a.memsw_max=128M", "cgroup.a.swappiness=0"], RULES
    )
    memcg = snapshot.memcgs[-1]
    assert (memcg.limit_pages, memcg.memsw_limit_pages, memcg.swappiness) == (16384, 32768, 0)
    assert changes[0].advice[0].command == (
        "echo 67108864 > /sys/fs/cgroup/memory/pods/a/memory.limit_in_bytes"
    )
    with pytest.raises(SetError, match="version 1 refuses a limit above"):
        changed(old, ["cgroup.a.max=1G"], RULES)
    with pytest.raises(SetError, match="oom_group is of version 2"):
        changed(old, ["cgroup.a.oom_group=true"], RULES)


@given(more=st.integers(-(3 << 18), 64 << 18), free=st.integers(0, 200_000))
def test_memory_is_neither_lost_nor_made_up(more: int, free: int) -> None:
    """Free memory and page cache together change by what RAM does, as far as they reach."""
    memory = Memory(
        total_ram_pages=4 << 18, free_pages=free, available_pages=free + 300_000,
        file_pages=400_000, shmem_pages=50_000, totalreserve_pages=12_000,
        min_wmark_pages=8_000, low_wmark_pages=10_000, high_wmark_pages=12_000,
    )  # fmt: skip
    before = Snapshot(kernel="6.12", memory=memory)
    after, (change,) = changed(
        before, [f"machine.ram={'+' if more >= 0 else ''}{more * 4}K"], RULES
    )
    now = after.memory
    assert now.total_ram_pages == memory.total_ram_pages + more
    moved = now.free_pages + now.file_pages - memory.free_pages - memory.file_pages
    assert moved == more or "would not fit" in change.remark
    assert now.free_pages >= 0
    assert now.file_pages >= now.shmem_pages
    assert now.available_pages is not None
    assert memory.available_pages is not None
    assert (now.available_pages > memory.available_pages) == (more > 0) or abs(more) < 20_000
    if not more:
        assert now == memory


def test_swap_in_use_has_to_fit(machine: Snapshot) -> None:
    after, (change,) = changed(machine, ["machine.swap=0"], RULES)
    assert after.memory.free_swap_pages == 0
    assert after.memory.available_pages == 600000 - 20000
    assert "78.1 MiB that are in swap now would have to come back to memory" in change.remark
    after, (change,) = changed(machine, ["machine.swap=+1G"], RULES)
    assert after.memory.free_swap_pages == machine.memory.free_swap_pages + GIB
    assert change.advice[0].command.startswith("f=/swap.")


def test_watermarks_follow_a_knob() -> None:
    memory = Memory(
        total_ram_pages=1 << 20, available_pages=500_000, totalreserve_pages=24_000,
        min_wmark_pages=16_896, low_wmark_pages=21_120, high_wmark_pages=25_344,
    )  # fmt: skip
    machine = Snapshot(kernel="6.12", memory=memory)
    after, _ = changed(machine, ["vm.min_free_kbytes=+40960"], RULES)
    low, _ = changed(machine, ["vm.min_free_kbytes=1024"], RULES)
    assert after.memory.min_wmark_pages > memory.min_wmark_pages
    assert (after.memory.available_pages or 0) < 500_000 < (low.memory.available_pages or 0)


def test_the_commit_limit_follows(machine: Snapshot) -> None:
    after, _ = changed(machine, ["vm.overcommit_ratio=80"], RULES)
    assert after.memory.commit_limit_pages == 4 * GIB * 80 // 100 + GIB
    after, _ = changed(machine, ["vm.overcommit_kbytes=1048576"], RULES)
    assert after.memory.commit_limit_pages == 2 * GIB
    assert after.sysctl.overcommit_ratio == 0


@pytest.mark.parametrize(
    ("setting", "expected"),
    [
        ("foo", "expected KEY=VALUE with a key such as machine.ram"),
        ("machine.rma=4G", "unknown key 'rma'; did you mean ram?"),
        ("machin.ram=4G", "unknown key 'machin'; did you mean machine?"),
        ("machine.cpus=4", "only ram, swap, kernel affect which process"),
        ("machine.ram=4X", 'expected a size such as "300M"'),
        ("machine.ram=-9G", "that is below 0"),
        ("machine.ram=1M", 'expected a size from "16M" on'),
        ("machine.ram=+nan", 'expected a size such as "300M"'),
        ("vm.swapiness=3", "did you mean swappiness?"),
        ("vm.dirty_ratio=3", "does not affect which process is killed"),
        ("vm.swappiness=999", "expected a whole number from 0 to 200, not 999"),
        ("vm.panic_on_oom=yes", "expected a whole number"),
        ("cgroup.ppods.max=2G", "no memory cgroup 'ppods' in this snapshot; near: /pods"),
        ("cgroup.pods/a.mxa=2G", "did you mean max?"),
        ("cgroup.pods/a.max=huge", '"max" for none'),
        ("cgroup.pods.max=+1G", "there is no limit now to add to or take from"),
        ("cgroup./.max=1G", "the root cgroup has no limits"),
        ("cgroup.a.memsw_max=1G", "is of version 1 cgroups"),
        ("cgroup.a.oom_group=maybe", "expected true or false, not 'maybe'"),
        ("cgroup.a=1G", "expected cgroup.NAME.KEY=VALUE"),
        ("task.mysql.oom_score_adj=1", "no process mysql in this snapshot; near: mysqld"),
        ("task.mysqld.oom_score_adj=1001", "outside -1000..1000"),
        ("task.mysqld.oom_score_adj=x", "expected a whole number from -1000 to 1000"),
        ("task.mysqld.nice=1", "unknown key 'nice'; known: oom_score_adj, oom_adj"),
    ],
)
def test_what_can_not_be_set_is_one_line_that_names_the_place(
    oomkit: Command, machine: Snapshot, setting: str, expected: str
) -> None:
    done = oomkit("rank", "--from", "-", "--set", setting, stdin=encode_snapshot(machine))
    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr.count("\n") == 1
    assert done.stderr.startswith(f"oomkit: --set {setting}: ")
    assert expected in done.stderr


def test_a_star_stands_for_all(oomkit: Command) -> None:
    asked = ask(oomkit, "--set", "cgroup.*.max=3G", "--set", "task.*.oom_score_adj=0")
    changed_cgroups = [c["cgroup"] for c in asked["what_if"]["changed"] if c["cgroup"]]
    assert len(changed_cgroups) == 5
    assert "/" not in changed_cgroups
    assert all(t["oom_score_adj"] == 0 for t in asked["tasks"])
    assert asked["what_if"]["decisions"][0]["altered"]


def test_set_works_on_the_live_machine(oomkit: Command) -> None:
    done = oomkit("rank", "--json", "--set", "machine.ram=+1G")
    assert done.returncode in (0, 1)
    change = json.loads(done.stdout)["what_if"]["changed"][0]
    assert change["now"] - change["was"] == 1 << 30


def test_what_was_set_of_a_name_says_whom(oomkit: Command) -> None:
    done = oomkit("rank", "--from", SHOP, "--adjust", "php-fpm8.2=900")
    assert "php-fpm8.2, 7 processes: 950, 2100, 2101, 2102, 2103, 2104, 2105: 0 -> 900" in (
        " ".join(done.stdout.split())
    )


@pytest.mark.parametrize("width", [60, 80, 200])
def test_what_ifs_fit_the_window(oomkit: Command, width: int) -> None:
    for args in (
        ("--set", "machine.ram=+4G", "--set", "cgroup.php.max=100M", "--adjust", "mysqld=3"),
        ("--by", "unit"), ("--by", "cgroup"), ("--by", "user"), ("--by", "pod"), ("--by", "name"),
    ):  # fmt: skip
        for source in (SHOP, NODE):
            if source == NODE and "--set" in args:
                continue
            done = oomkit("rank", "--from", source, *args, env={"COLUMNS": str(width)})
            assert done.returncode == 0, done.stderr
            assert all(fits(line, width) for line in done.stdout.splitlines())


def test_groups_are_in_the_order_in_which_they_lose_a_process(oomkit: Command) -> None:
    groups = ask(oomkit, "--by", "unit")["groups"]
    firsts = [group["first"]["rank"] for group in groups if group["first"]]
    assert firsts == sorted(firsts)
    assert groups[-1]["first"] is None
    php = next(group for group in groups if group["name"] == "php8.2-fpm.service")
    assert (php["tasks"], php["first"]["pid"]) == (7, 2105)
    assert php["rss_pages"] == 9472 + 41088 + 44416 + 47488 + 38784 + 42112 + 85120
    assert sum(group["tasks"] for group in groups) == 17


def test_groups_by_cgroup_pod_and_user(oomkit: Command) -> None:
    by = {g["name"]: g for g in ask(oomkit, "--by", "cgroup")["groups"]}
    assert by["/system.slice/php8.2-fpm.service"]["usage_pages"] == 317440
    assert by["/system.slice/php8.2-fpm.service"]["limit_pages"] == 327680
    assert by["/system.slice/nginx.service"]["limit_pages"] is None
    pods = ask(oomkit, "--by", "pod", source=NODE)["groups"]
    assert pods[0]["name"] == "1f0c9a52-77aa-4c0e-9d2e-0a1b2c3d4e5f"
    assert (pods[0]["tasks"], pods[0]["first"]["pid"]) == (3, 2100)
    users = {g["name"]: g["tasks"] for g in ask(oomkit, "--by", "user")["groups"]}
    assert users["33"] == 8
    inside = ask(oomkit, "--by", "name", "--cgroup", "php", "--top", "1")
    assert [group["name"] for group in inside["groups"]] == ["php-fpm8.2"]


def test_hostile_names_stay_escaped_in_what_ifs(oomkit: Command, machine: Snapshot) -> None:
    nasty = "/\x1b[2J\nweb"
    tasks = (*machine.tasks, Task(pid=4000, comm="\x1bx", cgroup=nasty, rss_pages=10))
    memcgs = (*machine.memcgs, Memcg(path=nasty, limit_pages=100, usage_pages=99))
    data = encode_snapshot(msgspec.structs.replace(machine, tasks=tasks, memcgs=memcgs))
    for args in (("--set", "cgroup.2J.max=4K"), ("--by", "cgroup"), ("--by", "name"),
                 ("--cgroup", "2J"), ("--set", "cgroup.\x1b.oom_group=x")):  # fmt: skip
        done = oomkit("rank", "--from", "-", *args, stdin=data)
        assert "\x1b" not in done.stdout + done.stderr


def test_the_task_that_asks_pays_whichever_it_is(oomkit: Command) -> None:
    """The scan names a victim only if the one that asks can't be killed."""
    knob = ("--set", "vm.oom_kill_allocating_task=1")
    done = oomkit("rank", "--from", SHOP, *knob, env=WIDE)
    pays = "the process whose request fails then is killed (vm.oom_kill_allocating_task)"
    assert f"so changed, {pays}; if it can't be, backup[4711] dies" in done.stdout
    assert f"if the machine ran out of memory now: {pays}" in done.stdout
    (decision,) = ask(oomkit, *knob)["what_if"]["decisions"]
    assert decision["altered"] is True
    assert (decision["before"]["asker_dies"], decision["after"]["asker_dies"]) == (False, True)
    # Who asks is known, the OOM is a cgroup's, or the knob does not exist yet.
    done = oomkit("rank", "--from", SHOP, *knob, "--asker", "mysqld", env=WIDE)
    assert "so changed, mysqld[845] dies" in done.stdout
    for others in (("--cgroup", "php8.2-fpm.service"), ("--kernel", "2.6.11")):
        assert pays not in oomkit("rank", "--from", SHOP, *knob, *others, env=WIDE).stdout


def test_what_is_so_already_is_no_change(oomkit: Command) -> None:
    setting = "cgroup.php8.2-fpm.service.oom_group=1"
    done = oomkit("rank", "--from", SHOP, "--set", setting, env=WIDE)
    assert done.stdout.startswith(
        "asked for oom_group of cgroup /system.slice/php8.2-fpm.service: 1, as it is\n"
    )
    assert "OOMPolicy" not in done.stdout
    done = oomkit("rank", "--from", SHOP, "--set", "machine.ram=-400G")
    assert done.stderr == ("oomkit: --set machine.ram=-400G: that is below 0; it is 7.75 GiB now\n")


def test_why_gives_sizes_with_their_unit(oomkit: Command) -> None:
    done = oomkit("rank", "--from", SHOP, "--why", "mysqld")
    assert "it is chosen first with 669 MiB (171364 pages) more\n" in done.stdout
