"""Small logs that mislead: what each holds is told, and nothing that it does not hold."""

from functools import cache
from pathlib import Path
from typing import Any

import pytest

from oomkit.explain.explanation import Case
from oomkit.explain.files import read_file
from oomkit.render.layout import Terminal
from oomkit.render.terminal import plain_lines
from oomkit.views.explain_json import incident_object, no_kill_object, report_object
from oomkit.views.explain_page import page_text
from oomkit.views.explain_report import explanation_report, summary_of

LOGS = Path(__file__).parents[1] / "data" / "oom-logs" / "misleading"
NAMES = sorted(path.stem for path in LOGS.glob("*.log"))


@cache
def case_of(number: str) -> Case:
    (path,) = LOGS.glob(f"{number}-*.log")
    return Case([read_file(str(path))])


def objects_of(number: str) -> list[dict[str, Any]]:
    case = case_of(number)
    found = [report_object(case.explain(i), case.incident(i)) for i in range(len(case.reports))]
    found.extend(incident_object(item, case.evidence) for item in case.reported_by_others())
    if case.no_kill is not None:
        found.append(no_kill_object(case.no_kill, case.failed))
    return found


def text_of(number: str, width: int = 100) -> str:
    """All that is printed of a log, on one line."""
    case = case_of(number)
    terminal = Terminal(width=width, unicode=False)
    found = [summary_of(case.reports, case.evidence, case.incidents, case.tables)]
    found += [explanation_report(case.explain(i), i + 1) for i in range(len(case.reports))]
    lines = (line for document in found for line in plain_lines(document, terminal))
    return " ".join(" ".join(line.split()) for line in lines)


def page_of(number: str) -> str:
    case = case_of(number)
    explained = [case.explain(i) for i in range(len(case.reports))]
    return page_text(
        explained, case.reports, case.evidence, case.incidents, case.tables, case.no_kill
    )


def killed_in(number: str) -> list[list[tuple[int | None, str | None]]]:
    return [[(v["pid"], v["comm"]) for v in item["killed"]] for item in objects_of(number)]


QEMU = "qemu-system-x86"
VICTIMS: dict[str, list[list[tuple[int | None, str | None]]]] = {
    "01": [[]],
    "02": [[(4100, "java")]],
    "04": [[(16883, "eater")]],
    "05": [[(1297859, "eater")]],
    "06": [[(3018113, QEMU)], [(2464115, "Media Scan")]],
    "08": [[(886679, QEMU)], [(27410, QEMU)]],
    "10": [[(268654, "main"), (235173, "tini")]],
    "11": [[(7788, "bash"), (7620, "nginx")]],
    "13": [[(27664, "pig")]],
    "14": [[(None, None)], [(None, None)]],
    "15": [[(2613, "d.play.games.ui")]],
    "16": [[(None, None)] * 2, [(None, None)]],
    "18": [[(7788, "bash")]],
    "19": [[(None, None)], [(None, None)]],
    "20": [[(77, "java")]],
    "21": [[], []],
    "23": [[(51947, "tail")]],
    "25": [[(16944, "mingetty")]],
    "26": [[]],
    "28": [[]],
    "30": [[(11344, "main")]],
    "32": [[(None, None)]],
    "34": [[(7493, "java")]],
}
KILLERS = {
    "01": "nobody", "14": "systemd-oomd", "15": "lowmemorykiller", "16": "kernel", "19": "kubelet",
    "21": "unknown", "26": "unknown", "28": "unknown", "32": "systemd-oomd",
}  # fmt: skip
"""The kernel in all others."""
RAN_OUT = {
    "01": "the machine",
    "02": "memory cgroup /docker/aa",
    "04": "a memory cgroup",
    "05": "the machine",
    "06": "the machine",
    "10": "memory cgroup /kubepods.slice/p.slice",
    "11": "memory cgroup /g",
    "13": "the machine",
    "18": "a memory cgroup",
    "20": "the machine",
    "21": "memory",
    "23": "memory cgroup /ecstasks.slice/ecstasks-488f.slice",
    "25": "a memory cgroup",
    "26": "the machine",
    "28": "memory",
    "30": "memory cgroup /docker/aa",
    "34": "memory cgroup /docker/aa",
}


def test_every_log_has_its_row() -> None:
    assert sorted(VICTIMS) == [name[:2] for name in NAMES]


@pytest.mark.parametrize("number", VICTIMS)
def test_who_was_killed(number: str) -> None:
    assert killed_in(number) == VICTIMS[number]


@pytest.mark.parametrize("number", VICTIMS)
def test_who_killed(number: str) -> None:
    expected = KILLERS.get(number, "kernel")
    assert {item["killer"]["by"] for item in objects_of(number)} == {expected}


@pytest.mark.parametrize("number", RAN_OUT)
def test_what_ran_out(number: str) -> None:
    assert {item["shortage"]["what"] for item in objects_of(number)} == {RAN_OUT[number]}


@pytest.mark.parametrize("number", VICTIMS)
def test_page_and_text_name_the_same_victims(number: str) -> None:
    text, page = text_of(number), page_of(number)
    for victims in VICTIMS[number]:
        for pid, comm in victims:
            if pid is not None:
                assert f"{comm}[{pid}]" in text
                assert f"{comm}[{pid}]" in page


