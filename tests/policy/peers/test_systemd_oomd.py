"""systemd-oomd's files and units as a policy; the answers follow from systemd 261's source."""

import os
import re
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from oomkit.policy.compile import compile_plan
from oomkit.policy.engine.candidate import Candidate
from oomkit.policy.engine.decider import Decider
from oomkit.policy.engine.reading import CgroupReading, Reading
from oomkit.policy.peers.units import seconds, share
from oomkit.policy.read import find_policy
from oomkit.policy.records import Policy, Rule
from tests.policy.peers.trees import MIB, TOTAL_KB, chosen, lines_of, process, read, reading, write

SYSTEM = "etc/systemd/system"
SLICE = f"{SYSTEM}/work.slice"
CONF = "etc/systemd/oomd.conf"
RULES = "etc/systemd/oomd/rules.d"
PRESSURE = "[Slice]\nManagedOOMMemoryPressure=kill\n"
SWAP = "[Slice]\nManagedOOMSwap=kill\n"


def oomd(root: Path, files: dict[str, str]) -> Policy:
    return read("systemd-oomd", root, files)


def limits(rule: Rule) -> dict[str, float]:
    return {one.kind: round(one.threshold, 6) for one in rule.conditions}


def group(path: str, mb: float, scanned: float, **fields: float) -> CgroupReading:
    return CgroupReading(path, mb * MIB, pgscan_pages=scanned, psi_some_us=0.0, **fields)  # type: ignore[arg-type]  # fields of the record


# Which file counts.


@pytest.mark.parametrize(
    ("files", "used"),
    [
        ({}, 0.9),
        ({"usr/lib/systemd/oomd.conf": "[OOM]\nSwapUsedLimit=70%\n"}, 0.7),
        # conf-parser.c: the first main file alone ...
        ({"usr/lib/systemd/oomd.conf": "[OOM]\nSwapUsedLimit=70%\n", CONF: "[OOM]\n#\n"}, 0.9),
        # ... then drop-ins of all directories, by name, of a name the first directory's.
        ({CONF: "[OOM]\nSwapUsedLimit=70%\n",
          "usr/lib/systemd/oomd.conf.d/50-a.conf": "[OOM]\nSwapUsedLimit=60%\n"}, 0.6),
        ({"etc/systemd/oomd.conf.d/10-a.conf": "[OOM]\nSwapUsedLimit=50%\n",
          "usr/lib/systemd/oomd.conf.d/50-a.conf": "[OOM]\nSwapUsedLimit=60%\n"}, 0.6),
        ({"etc/systemd/oomd.conf.d/50-a.conf": "[OOM]\nSwapUsedLimit=50%\n",
          "usr/lib/systemd/oomd.conf.d/50-a.conf": "[OOM]\nSwapUsedLimit=60%\n"}, 0.5),
        # An empty file hides one of its name.
        ({"etc/systemd/oomd.conf.d/50-a.conf": "",
          "usr/lib/systemd/oomd.conf.d/50-a.conf": "[OOM]\nSwapUsedLimit=60%\n"}, 0.9),
        # An empty value is the default again.
        ({CONF: "[OOM]\nSwapUsedLimit=70%\nSwapUsedLimit=\n"}, 0.9),
        ({CONF: "[OOM]\nSwapUsedLimit=6500‱\n"}, 0.65),
    ],
)  # fmt: skip
def test_the_file_that_counts(tmp_path: Path, files: dict[str, str], used: float) -> None:
    policy = oomd(tmp_path, {SLICE: SWAP, **files})
    (rule,) = policy.when
    assert limits(rule) == {"available": round(1 - used, 6), "swap_used": used}


def test_a_link_to_nothing_hides_a_drop_in(tmp_path: Path) -> None:
    lower = "usr/lib/systemd/oomd.conf.d/a.conf"
    files = {SLICE: SWAP, "etc/systemd/oomd.conf.d/x": "", lower: "[OOM]\nSwapUsedLimit=60%\n"}
    root = write(tmp_path, files)
    (root / "etc/systemd/oomd.conf.d/a.conf").symlink_to("/dev/null")
    assert limits(find_policy(f"systemd-oomd:{root}").when[0])["swap_used"] == 0.9


