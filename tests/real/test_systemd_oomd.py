"""systemd-oomd in guests: the units made of a scenario's cgroups, and a real one that acts."""

from pathlib import Path

import pytest

from oomkit.real import RealError, companions, qemu, systemd_oomd
from oomkit.real.companion import Companion, NoDaemonError
from oomkit.real.disks import Disks
from oomkit.real.guest_plan import plan_of
from oomkit.real.initramfs import initramfs
from oomkit.real.static_agent import agent
from oomkit.scenario import Scenario, read_scenario, scenario_from
from tests.real.played import needs_kernel

pytestmark = pytest.mark.hermetic

LOADS = Path(__file__).parents[2] / "scenarios" / "oomd"


def grouped(*names: str, version: int = 2) -> Scenario:
    return scenario_from(
        {
            "name": "x",
            "machine": {"ram": "256M"},
            "cgroup": [{"name": name, "version": version} for name in names],
            "task": [
                {"name": f"t{i}", "cgroup": name, "steps": [{"touch": "1M"}]}
                for i, name in enumerate(names)
            ],
        }
    )


@pytest.fixture
def root(tmp_path: Path) -> str:
    """Packages as they are unpacked, without programs."""
    made = tmp_path / "root"
    files = {
        "usr/lib/systemd/systemd": "",
        "usr/lib/systemd/systemd-oomd": "",
        "usr/lib/systemd/oomd.conf.d/10-oomd-defaults.conf": "[OOM]\nSwapUsedLimit=80%\n",
        "usr/lib/systemd/system/user@.service.d/10-oomd-user.conf": (
            "[Service]\nManagedOOMMemoryPressure=kill\n"
        ),
        "usr/lib/systemd/system/user@.service.d/10-login-barrier.conf": "[Unit]\nAfter=x\n",
    }
    for path, text in files.items():
        (made / path).parent.mkdir(parents=True, exist_ok=True)
        (made / path).write_text(text)
    return str(made)


def beside(root: str, setting: Path | None, scenario: Scenario) -> Companion:
    if agent().kind != "static":
        pytest.skip(agent().why)
    return systemd_oomd.companion(root, "" if setting is None else str(setting), scenario)


def test_cgroups_that_systemd_would_make_become_units() -> None:
    scenario = grouped(
        "app.slice/a.scope", "app.slice/app-web.slice/b.service", "web.slice/app-x.slice/c.service",
        "system.slice/db.service/worker", "plain/d.service",
        "user.slice/user-1000.slice/user@1000.service/app.slice/e.service",
    )  # fmt: skip
    assert systemd_oomd.units_of(scenario) == {
        "app.slice": "app.slice",
        "app.slice/app-web.slice": "app-web.slice",
        "app.slice/app-web.slice/b.service": "b.service",
        "system.slice": "system.slice",
        "system.slice/db.service": "db.service",
        "user.slice": "user.slice",
        "user.slice/user-1000.slice": "user-1000.slice",
        "user.slice/user-1000.slice/user@1000.service": "user@1000.service",
        "web.slice": "web.slice",
    }


def test_as_it_comes_it_is_set_as_its_package_sets_it(root: str) -> None:
    made = beside(root, None, grouped("user.slice/user-7.slice/user@7.service/app.slice/a.scope"))
    assert b"SwapUsedLimit=80%" in made.texts["/usr/lib/systemd/oomd.conf.d/10-oomd-defaults.conf"]
    drop_ins = [path for path in made.texts if path.startswith("/usr/lib/systemd/system/user@.")]
    assert [path.rpartition("/")[2] for path in drop_ins] == ["10-oomd-user.conf"]
    unit = made.texts["/usr/lib/systemd/system/user@7.service"].decode()
    assert "Slice=user-7.slice\n" in unit
    assert "User=7\n" in unit
    assert "DelegateSubgroup=" in unit
    assert "user7:x:7:7:" in made.texts["/etc/passwd"].decode()
    started = made.texts["/etc/systemd/system/oomkit-agent.service"].decode()
    assert "Wants=user.slice user-7.slice user@7.service\n" in started


