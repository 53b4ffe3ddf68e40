"""What the doctor finds, and that its change mends it, by the same rules."""

from collections.abc import Callable

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from oomkit.host.configuration import Configuration, Daemon, Tmpfs, Unit, Zram
from oomkit.kernel.state import Memcg, Memory, Snapshot, Task
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
     "/etc/kubernetes/kubelet.conf.d/99-oomkit.conf", "205 MiB left above the watermarks"),
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
    ("adj_of_old_scale", with_task(500, oom_score_adj=-17, cgroup="/system.slice/ssh.service"),
     QUIET, "/etc/systemd/system/ssh.service.d/50-oomkit-adj.conf", "leak[900] dies, as before"),
    ("hog_shielded", with_task(
        900, rss_pages=3 * GIB, oom_score_adj=-990, cgroup="/system.slice/leak.service"), QUIET,
     "/etc/systemd/system/leak.service.d/50-oomkit-adj.conf", "leak[900] dies; now web[902]"),
    ("group_protected", both(
        with_task(901, oom_score_adj=-1000), with_task(902, oom_score_adj=-1000)), QUIET,
     "", "an OOM of /pods/a: web[902] dies; now nothing is killed"),
    ("fork_soon_refused", both(
        with_task(812, comm="redis-server", rss_pages=GIB // 4, anon_rss_pages=GIB // 4),
        with_sysctl(overcommit_memory=2),
        with_memory(committed_pages=2 * GIB)), QUIET,
     "/etc/sysctl.d/90-oomkit-overcommit_memory.conf", "now it is refused with 2.9"),
    ("memory_controller_off", with_memory(), msgspec.structs.replace(
        QUIET, memory_disabled=True, command_line="quiet cgroup_disable=memory"),
     "", "the limits of containers hold; now the next OOM: leak[900] dies"),
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


APP, DB, JOB = (f"/system.slice/{name}.service" for name in ("app", "db", "job"))


def limited(**pages: int | None) -> Changed:
    """Services with limits, of which ``app`` and ``db`` hold something."""
    used = {"app": 20000, "db": 30000}
    memcgs = [
        Memcg(path=f"/system.slice/{name}.service", limit_pages=limit,
              usage_pages=used.get(name, 0))
        for name, limit in pages.items()
    ]  # fmt: skip
    return both(
        with_task(901, cgroup=APP), with_task(902, cgroup=DB),
        with_memcg(Memcg(path="/system.slice")), *map(with_memcg, memcgs),
    )  # fmt: skip


def test_limits_that_are_below_ram_each_and_above_it_together(machine: Snapshot) -> None:
    """Each keeps what it holds, and all fit together with what is proposed."""
    ill = limited(app=3 * GIB, db=2 * GIB)(quiet(machine))
    found = examined(ill)["limits_above_ram"]
    assert found.severity == "warning"
    assert found.evidence == (
        "they are 5.20 GiB, MemTotal is 4.00 GiB",
        f"{APP}: a limit of 3.00 GiB, 78.1 MiB held",
        f"{DB}: a limit of 2.00 GiB, 117 MiB held",
        "/pods/a: a limit of 203 MiB, 0 B held",
    )
    sizes = {
        file.path.split("/")[-2]: int(file.text.rpartition("=")[2]) // 4096 for file in found.files
    }
    assert set(sizes) == {"app.service.d", "db.service.d"}
    assert sizes["app.service.d"] > 20000
    assert sizes["db.service.d"] > 30000
    rest = next(m.limit_pages for m in ill.memcgs if m.path == "/pods/a") or 0
    assert sum(sizes.values()) < (4 * GIB * 0.8) < sum(sizes.values()) + rest
    assert "a leak in /system.slice/app.service ends in it: web[901] dies" in found.alters
    assert "leak[900] dies" in found.alters
    mended = limited(app=sizes["app.service.d"], db=sizes["db.service.d"])(quiet(machine))
    assert not {"limits_above_ram", "limit_above_ram"} & examined(mended).keys()


def test_one_that_never_holds_is_counted_as_what_is_proposed(machine: Snapshot) -> None:
    """And what is proposed for it fits beside the others."""
    found = examined(limited(app=100 * GIB, db=2 * GIB)(quiet(machine)))
    alone, together = found["limit_above_ram"], found["limits_above_ram"]
    assert "a limit of 100 GiB, taken as 3.20 GiB" in together.evidence[1]
    (file,) = alone.files
    assert file in together.files
    assert "limits_above_ram" not in examined(limited(app=100 * GIB)(quiet(machine)))


def test_limits_inside_of_a_limit_are_held_against_that(machine: Snapshot) -> None:
    inside = limited(app=2 * GIB, db=2 * GIB)(quiet(machine))
    slice_ = Memcg(path="/system.slice", limit_pages=3 * GIB, usage_pages=50000)
    memcgs = tuple(slice_ if m.path == slice_.path else m for m in inside.memcgs)
    found = examined(msgspec.structs.replace(inside, memcgs=memcgs))
    assert "limits_above_ram" not in found
    finding = found["limits_above_parent"]
    assert finding.severity == "info"
    assert "the limit of /system.slice is 3.00 GiB" in finding.evidence[0]
    sizes = [int(file.text.rpartition("=")[2]) // 4096 for file in finding.files]
    assert 3 * GIB - 2 * 256 < sum(sizes) <= 3 * GIB


def test_of_pods_the_specification_is_to_be_changed(machine: Snapshot) -> None:
    """Their groups are made anew by it; kubepods itself is the kubelet's."""
    pods = [f"/kubepods/burstable/pod{i}a1b2c3d-1111-2222-3333-444455556666" for i in range(3)]
    change = both(
        with_memcg(Memcg(path="/kubepods", limit_pages=3 * GIB, usage_pages=1000)),
        *(with_memcg(Memcg(path=pod, limit_pages=2 * GIB)) for pod in pods),
    )
    found = examined(change(quiet(machine)))
    assert "limits_above_ram" not in found
    finding = found["limits_above_parent"]
    assert finding.files == ()
    assert [advice.words[-1] for advice in finding.commands] == [
        pod.rpartition("/pod")[2] for pod in pods
    ]
    assert all("in its spec to 1024Mi in all" in advice.lasts for advice in finding.commands)


def test_a_containers_own_root_can_not_be_changed_in_it(machine: Snapshot) -> None:
    """It shows limits there; those inside of it are held against them."""
    root = Memcg(path="/", limit_pages=2 * GIB, high_pages=2 * GIB, usage_pages=2 * GIB)
    inside = limited(app=GIB + GIB // 2, db=GIB)(UNSWAPPED(quiet(machine)))
    memcgs = (root, *(m for m in inside.memcgs if m.path != "/"))
    found = examined(msgspec.structs.replace(inside, memcgs=memcgs))
    assert set(found) == {"limits_above_parent"}
    assert "the limit of / is 2.00 GiB" in found["limits_above_parent"].evidence[0]


def test_where_more_is_held_than_there_is_no_limit_is_proposed(machine: Snapshot) -> None:
    ill = both(
        limited(app=3 * GIB, db=2 * GIB),
        with_task(901, cgroup=APP, rss_pages=3 * GIB), with_task(902, cgroup=DB, rss_pages=2 * GIB),
    )(quiet(machine))  # fmt: skip
    full = tuple(msgspec.structs.replace(m, usage_pages=m.limit_pages or 0) for m in ill.memcgs)
    found = examined(msgspec.structs.replace(ill, memcgs=full))["limits_above_ram"]
    assert (found.files, found.commands) == ((), ())
    assert "add memory: they hold 5.00 GiB already" in found.change


@given(st.lists(st.tuples(st.integers(0, 5 * GIB), st.integers(0, GIB)), max_size=8))
def test_limits_that_are_proposed_fit_and_take_nothing_away(groups: list[tuple[int, int]]) -> None:
    """Whatever is held, and whatever the limits are."""
    memcgs = tuple(
        Memcg(path=f"/g{i}", limit_pages=limit, usage_pages=min(held, limit))
        for i, (limit, held) in enumerate(groups)
    )
    tasks = tuple(
        Task(pid=10 + i, comm="g", rss_pages=held, anon_rss_pages=held, cgroup=f"/g{i}")
        for i, (_, held) in enumerate(groups)
    )
    snapshot = Snapshot(
        kernel="6.12", memory=Memory(total_ram_pages=4 * GIB), tasks=tasks, memcgs=memcgs
    )
    found = examined(snapshot, None).get("limits_above_ram")
    counted = sum(min(limit, int(3.2 * GIB)) if limit >= 4 * GIB else limit for limit, _ in groups)
    assert (found is not None) == (counted > 4 * GIB)
    sizes = [
        int(advice.words[1]) for advice in (found.commands if found else ()) if advice.words[1:]
    ]
    if sizes:
        assert sum(sizes) <= 4 * GIB * 4096
        assert len(sizes) == len(groups)


def test_several_zram_devices_count_together(machine: Snapshot) -> None:
    """One for each CPU, as some distributions made them."""
    devices = tuple(Zram(name=f"zram{i}", size_bytes=2 << 30) for i in range(4))
    found = examined(quiet(machine), msgspec.structs.replace(QUIET, zram=devices))
    finding = found["zram_too_large"]
    assert "take 2.67 GiB" in finding.text
    assert finding.files[0].text.count("zram-size = 512\n") == 4
    two = msgspec.structs.replace(QUIET, zram=devices[:2])
    assert "zram_too_large" not in examined(quiet(machine), two)


def test_what_a_database_forked_does_not_fork(machine: Snapshot) -> None:
    """A backend with much of its own memory."""
    change = both(
        with_task(901, comm="postgres", rss_pages=1000, anon_rss_pages=1000),
        with_task(902, comm="postgres", rss_pages=GIB, anon_rss_pages=GIB),
        with_sysctl(overcommit_memory=2), with_memory(committed_pages=3 * GIB - 90000),
    )  # fmt: skip
    assert "fork_refused" not in examined(change(quiet(machine)))


def test_where_all_are_databases_one_of_them_has_to_go(machine: Snapshot) -> None:
    """Rather than the machine."""
    change = both(*(with_task(pid, comm="postgres", oom_score_adj=-1000)
                    for pid in (500, 812, 900, 901, 902)))  # fmt: skip
    finding = examined(change(quiet(machine)))["all_protected"]
    assert finding.severity == "critical"
    assert finding.evidence == ("/proc/900/oom_score_adj is -1000 (postgres)",)
    assert finding.alters == "the next OOM: postgres[900] dies; now the machine panics"


def test_systemd_oomd_that_no_unit_asks_does_not_act(machine: Snapshot) -> None:
    oomd = (Daemon(name="systemd-oomd", pid=813), *QUIET.daemons)
    for managed, expected in (((), False), (("ManagedOOMSwap",), True)):
        units = (Unit(name="-.slice", cgroup="/", managed=managed),)
        found = examined(quiet(machine), msgspec.structs.replace(QUIET, daemons=oomd, units=units))
        assert ("two_daemons" in found) == expected
        unswapped = msgspec.structs.replace(QUIET, daemons=oomd[:1], units=units)
        found = examined(UNSWAPPED(quiet(machine)), unswapped)
        assert ("no_swap_no_guard" in found) != expected


def test_of_a_kubelets_option_no_file_is_written(machine: Snapshot) -> None:
    """It has the last word. By default four other signals have thresholds, which a file keeps."""
    low = with_memory(high_wmark_pages=30000)(quiet(machine))
    flag = msgspec.structs.replace(QUIET, eviction_bytes=1 << 20, eviction_from="--eviction-hard")
    finding = examined(low, flag)["eviction_too_late"]
    assert finding.files == ()
    assert "--eviction-hard=memory.available<322Mi" in finding.change
    usual = msgspec.structs.replace(
        QUIET, eviction_bytes=1 << 20, eviction_from="its default", eviction_directory="/etc/k.d/"
    )
    (file,) = examined(low, usual)["eviction_too_late"].files
    assert file.path == "/etc/k.d/99-oomkit.conf"
    assert file.text.count("available") + file.text.count("inodesFree") == 5


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
