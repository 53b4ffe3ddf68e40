"""What the doctor finds, and that its change mends it, by the same rules."""

from collections.abc import Callable

import msgspec
import pytest

from oomkit.host.configuration import Configuration, Daemon, Tmpfs, Zram
from oomkit.kernel.state import Memcg, Snapshot, Task
from oomkit.kernel.versions import rules_for
from oomkit.posture.doctor.examine import examine
from oomkit.posture.doctor.finding import Finding

GIB = 1 << 18
"""Pages."""
QUIET = Configuration(
    controller="v2",
    panic_timeout_s=10,
    daemons=(Daemon(name="oomkit guard", pid=812, acts=True),),
)

Changed = Callable[[Snapshot], Snapshot]


def examined(snapshot: Snapshot, configuration: Configuration | None = QUIET) -> dict[str, Finding]:
    return {f.code: f for f in examine(snapshot, rules_for(snapshot.kernel), configuration)}


def with_memory(**fields: int) -> Changed:
    return lambda s: msgspec.structs.replace(s, memory=msgspec.structs.replace(s.memory, **fields))


def with_sysctl(**fields: int) -> Changed:
    return lambda s: msgspec.structs.replace(s, sysctl=msgspec.structs.replace(s.sysctl, **fields))


def with_task(pid: int, **fields: object) -> Changed:
    def change(s: Snapshot) -> Snapshot:
        tasks = tuple(msgspec.structs.replace(t, **fields) if t.pid == pid else t for t in s.tasks)
        return msgspec.structs.replace(s, tasks=tasks)

    return change


def with_memcg(memcg: Memcg) -> Changed:
    return lambda s: msgspec.structs.replace(s, memcgs=(*s.memcgs, memcg))


def both(*changes: Changed) -> Changed:
    def change(s: Snapshot) -> Snapshot:
        for one in changes:
            s = one(s)
        return s

    return change


def quiet(machine: Snapshot) -> Snapshot:
    """A machine with nothing to find: the database does not top the list."""
    return both(
        with_task(812, rss_pages=GIB // 8, anon_rss_pages=GIB // 8, file_rss_pages=0,
                  oom_score_adj=-1000),
        with_memory(high_wmark_pages=20000),
    )(machine)  # fmt: skip


def test_where_nothing_invites_a_bad_oom_nothing_is_found(machine: Snapshot) -> None:
    assert examined(quiet(machine)) == {}


UNSWAPPED = with_memory(total_swap_pages=0, free_swap_pages=0)
SERVICE = "/system.slice/db.service"

CASES: list[tuple[str, Changed, Configuration | None, str, str]] = [
    ("no_swap_no_guard", UNSWAPPED, msgspec.structs.replace(QUIET, daemons=()),
     "/etc/systemd/zram-generator.conf", "4.29 GiB of memory and swap can be had"),
    ("two_daemons", with_memory(), msgspec.structs.replace(
        QUIET, daemons=(Daemon(name="earlyoom", pid=812), *QUIET.daemons)),
     "", "answered once, by oomkit guard"),
    ("daemon_killable", with_task(812, oom_score_adj=0), QUIET, "", "the next OOM: "),
    ("adj_opposite", with_task(500, oom_score_adj=500, cgroup="/system.slice/ssh.service"), QUIET,
     "/etc/systemd/system/ssh.service.d/50-oomkit-adj.conf",
     "leak[900] dies; now sshd[500] dies"),
    ("database_first", with_task(812, rss_pages=2 * GIB, oom_score_adj=0, cgroup=SERVICE), QUIET,
     "/etc/systemd/system/db.service.d/50-oomkit-adj.conf",
     "leak[900] dies; now mysqld[812] dies"),
    ("all_protected", with_task(900, rss_pages=3 * GIB, oom_score_adj=-1000), QUIET, "",
     "leak[900] dies; now web[902]"),
    ("allocating_task", with_sysctl(oom_kill_allocating_task=1), QUIET,
     "/etc/sysctl.d/90-oomkit-oom_kill_allocating_task.conf", "leak[900] dies"),
    ("panic_hangs", with_sysctl(panic_on_oom=1),
     msgspec.structs.replace(QUIET, panic_timeout_s=0),
     "/etc/sysctl.d/90-oomkit-kernel-panic.conf",
     "without the panic the next OOM: leak[900] dies; now the machine panics"),
    ("limit_above_ram", both(
        with_memcg(Memcg(path="/system.slice")),
        with_memcg(Memcg(path="/system.slice/app.service", limit_pages=6 * GIB)),
        with_task(901, cgroup="/system.slice/app.service")), QUIET,
     "/etc/systemd/system/app.service.d/50-oomkit-limit.conf",
     "a leak in it ends in it: web[901] dies; now any process can: leak[900] dies"),
    ("high_without_swap", both(
        with_memcg(Memcg(path="/app", high_pages=20000, usage_pages=19900, swap_max_pages=0)),
        with_task(901, cgroup="/app")), QUIET,
     "", "an OOM of it: web[901] dies; now its tasks are throttled"),
    ("fork_refused", both(
        with_task(812, comm="redis-server", rss_pages=GIB, anon_rss_pages=GIB),
        with_sysctl(overcommit_memory=2),
        with_memory(committed_pages=3 * GIB - 1000)), QUIET,
     "/etc/sysctl.d/90-oomkit-overcommit_memory.conf", "fork() is granted"),
    ("eviction_too_late", with_memory(high_wmark_pages=30000),
     msgspec.structs.replace(QUIET, eviction_bytes=100 << 20, eviction_from="its default"),
     "/etc/kubernetes/kubelet.conf.d/90-oomkit.conf", "205 MiB left above the watermarks"),
    ("min_free_kbytes", with_sysctl(min_free_kbytes=1 << 20), QUIET,
     "/etc/sysctl.d/90-oomkit-min_free_kbytes.conf", "min watermarks: "),
    ("psi_off", lambda s: msgspec.structs.replace(s, pressure=None),
     msgspec.structs.replace(QUIET, command_line="quiet psi=0"),
     "/etc/default/grub.d/90-oomkit-psi-1.cfg", "policies that ask for pressure"),
    ("cgroup_v1", with_memory(), msgspec.structs.replace(QUIET, controller="hybrid"),
     "/etc/default/grub.d/90-oomkit-systemd-unified-cgroup-hierarchy-1.cfg", "OOMPolicy=kill"),
    ("tmpfs_unbounded", with_memory(), msgspec.structs.replace(
        QUIET, tmpfs=(Tmpfs(path="/tmp", size_bytes=None, used_bytes=0),)),
     "/etc/systemd/system/tmp.mount.d/50-oomkit-size.conf",
     "it leaves 3.00 GiB for processes; now 0 B"),
    ("zram_too_large", with_memory(), msgspec.structs.replace(
        QUIET, zram=(Zram(name="zram0", size_bytes=8 << 30),)),
     "/etc/systemd/zram-generator.conf", "filled, it takes 683 MiB"),
]  # fmt: skip