def test_a_given_configuration_is_put_where_systemd_reads_it(root: str, tmp_path: Path) -> None:
    setting = tmp_path / "setting"
    (setting / "app.slice.d").mkdir(parents=True)
    (setting / "oomd.conf").write_text("[OOM]\nSwapUsedLimit=70%\n")
    (setting / "app.slice.d" / "x.conf").write_text("[Slice]\nManagedOOMSwap=kill\n")
    (setting / "db.service").write_text(
        "[Unit]\nAfter=other.service\n[Service]\nExecStart=/usr/sbin/db\n"
        "Slice=app.slice\nManagedOOMPreference=omit\n"
    )
    made = beside(root, setting, grouped("app.slice/db.service", "app.slice/a.scope"))
    assert b"SwapUsedLimit=70%" in made.texts["/etc/systemd/oomd.conf"]
    assert b"ManagedOOMSwap=kill" in made.texts["/etc/systemd/system/app.slice.d/x.conf"]
    taken = made.texts["/etc/systemd/system/db.service.d/00-unit.conf"].decode()
    assert "ManagedOOMPreference=omit\n" in taken
    assert "Slice=app.slice\n" in taken
    assert "db\n" not in taken.replace("db.service", "")
    assert "other" not in taken
    assert not any("10-oomd" in path for path in made.texts)


def test_a_copy_of_a_machine_lies_in_the_guest_as_on_it(root: str, tmp_path: Path) -> None:
    unit = tmp_path / "copy/etc/systemd/system/app.slice.d/x.conf"
    unit.parent.mkdir(parents=True)
    unit.write_text("[Slice]\nManagedOOMSwap=kill\n")
    made = beside(root, tmp_path / "copy", grouped("app.slice/a.scope"))
    assert "/etc/systemd/system/app.slice.d/x.conf" in made.texts


@pytest.mark.parametrize(
    ("name", "text", "says"),
    [
        ("x.oomrule", "[Rule]\nSwapUsageMax=50%\nAction=kill-all\n", "x.oomrule: the guest's"),
        ("units.txt", "Id=a.slice\nControlGroup=/a.slice\n", "units.txt: the guest's"),
        ("oomd.conf", "[OOM]\nSwapUsedLimit=much\n", "oomd.conf"),
    ],
)
def test_what_its_systemd_can_not_read_is_refused(
    root: str, tmp_path: Path, name: str, text: str, says: str
) -> None:
    (tmp_path / "setting").mkdir()
    (tmp_path / "setting" / name).write_text(text)
    with pytest.raises(NoDaemonError, match=says):
        beside(root, tmp_path / "setting", grouped("a.slice"))


def test_it_needs_cgroups_of_version_2(root: str) -> None:
    with pytest.raises(NoDaemonError, match="version 2"):
        beside(root, None, grouped("a", version=1))


def test_the_agent_makes_no_cgroup_that_systemd_has_made(tmp_path: Path) -> None:
    scenario = grouped("app.slice/a.scope")
    companion = Companion(name="x", process_1="/sbin/x", units=frozenset({"app.slice"}))
    plans = [
        plan_of(scenario, Disks(str(tmp_path), scenario), 0, one, beats=False, own_clock=False)
        for one in (companion, None)
    ]
    made = [
        {
            group["path"].removeprefix("/sys/fs/cgroup/"): group.get("made")
            for group in one["groups"]
        }
        for one in plans
    ]
    assert made[0]["app.slice"]
    assert made[0]["app.slice/a.scope"] is None
    assert set(made[1].values()) == {None}


def test_a_library_is_put_into_the_image_once(tmp_path: Path) -> None:
    companion = Companion(
        name="x",
        files={"/usr/bin/one": "/bin/cat", "/usr/bin/two": "/bin/sh"},
        pipes=("/told",),
    )
    image = initramfs({}, str(tmp_path), companion)
    assert b"told\0" in image
    assert image.count(b"lib/libc.so.6\0") == 1


@pytest.mark.qemu
def test_a_real_one_kills_what_stalls_its_slice() -> None:
    """A systemd that is process 1 watches the slice, and systemd-oomd kills the culprit's scope."""
    scenario = read_scenario(str(LOADS / "pressure.toml"))
    try:
        companion = companions.companion_of(f"systemd-oomd:{LOADS / 'pressure'}", scenario)
    except RealError as error:
        pytest.skip(str(error))
    run = qemu.play(scenario, needs_kernel(), companion=companion, beats=True).run
    assert (run.kills[0].task, run.kills[0].by) == ("hog", "systemd-oomd")
    assert run.reaction is not None
    assert {one.number for one in run.reaction.signals if one.task == "hog"} == {9}
    told = [line for line in run.log if "Killed /app.slice/hog.scope" in line]
    assert told, run.log