@pytest.mark.parametrize(
    ("files", "limit", "for_s"),
    [
        ({SLICE: PRESSURE}, 0.6, 30.0),
        ({SLICE: PRESSURE, CONF: "[OOM]\nDefaultMemoryPressureLimit=40%\n"
          "DefaultMemoryPressureDurationSec=5s\n"}, 0.4, 5.0),
        ({SLICE: PRESSURE + "ManagedOOMMemoryPressureLimit=25%\n"
          "ManagedOOMMemoryPressureDurationSec=1min 10s\n"}, 0.25, 70.0),
        # Drop-ins of the unit, of its prefix and of its type, all by their names.
        ({SLICE: PRESSURE, f"{SLICE}.d/20.conf": "[Slice]\nManagedOOMMemoryPressureLimit=30%\n",
          f"{SYSTEM}/slice.d/10.conf": "[Slice]\nManagedOOMMemoryPressureLimit=90%\n"}, 0.3, 30.0),
        # 0 is the default (process_managed_oom_message(): only above 0).
        ({SLICE: PRESSURE + "ManagedOOMMemoryPressureLimit=0%\n"}, 0.6, 30.0),
    ],
)  # fmt: skip
def test_limits_of_units(tmp_path: Path, files: dict[str, str], limit: float, for_s: float) -> None:
    rule = next(r for r in oomd(tmp_path, files).when if r.cgroup == "/work.slice")
    assert limits(rule) == {"psi_full": limit, "reclaim": 1.0}
    assert (rule.for_s, rule.over_s, rule.pause_s) == (for_s, 10.0, 15.0)
    assert rule.decaying


@pytest.mark.parametrize(
    ("name", "text", "inside", "outside"),
    [
        ("a-b.slice", "[Slice]", "/a.slice/a-b.slice", "/a-b.slice"),
        ("db.service", "[Service]", "/system.slice/db.service", "/db.service"),
        ("db.service", "[Service]\nSlice=a-b.slice", "/a.slice/a-b.slice/db.service",
         "/system.slice/db.service"),
        ("user-.slice.d/x.conf", "[Slice]", "/user.slice/user-1000.slice",
         "/user.slice/user-1000.slice/x.slice"),
        # units/user@.service.in, which a folder with drop-ins alone does not have.
        ("user@.service.d/x.conf", "[Service]",
         "/user.slice/user-7.slice/user@7.service", "/system.slice/user@7.service"),
        ("user@7.service.d/x.conf", "[Service]",
         "/user.slice/user-7.slice/user@7.service", "/user.slice/user-8.slice/user@8.service"),
        ("user@.service.d/x.conf", "[Service]\nSlice=user-%i.slice",
         "/user.slice/user-7.slice/user@7.service", "/user.slice/user@7.service"),
        ("getty@.service", "[Service]", "/system.slice/system-getty.slice/getty@tty1.service",
         "/system.slice/getty@tty1.service"),
    ],
)  # fmt: skip
def test_where_a_unit_has_its_cgroup(
    tmp_path: Path, name: str, text: str, inside: str, outside: str
) -> None:
    policy = oomd(tmp_path, {f"{SYSTEM}/{name}": f"{text}\nManagedOOMMemoryPressure=kill\n"})
    (rule,) = compile_plan(policy).rules

    assert rule.cgroup is not None
    assert re.fullmatch(rule.cgroup, inside)
    assert not re.fullmatch(rule.cgroup, outside)


def test_one_of_many_may_say_otherwise(tmp_path: Path) -> None:
    files = {
        f"{SYSTEM}/user-.slice.d/x.conf": PRESSURE,
        f"{SYSTEM}/user-5.slice.d/y.conf": "[Slice]\nManagedOOMMemoryPressure=auto\n",
    }
    (rule,) = compile_plan(oomd(tmp_path, files)).rules

    assert rule.cgroup is not None
    assert re.fullmatch(rule.cgroup, "/user.slice/user-6.slice")
    assert not re.fullmatch(rule.cgroup, "/user.slice/user-5.slice")