@pytest.mark.parametrize(
    ("code", "change", "configuration", "file", "alters"), CASES, ids=[c[0] for c in CASES]
)
def test_it_is_found_with_evidence_reason_change_and_effect(
    code: str,
    change: Changed,
    configuration: Configuration | None,
    file: str,
    alters: str,
    machine: Snapshot,
) -> None:
    found = examined(change(quiet(machine)), configuration)
    assert code in found
    finding = found[code]
    assert alters in finding.alters
    assert all((finding.evidence, finding.reason, finding.change))
    assert finding.files or finding.commands
    assert file in {f.path for f in finding.files} | ({""} if not finding.files else set())


def test_each_file_holds_what_its_kind_of_file_holds(machine: Snapshot) -> None:
    for _, change, configuration, _, _ in CASES:
        for finding in examined(change(quiet(machine)), configuration).values():
            for file in finding.files:
                assert file.path.startswith("/etc/")
                assert file.text.endswith("\n")
                if ".d/50-oomkit" in file.path:
                    assert file.text.startswith("[")
                if "sysctl.d" in file.path:
                    assert file.text.partition(" = ")[2].strip().isdigit()


@pytest.mark.parametrize(
    ("code", "change", "mended"),
    [
        ("fork_refused", CASES[10][1], with_sysctl(overcommit_memory=0)),
        ("adj_opposite", CASES[3][1], with_task(500, oom_score_adj=0)),
        ("all_protected", CASES[5][1], with_task(900, oom_score_adj=0)),
        ("allocating_task", CASES[6][1], with_sysctl(oom_kill_allocating_task=0)),
    ],
)
def test_the_change_mends_it(
    code: str, change: Changed, mended: Changed, machine: Snapshot
) -> None:
    ill = change(quiet(machine))
    assert code in examined(ill)
    assert code not in examined(mended(ill))


def test_a_unit_shared_with_others_gets_no_drop_in_for_one(machine: Snapshot) -> None:
    """OOMScoreAdjust= is for all of a unit's processes."""
    one = with_task(500, oom_score_adj=500, cgroup="/system.slice/all.service")
    other = with_task(900, cgroup="/system.slice/all.service")
    finding = examined(both(one, other)(quiet(machine)))["adj_opposite"]
    assert finding.files == ()
    assert finding.commands


def test_a_name_that_could_be_anything_makes_no_file(machine: Snapshot) -> None:
    cgroup = "/system.slice/a\n[Service]\nExecStart=evil.service"
    change = with_task(500, oom_score_adj=500, cgroup=cgroup)
    finding = examined(change(quiet(machine)))["adj_opposite"]
    assert finding.files == ()
    assert all("evil" not in advice.command for advice in finding.commands)


def test_of_a_snapshot_alone_only_what_it_holds_is_said(machine: Snapshot) -> None:
    found = examined(both(UNSWAPPED, with_sysctl(panic_on_oom=1))(quiet(machine)), None)
    assert found == {}


def test_where_processes_are_hidden_no_guard_is_missed(machine: Snapshot) -> None:
    """In a container's pid namespace the machine's guard can't be seen."""
    inside = msgspec.structs.replace(
        UNSWAPPED(quiet(machine)),
        tasks=(Task(pid=1, comm="sh", rss_pages=10),),
    )
    unguarded = msgspec.structs.replace(QUIET, daemons=())
    assert "no_swap_no_guard" not in examined(inside, unguarded)


def test_a_database_that_may_fork_is_left_alone(machine: Snapshot) -> None:
    redis = Task(pid=700, comm="redis-server", rss_pages=1000, anon_rss_pages=1000)
    able = msgspec.structs.replace(quiet(machine), tasks=(*quiet(machine).tasks, redis))
    assert "fork_refused" not in examined(with_sysctl(overcommit_memory=2)(able))