SAID = {
    "01": ["kernel panic: System is deadlocked on memory", "kernel 5.6.0-rc1"],
    "02": ["4210 is a thread of java[4100]", "come to the same choice", "against 4.00 GiB"],
    "04": ["its score 877 shows what it was measured against: 63.9 MiB to 66.0 MiB"],
    "05": ["the task table is an excerpt", "the total it is measured against is not in the log"],
    "06": ["kernel not named, by its format 5.1 or later"],
    "08": [
        "the memory nodes of cpuset emulator ran out",
        "the nodes of the task's memory policy ran out",
        "node 0",
    ],
    "10": ["1 incident, 1 OOM report, 2 processes killed", "of its group (memory.oom.group)"],
    "11": ["of its group (memory.oom.group)"],
    "13": ["oom_reaper: reaped process 27664 (pig)", "4.9 to 4.14"],
    "14": [
        "systemd-oomd killed unit org.gnome.Shell@wayland.service, because memory pressure of",
        "/user.slice/user-1000.slice/user@1000.service was 61.27 % (limit 50 %) for 20 s",
        "systemd-oomd killed unit snap.chromium.chromium.82bbbfd7.scope",
    ],
    "15": ["(adj 1000)", "20.3 MiB", "cache 32112kB was below its limit of 32384kB", "kswapd0"],
    "16": ["Slurm says that the kernel killed", "step 679604.0", "step 7.batch, 2 times", "node10"],
    "18": ["node-problem-detector: repeats the kernel's line on bash[7788]"],
    "19": [
        "pod citadel-894d98c88-zkt23 (container citadel: 42.5 MiB used, request 0",
        "pod egg-5d9 (container egg: 4.82 GiB used, request 0: nothing was reserved for it)",
    ],
    "20": ["2023-11-14 22:13:20+00:00", "5.000 s after boot", "host box7"],
    "21": ["2 incidents", "2020-06-25 09:57:22Z", "2020-06-25 10:09:22Z"],
    "23": ["the task was in /ecstasks.slice/ecstasks-488f.slice/docker-60ef.scope"],
    "25": ["lines were left out here (line 4)", "the table is not whole"],
    "26": ["kernel 6.17.0-rc3", "the machine ran out of memory"],
    "28": ["26.4 GiB free", "points to low memory of a 32-bit kernel"],
    "30": ["kernel 4.4.0-130-generic", "3 lines that stand twice (lines 7 to 9)", "1 OOM report,"],
    "32": [
        "systemd-oomd killed unit packagekit.service, 12 processes, because memory pressure of",
        "/system.slice was 91.73 % (limit 50 %) for 20 s; it held 277 MiB",
    ],
    "34": ["hit at least 14 times"],
}  # fmt: skip


@pytest.mark.parametrize("number", VICTIMS)
def test_what_the_log_holds_is_reported(number: str) -> None:
    text = text_of(number)
    for words in SAID[number]:
        assert words in text


NOT_SAID = {
    "01": ["2 OOM reports", "]---"],
    "02": ["a child of"],
    "04": ["148 MiB"],
    "05": ["measured against", "no other process could be chosen", "then nobody can be", "1 of 1"],
    "06": ["5.3"],
    "10": ["every 0 s"],
    "11": ["stand in the log twice"],
    "13": ["victim unknown"],
    "15": ["lmkd", "before the kernel had to"],
    "18": ["kubelet:", "log_monitor"],
    "19": ["something"],
    "21": ["1 incident,"],
    "25": ["4 of 4", "of 1000"],
    "26": ["does not tell"],
    "28": ["no free block", "not in pieces large enough"],
    "30": ["victim unknown"],
    "32": ["before the kernel had to"],
    "34": ["hit 14 times"],
}  # fmt: skip


@pytest.mark.parametrize("number", NOT_SAID)
def test_what_the_log_does_not_hold_is_not_reported(number: str) -> None:
    text = text_of(number).replace("the total it is measured against is not in the log", "")
    for words in NOT_SAID[number]:
        assert words not in text


def test_numbers_of_others_stand_in_the_json() -> None:
    (oomd,) = objects_of("32")
    assert (oomd["killed"][0]["unit"], oomd["killed"][0]["processes"]) == ("packagekit.service", 12)
    assert oomd["related"][0]["used_kb"] == 283545
    assert [(row.name, row.killed) for row in case_of("32").tables.unit] == [
        ("packagekit.service", 12)
    ]
    driver = objects_of("15")[0]["related"][0]
    assert (driver["adj"], driver["used_kb"], driver["invoker"]) == (1000, 20784, "kswapd0[442]")
    evicted = [item["related"][0] for item in objects_of("19")]
    assert [item["used_kb"] for item in evicted] == [43536, 5053216]
    assert [item["request_kb"] for item in evicted] == [0, 0]
    assert [item["pod"] for item in evicted] == ["citadel-894d98c88-zkt23", "egg-5d9"]
    (cut,) = objects_of("34")
    assert cut["memcg"]["memory"]["failcnt_cut"] is True
    (score,) = objects_of("04")
    assert score["choice"]["total_pages"] is None
    assert score["choice"]["total_bounds"] == (16365, 16891)