def test_what_systemctl_shows(tmp_path: Path) -> None:
    shown = tmp_path / "shown.txt"
    shown.write_text(
        "Id=work.slice\nControlGroup=/work.slice\nManagedOOMMemoryPressure=kill\n"
        "ManagedOOMMemoryPressureLimit=2147483648\nManagedOOMMemoryPressureDurationUSec=20s\n\n"
        "Id=db.service\nControlGroup=/system.slice/db.service\nManagedOOMPreference=omit\n\n"
        "Id=-.slice\nControlGroup=\nManagedOOMSwap=kill\n\n"
        "Id=gone.service\nControlGroup=\nManagedOOMSwap=kill\n"
    )
    policy = find_policy(f"systemd-oomd:{shown}")
    swap, pressure = policy.when
    assert swap.among == ()
    assert swap.spare == pressure.spare == ("/system.slice/db.service",)
    assert (limits(pressure)["psi_full"], pressure.for_s) == (0.5, 20.0)
    assert policy.origin is not None
    assert policy.origin.left_out == (f"{shown}:15: gone.service: has no cgroup now",)


# Whom it kills.

LEAVES = {"/work.slice/a.scope": 10, "/work.slice/b.scope": 11, "/other.slice/c.scope": 12}


def crowd(**mb: float) -> list[Candidate]:
    return [
        process(pid, path.rpartition("/")[2][0], anon_kb=500 * MIB, cgroup=path,
                swap_kb=mb.get(path.rpartition("/")[2][0], 0.0) * MIB)
        for path, pid in LEAVES.items()
    ]  # fmt: skip


def pressed(scanned: dict[str, tuple[float, float]]) -> tuple[list[Reading], list[CgroupReading]]:
    """Full pressure on a slice, whose avg10 is 60 % from 9.2 s on; pages scanned at 41 and 42 s."""
    moments = []
    for t in range(43):
        groups = []
        for path in ("/work.slice", *LEAVES):
            before, now = scanned.get(path.rpartition("/")[2], (0.0, 0.0))
            pages = now if t >= 42 else before * t / 41
            groups.append(
                CgroupReading(
                    path, 500 * MIB, psi_some_us=1e6 * t, psi_full_us=1e6 * t, pgscan_pages=pages
                )
            )
        groups[0].pgscan_pages = 1000.0 * t
        moments.append(reading(float(t), groups=tuple(groups)))
    return moments, groups


@pytest.mark.parametrize(
    ("unit", "scanned", "victims"),
    [
        # oomd-util.h, compare_pgscan_rate_and_memory_usage(): what was scanned since the last
        # look, not since the beginning; what is in no monitored cgroup is no candidate.
        ("", {"a.scope": (9000, 9000), "b.scope": (0, 400), "c.scope": (0, 9000)}, ["b"]),
        ("", {"a.scope": (9000, 9600), "b.scope": (0, 400)}, ["a"]),
        # Preferences of the candidates' own cgroups.
        ("a omit", {"a.scope": (9000, 9600), "b.scope": (0, 400)}, ["b"]),
        ("a avoid", {"a.scope": (9000, 9600), "b.scope": (0, 0)}, ["b"]),
    ],
)  # fmt: skip
def test_pressure_kills_by_what_was_just_scanned(
    tmp_path: Path, unit: str, scanned: dict[str, tuple[float, float]], victims: list[str]
) -> None:
    shown = "Id=work.slice\nControlGroup=/work.slice\nManagedOOMMemoryPressure=kill\n\n"
    if unit:
        name, preference = unit.split()
        shown += f"Id={name}.scope\nControlGroup=/work.slice/{name}.scope\n"
        shown += f"ManagedOOMPreference={preference}\n"
    file = tmp_path / "shown.txt"
    file.write_text(shown)
    moments, groups = pressed(scanned)
    policy = find_policy(f"systemd-oomd:{file}")
    assert chosen(policy, crowd(), *moments, groups=tuple(groups)) == victims


