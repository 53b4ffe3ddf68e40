"""What the doctor finds in settings of units and their cgroups, and that its change mends it."""

import msgspec
import pytest

from oomkit.host.configuration import Configuration, Daemon, Unit
from oomkit.kernel.state import Memcg, Snapshot
from tests.posture.test_doctor import (
    GIB,
    QUIET,
    Changed,
    both,
    examined,
    quiet,
    with_memcg,
    with_task,
)

WEB = "/system.slice/db.service"
DB = Unit(name="db.service", cgroup=WEB, kind="notify", oom_policy="stop", restart="on-failure",
          oom_score_adj=0)  # fmt: skip
POSTGRES = both(
    with_task(901, comm="postgres", cgroup=WEB), with_task(902, comm="postgres", cgroup=WEB)
)
"""902 is a child of 901, and larger."""


def with_unit(unit: Unit, *daemons: Daemon) -> Configuration:
    return msgspec.structs.replace(QUIET, units=(unit,), daemons=daemons or QUIET.daemons)


def in_group(**fields: object) -> Changed:
    memcg = Memcg(path=WEB, usage_pages=50000)
    return both(POSTGRES, with_memcg(msgspec.structs.replace(memcg, **fields)))


CASES: list[tuple[str, Changed, Unit, str, str, str]] = [
    ("unit_stopped_whole", POSTGRES, DB, "db.service.d/50-oomkit-oom-policy.conf",
     "[Service]\nOOMPolicy=continue\n",
     "an OOM in it: postgres[902] dies, and the others stay; now all 2 processes end"),
    ("unit_stays_down", POSTGRES,
     msgspec.structs.replace(DB, oom_policy="continue", restart="no"),
     "db.service.d/50-oomkit-restart.conf",
     "[Service]\nRestart=on-failure\nRestartSec=5\n", "it comes back after 5 s"),
    ("unit_protected", with_task(900, cgroup="/system.slice/ci.service", oom_score_adj=-1000),
     Unit(name="ci.service", cgroup="/system.slice/ci.service", kind="simple",
          oom_policy="continue", restart="always", oom_score_adj=-1000),
     "ci.service.d/50-oomkit-adj.conf", "[Service]\nOOMScoreAdjust=0\n",
     "the next OOM: leak[900] dies; now web[902], web[901] die"),
    ("managed_oom_unheeded", POSTGRES,
     Unit(name="user.slice", cgroup="/user.slice", managed=("ManagedOOMSwap",)),
     "user.slice.d/50-oomkit-managed.conf", "[Slice]\nManagedOOMSwap=auto\n",
     "oomkit guard acts"),
    ("group_takes_along", both(
        in_group(oom_group=True), with_task(901, comm="postgres", cgroup=WEB),
        with_task(902, comm="report", cgroup=WEB)),
     msgspec.structs.replace(DB, oom_policy="kill"),
     "db.service.d/50-oomkit-oom-policy.conf", "[Service]\nOOMPolicy=continue\n",
     f"an OOM of {WEB}: report[902] dies; now report[902], postgres[901] die"),
    ("high_above_max", in_group(limit_pages=60000, high_pages=60000),
     msgspec.structs.replace(DB, oom_policy="continue"),
     "db.service.d/50-oomkit-high.conf", f"[Service]\nMemoryHigh={54000 * 4096}\n",
     "now the first sign is a kill: postgres[902] dies"),
    ("protection_cut", both(
        in_group(low_pages=GIB), with_memcg(Memcg(path="/system.slice"))),
     msgspec.structs.replace(DB, oom_policy="continue"),
     "system.slice.d/50-oomkit-memory-low.conf", f"[Slice]\nMemoryLow={1 << 30}\n",
     "reclaim spares 1.00 GiB of it; now 0 B"),
]  # fmt: skip
IDS = [case[0] for case in CASES]


@pytest.mark.parametrize(("code", "change", "unit", "path", "text", "alters"), CASES, ids=IDS)
def test_it_is_found_with_evidence_reason_change_and_effect(
    code: str, change: Changed, unit: Unit, path: str, text: str, alters: str, machine: Snapshot
) -> None:
    found = examined(change(quiet(machine)), with_unit(unit))
    assert set(found) == {code}
    finding = found[code]
    assert alters in finding.alters
    assert all((finding.evidence, finding.reason, finding.change, finding.commands))
    assert [(f.path, f.text) for f in finding.files] == [(f"/etc/systemd/system/{path}", text)]


MENDED: list[tuple[str, Changed, Unit]] = [
    ("unit_stopped_whole", POSTGRES, msgspec.structs.replace(DB, oom_policy="continue")),
    ("unit_stays_down", POSTGRES, msgspec.structs.replace(DB, oom_policy="continue")),
    ("group_takes_along", in_group(oom_group=False),
     msgspec.structs.replace(DB, oom_policy="continue")),
    ("high_above_max", in_group(limit_pages=60000, high_pages=54000),
     msgspec.structs.replace(DB, oom_policy="continue")),
    ("protection_cut", both(in_group(low_pages=GIB),
                            with_memcg(Memcg(path="/system.slice", low_pages=GIB))),
     msgspec.structs.replace(DB, oom_policy="continue")),
]  # fmt: skip


@pytest.mark.parametrize(("code", "mended", "unit"), MENDED, ids=[case[0] for case in MENDED])
def test_the_change_mends_it(code: str, mended: Changed, unit: Unit, machine: Snapshot) -> None:
    assert code not in examined(mended(quiet(machine)), with_unit(unit))


def test_where_the_main_process_is_the_victim_the_service_ends_anyway(machine: Snapshot) -> None:
    larger = with_task(901, comm="postgres", cgroup=WEB, rss_pages=40000)
    assert examined(both(POSTGRES, larger)(quiet(machine)), with_unit(DB)) == {}


def test_without_another_daemon_systemd_oomd_is_to_be_started(machine: Snapshot) -> None:
    unit = Unit(name="user.slice", cgroup="/user.slice", managed=("ManagedOOMMemoryPressure",))
    idle = Daemon(name="oomkit guard", pid=812, acts=False)
    finding = examined(quiet(machine), with_unit(unit, idle))["managed_oom_unheeded"]
    assert (finding.severity, finding.files) == ("warning", ())
    assert finding.commands[0].command == "systemctl enable --now systemd-oomd.service"
    oomd = (QUIET.daemons[0], Daemon(name="systemd-oomd", pid=813))
    found = examined(quiet(machine), with_unit(unit, *oomd))
    assert "managed_oom_unheeded" not in found


def test_a_pods_group_is_the_kubelets_own(machine: Snapshot) -> None:
    """It sets memory.oom.group of each container from 1.28 on."""
    pod = "/kubepods/burstable/pod0a1b2c3d-1111-2222-3333-444455556666/" + "a" * 64
    change = both(
        with_task(901, comm="postgres", cgroup=pod), with_task(902, comm="sidecar", cgroup=pod),
        with_memcg(Memcg(path=pod, oom_group=True, usage_pages=50000)),
    )  # fmt: skip
    assert examined(change(quiet(machine))) == {}