@pytest.mark.parametrize(
    ("preference", "swap", "victims"),
    [
        # oomd_select_by_swap_usage(): the most swap, of what is below a monitored unit.
        ("", {"a": 60.0, "b": 80.0, "c": 500.0}, ["b"]),
        # Only more than 5 % of all swap (51.2 MiB of 1 GiB).
        ("", {"a": 50.0, "b": 51.0}, []),
        ("omit", {"a": 60.0, "b": 80.0}, ["a"]),
        ("avoid", {"a": 60.0, "b": 80.0}, ["a"]),
        ("avoid", {"a": 40.0, "b": 80.0}, ["b"]),
    ],
)
def test_swap_kills_by_swap(
    tmp_path: Path, preference: str, swap: dict[str, float], victims: list[str]
) -> None:
    file = tmp_path / "shown.txt"
    file.write_text(
        "Id=work.slice\nControlGroup=/work.slice\nManagedOOMSwap=kill\n\n"
        "Id=b.scope\nControlGroup=/work.slice/b.scope\n"
        f"ManagedOOMPreference={preference or 'none'}\n"
    )
    policy = find_policy(f"systemd-oomd:{file}")
    moment = reading(available=0.05, swap=0.05)
    assert chosen(policy, crowd(**swap), moment) == victims
    assert chosen(policy, crowd(**swap), reading(available=0.2, swap=0.05)) == []


def test_a_users_preference_counts_below_its_own_manager_alone(tmp_path: Path) -> None:
    """oomd_fetch_cgroup_oom_preference(): root's cgroups, and the monitored one's owner's."""
    manager = "/user.slice/user-1.slice/user@1.service"
    file = tmp_path / "shown.txt"
    file.write_text(
        f"Id=user@1.service\nControlGroup={manager}\nManagedOOMMemoryPressure=kill\n"
        "ManagedOOMSwap=kill\n\n"
        "Id=user.slice\nControlGroup=/user.slice\nManagedOOMMemoryPressure=kill\n\n"
        f"Id=x.service\nControlGroup={manager}/x.service\nManagedOOMPreference=omit\n"
    )
    swap, own, slice_ = find_policy(f"systemd-oomd:{file}").when
    assert own.spare == (f"{manager}/x.service",)
    assert swap.spare == slice_.spare == ()


def test_a_group_dies_as_a_whole_below_the_monitored_one(tmp_path: Path) -> None:
    """recursively_get_cgroup_context(): a child with memory.oom.group is a candidate as it is; the
    monitored cgroup itself is not asked for it.
    """
    write(tmp_path, {SLICE: SWAP})
    policy = find_policy(f"systemd-oomd:{tmp_path}")
    inside = [
        process(10, "x", anon_kb=MIB, swap_kb=60 * MIB, cgroup="/work.slice/app.service/one"),
        process(11, "y", anon_kb=MIB, swap_kb=1 * MIB, cgroup="/work.slice/app.service/two"),
        process(12, "z", anon_kb=MIB, swap_kb=55 * MIB, cgroup="/work.slice/z.scope"),
    ]
    moment = reading(available=0.05, swap=0.05)
    group = CgroupReading("/work.slice/app.service", 0.0, oom_group=True)
    above = CgroupReading("/work.slice", 0.0, oom_group=True)
    assert chosen(policy, inside, moment, groups=(group, above)) == ["x", "y"]
    assert chosen(policy, inside, moment, groups=(above,)) == ["x"]


def rules(tmp_path: Path, *texts: str) -> Policy:
    names = [f"r{i}" for i in range(len(texts))]
    files = {f"{RULES}/{name}.oomrule": text for name, text in zip(names, texts, strict=True)}
    return oomd(tmp_path, {SLICE: f"[Slice]\nOOMRules={' '.join(names)}\n", **files})


def test_conditions_of_a_ruleset_hold_together_and_rulesets_alternate(tmp_path: Path) -> None:
    both = (
        "[Rule]\nMemoryPressureAbove=50%\nSwapUsageMax=80%\nAction=kill-by-pgscan\nLastingSec=3\n"
    )
    policy = rules(tmp_path, both, "[Rule]\nSwapUsageMax=95%\nAction=kill-all\n")
    first, second = policy.when
    assert limits(first) == {"psi_full": 0.5, "swap_used": 0.8}
    assert (first.cgroup, first.for_s, first.by) == ("/work.slice", 3.0, "reclaim")
    assert (limits(second), second.among, second.whole) == (
        {"swap_used": 0.95}, ("/work.slice",), True,
    )  # fmt: skip


@pytest.mark.parametrize(
    ("action", "victims"),
    [
        ("kill-all", ["a", "b"]),
        ("kill-by-swap", ["a"]),
        # get_monitored_cgroup_contexts_candidates() makes them anew: scanned since the beginning.
        ("kill-by-pgscan", ["b"]),
    ],
)
def test_what_a_ruleset_does(tmp_path: Path, action: str, victims: list[str]) -> None:
    policy = rules(tmp_path, f"[Rule]\nSwapUsageMax=90%\nAction={action}\n")
    groups = (group("/work.slice/a.scope", 9, 10.0), group("/work.slice/b.scope", 9, 90.0),
              group("/other.slice/c.scope", 9, 900.0))  # fmt: skip
    swap = crowd(a=80.0, b=60.0, c=300.0)
    moment = reading(available=0.5, swap=0.05)
    assert chosen(policy, swap, moment, groups=groups) == victims
    assert chosen(policy, swap, reading(swap=0.5), groups=groups) == []


def test_a_ruleset_has_to_last(tmp_path: Path) -> None:
    policy = rules(tmp_path, "[Rule]\nSwapUsageMax=90%\nAction=kill-all\nLastingSec=2s\n")
    decider = Decider(compile_plan(policy))
    looks = [decider.look(reading(t, swap=0.05)).choose for t in (0.0, 1.0, 1.9, 2.0)]
    assert looks == [False, False, False, True]


# What is told.


def test_what_does_nothing_is_said(tmp_path: Path) -> None:
    policy = oomd(tmp_path, {CONF: "[OOM]\nPrekillHookTimeoutSec=5s\nNoSuch=1\n"})
    assert policy.when == ()
    assert policy.origin is not None
    assert [line.removeprefix(f"{tmp_path}/{CONF}:") for line in policy.origin.left_out] == [
        "2: PrekillHookTimeoutSec: programs are told of a kill, and waited for, first",
        "3: [OOM] NoSuch: systemd-oomd does not know it",
    ]
    assert "no unit has ManagedOOMSwap=kill" in policy.origin.traps[0]


def test_traps_are_named(tmp_path: Path) -> None:
    policy = oomd(tmp_path, {
        SLICE: f"{SWAP}ManagedOOMPreference=omit\nOOMRules=none-such\n",
        f"{RULES}/a.oomrule": "[Rule]\nSwapUsageMax=1%\n",
        f"{RULES}/b.oomrule": "[Rule]\nAction=kill-all\n",
        f"{RULES}/c.oomrule": "[Rule]\nSwapUsageMax=1%\nAction=kill-all\n",
    })  # fmt: skip
    assert policy.origin is not None
    said = "\n".join(policy.origin.traps)
    for trap in ("a.oomrule: no Action=", "b.oomrule: no MemoryPressureAbove=",
                 "c.oomrule: no unit has OOMRules=c", "OOMRules=none-such: there is no such",
                 "counts for no cgroup below it", "without swap never", "SIGKILL",
                 "oom_score_adj is not asked"):  # fmt: skip
        assert trap in said, trap


@pytest.mark.parametrize(
    ("file", "text", "expected"),
    [
        (CONF, "[OOM]\nSwapUsedLimit=90\n", ":2: SwapUsedLimit: expected a share such as 60%"),
        (
            CONF,
            "[OOM]\nDefaultMemoryPressureDurationSec=500ms\n",
            ":2: DefaultMemoryPressureDuration",
        ),
        (CONF, "[OOM]\nwhat\n", ":2: expected KEY=VALUE, not 'what'"),
        (CONF, "SwapUsedLimit=90%\n", ":1: SwapUsedLimit: expected [SECTION] before it"),
        (f"{RULES}/a.oomrule", "[Rule]\nAction=kill\n", ":2: Action: expected kill-all or "),
        (f"{RULES}/a.oomrule", "[Rule]\nLastingSec=x\n", ":2: LastingSec: expected a time span"),
        (SLICE, "[Slice]\nManagedOOMSwap=yes\n", ":2: ManagedOOMSwap: expected auto or kill, not"),
        (
            SLICE,
            "[Slice]\nManagedOOMPreference=kill\n",
            ":2: ManagedOOMPreference: expected none, ",
        ),
        (SLICE, f"{PRESSURE}ManagedOOMMemoryPressureLimit=101%\n", ":3: ManagedOOMMemoryPressure"),
    ],
)
def test_what_is_wrong_is_one_line(tmp_path: Path, file: str, text: str, expected: str) -> None:
    write(tmp_path, {SLICE: SWAP, file: text})
    (line,) = lines_of(f"systemd-oomd:{tmp_path}")
    assert line.startswith(f"{tmp_path}/{file}{expected}")


def test_single_files_and_folders_without_a_machine(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    isdir, asked = os.path.isdir, []

    def noted(path: str) -> bool:
        if path == "/run/systemd/system":
            asked.append(path)
        return isdir(path)

    monkeypatch.setattr(os.path, "isdir", noted)
    write(tmp_path, {"x/work.slice": PRESSURE, "x/work.slice.d/a.conf": "[Slice]\n"
                     "ManagedOOMMemoryPressureLimit=20%\n", "x/oomd.conf": "[OOM]\n"
                     "DefaultMemoryPressureDurationSec=9s\n", "y/z": "hello\n"})  # fmt: skip
    for where, limit, for_s in (("x", 0.2, 9.0), ("x/work.slice", 0.2, 30.0)):
        (rule,) = find_policy(f"systemd-oomd:{tmp_path}/{where}").when
        assert (limits(rule)["psi_full"], rule.for_s) == (limit, for_s)
    (line,) = lines_of(f"systemd-oomd:{tmp_path}/y")
    assert line.startswith(f"{tmp_path}/y: expected oomd.conf, ")
    assert asked == [], "this machine's units are another's"


@given(st.integers(0, 10000))
def test_shares_are_read_in_all_units(permyriad: int) -> None:
    expected = permyriad / 10000
    texts = [f"{permyriad}‱", f"{permyriad // 100}.{permyriad % 100:02}%"]
    assert [share(text) for text in texts] == [pytest.approx(expected)] * 2


@given(st.integers(0, 400), st.integers(0, 59), st.integers(0, 999))
def test_time_spans_add_up(minutes: int, whole: int, milli: int) -> None:
    expected = minutes * 60 + whole + milli / 1000
    texts = [f"{minutes}min {whole}s {milli}ms", f"{minutes}m{whole}.{milli:03}"]
    assert [seconds(text) for text in texts] == [pytest.approx(expected)] * 2


def test_no_machine_is_shown_more_than_it_has() -> None:
    assert reading().mem_total_kb == TOTAL_KB


def test_each_line_of_a_ruleset_that_is_not_known_is_named(tmp_path: Path) -> None:
    rules = (
        "[Other]\nSwapUsageMax=1%\n[Rule]\nNo=1\nSwapUsageMax=1%\nAction=kill-all\n"
        "LastingSec=infinity\n"
    )
    policy = oomd(tmp_path, {
        CONF: "[Else]\nSwapUsedLimit=1\n", f"{RULES}/a.oomrule": rules,
    })  # fmt: skip
    assert policy.origin is not None
    unknown = "systemd-oomd does not know it"
    assert [line.removeprefix(f"{tmp_path}/") for line in policy.origin.left_out] == [
        f"{CONF}:2: [Else] SwapUsedLimit: {unknown}",
        f"{RULES}/a.oomrule:2: [Other] SwapUsageMax: {unknown}",
        f"{RULES}/a.oomrule:4: [Rule] No: {unknown}",
    ]
    lasting, nothing = policy.origin.traps
    assert lasting.endswith("a.oomrule: LastingSec=infinity: systemd-oomd ignores this ruleset")
    assert nothing == (
        "no unit has ManagedOOMSwap=kill, ManagedOOMMemoryPressure=kill or OOMRules=: "
        "systemd-oomd does nothing"
    )
