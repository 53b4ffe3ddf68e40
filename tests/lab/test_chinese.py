"""What oomkit writes about a decision and a run has its Chinese, sentence by sentence."""

import ast
import itertools
import re
from collections.abc import Iterator
from pathlib import Path

import pytest

from oomkit.kernel.alloc import decide
from oomkit.kernel.snapshot_json import decode_snapshot
from oomkit.kernel.state import Allocation
from oomkit.kernel.versions import history
from oomkit.lab import machine
from oomkit.lab.chinese import in_chinese, sentences, spoken
from oomkit.records import replace

ROOT = Path(__file__).parents[2]
SOURCE = ROOT / "src/oomkit"
CHINESE = re.compile("[\u4e00-\u9fff]")

# Modules whose sentences all have to be there, and what in them is none, or the kernel's own words.
_WRITERS = {
    "kernel/out_of_memory.py": {
        "Memory cgroup out of memory", "Out of memory", "VM: killing process",
        "out of memory from page fault. panic_on_oom is selected.",
        "out of memory. Compulsory panic_on_oom is selected.",
        "No available memory (MPOL_BIND)", "No available memory in cpuset",
        "out of memory. panic_on_oom is selected",
        "out of memory(memcg). panic_on_oom is selected.",
        "Out of memory: compulsory panic_on_oom is enabled",
        "Out of memory: system-wide panic_on_oom is enabled",
        "Out of memory and no killable processes...", "System is deadlocked on memory",
        "Out of memory (oom_kill_allocating_task)", "{} ({})", "{} ({}), totalpages {}",
        "set, but {} can't be killed ({})",
    },
    "kernel/alloc.py": {"{}: {} pages found {}"},
    "kernel/kill.py": {
        "oom_kill_process: tried to kill an mm-less task!", "oom_kill_task: tried to kill init!",
        "do_page_fault: VM: killing process {}",
    },
    "kernel/select.py": {"{} {}"},
    "views/run_events.py": {
        # Parts, each tested with what it is a part of.
        ", the last at {}", ", the first at {}", "{} times", ": cgroup {} is at its limit",
        "until {}", "until the end", "more {}", "would-have kill", "{} {}", "{}, because of {}",
        "the policy {}{}", "and {} until {}", "the machine freezes for {}, {}",
        "tasks wait for memory: PSI some avg10", "nearly nothing moves: PSI full avg10",
        "reclaims {} of {}", "slows {} down above {}, for {}", "has {} stand still, for {}",
        ", because of {}", "and ", "{} of {} {} have ended", "more ", "the kernel", "Kernel panic",
        "and {} more {} until {}, which frees {}", "{} shorter freezes until {}, {} in all",
        "swap = {}", "{} {} {}", "the log's clock began {} before the run",
        "the log's clock counts from the kernel's boot", "afterwards some of it comes free {}",
    },
    "views/kill_reasons.py": {
        " (a tie; the order of the list decides)", " is at its limit and reclaim found nothing",
        "{} (a tie; the order of the list decides)", "{}/{} (pid {})", "badness {}",
        "oom_score_adj {}",
    },
}  # fmt: skip


def _texts(path: Path) -> Iterator[str]:
    """The string literals of a module that read like sentences, with {} for each value."""
    tree = ast.parse(path.read_text())
    parts: set[int] = set()
    for node in ast.walk(tree):
        if isinstance(node, ast.Expr) or (
            isinstance(node, ast.Subscript) and isinstance(node.value, ast.Name)
        ):
            parts |= {id(one) for one in ast.walk(node) if isinstance(one, ast.Constant)}
        if isinstance(node, ast.Call):
            continue
        if isinstance(node, ast.JoinedStr):
            parts |= {id(one) for one in node.values}
            yield "".join(
                str(one.value) if isinstance(one, ast.Constant) else "{}" for one in node.values
            )
    for node in ast.walk(tree):
        if isinstance(node, ast.Constant) and isinstance(node.value, str) and id(node) not in parts:
            yield node.value


def _sentences(path: Path) -> set[str]:
    return {text for text in _texts(path) if re.search(r"[a-z]+ |[a-z{}] \{|\} [a-z]", text)}


@pytest.mark.parametrize("module", sorted(_WRITERS))
def test_every_sentence_of_the_writers_is_in_the_catalogue(module: str) -> None:
    missing = set()
    for text in _sentences(SOURCE / module) - _WRITERS[module]:
        said = re.sub(r"^\{\}: ", "some_function: ", text).replace("{}", "7")
        if CHINESE.search(in_chinese(said) or "") is None:
            missing.add(text)
    assert missing == set()


def test_what_a_form_holds_stands_at_its_place() -> None:
    assert in_chinese("select_bad_process: web[7] has the highest badness, 120") == (
        "select_bad_process：web[7] 的 badness 最高，为 120"
    )
    assert in_chinese("20 depmod start, the last at 1.5 s") == "20 个 depmod 启动，最后一个在 1.5 s"
    assert in_chinese("the policy reclaims 5 MB of /a, because of b/0") == (
        "策略从 /a 回收 5 MB，因为 b/0"
    )
    assert in_chinese("set, but a[1] can't be killed (not in memory cgroup /x)") == (
        "已设置，但不能杀 a[1]（不在内存 cgroup /x 中）"
    )
    assert in_chinese("badness 9 of 1000; oom_score_adj 0; frees 7 MB; lives") == (
        "badness 千分之 9；oom_score_adj 0；释放 7 MB；存活"
    )
    assert in_chinese("no such sentence") is None
    assert spoken(["frees 7 MB", "no such sentence"], "zh") == ["释放 7 MB", "no such sentence"]
    assert spoken("frees 7 MB", "en") == "frees 7 MB"


def test_a_form_has_the_same_places_in_both_languages() -> None:
    for english, chinese in sentences().items():
        assert english.count("{") == chinese.count("{"), english


@pytest.mark.parametrize("snapshot", ["crowd", "node"])
def test_the_steps_of_any_version_are_chinese(snapshot: str) -> None:
    made = decode_snapshot((ROOT / f"docs/examples/{snapshot}.json").read_text())
    paths = [None, *(one.path for one in made.memcgs if one.limit_pages is not None)]
    asked = [
        Allocation(pid=pid, memcg=path, sysrq=sysrq, gfp_fs=fs)
        for pid, path, sysrq, fs in itertools.product(
            [None, 1, made.tasks[-1].pid], paths[:2], [False, True], [False, True]
        )
    ]
    english = set()
    for row, allocation, setting in itertools.product(
        history(), asked, [{}, {"panic_on_oom": 1}, {"oom_kill_allocating_task": 1}]
    ):
        machine_ = replace(made, sysctl=replace(made.sysctl, **setting))
        steps = decide(machine_, allocation, row.rules).trace
        english |= {one for one in steps if not CHINESE.search(in_chinese(one) or "")}
    assert english == set()


@pytest.mark.parametrize(
    "text",
    [
        "3 of 20 depmod have ended, the first at 4.0 s",
        "depmod ends",
        "20 depmod start",
        "the kernel kills a/0 (pid 7): cgroup x is at its limit",
        "earlyoom would have killed a/0 (pid 7), which lives: cgroup x is at its limit",
        "the machine freezes for 3.0 s, until the end",
        "3 shorter freezes until 9.0 s, 4.0 s in all",
        "and 1 more would-have kill until 3.0 s",
        "and 5 more refusals until 3.0 s",
        "and 5 more web until 3.0 s, which frees 7 MB",
        "afterwards some of it comes free 2 times",
        "the policy slows /a down above 7 MB, for 3.0 s, because of web/0",
        "the policy has web/0 stand still, for 3.0 s",
        "(the log's clock began 60.0 s before the run)",
        "tie: a[7], b[8] have the same badness; their order in the list decides",
        "select_bad_process: a[7] is exiting anyway (a tie; the order of the list decides)",
    ],
)
def test_sentences_of_several_parts_are_chinese(text: str) -> None:
    said = in_chinese(text)
    assert said is not None
    left = re.sub(r"select_bad_process|tie|badness|depmod|cgroup|earlyoom|pid|web", "", said)
    assert not re.search("[a-z]{3}", left)


@pytest.mark.parametrize("path", sorted((ROOT / "scenarios").glob("*.toml")), ids=lambda p: p.stem)
def test_what_happens_in_a_scenario_is_chinese(path: Path) -> None:
    run = machine.play(path.read_text(), language="zh")
    (rest,) = machine.details("zh")
    said = [run["outcome"], run["end"], *(means for _, _, means in run["objectives"])]
    said += [text for one in run["events"] for text in (one["what"], *one["why"])]
    said += [text for trace in rest["traces"] for text in trace]
    said += [kill[key] for kill in run["kills"] for key in ("what", "why")]
    # A limit's name and value, and the kernel's last words, are the same in any language.
    names = re.compile(r"(CommitLimit|MemAvailable|total RAM|.*Kernel panic).*|[\w. /]+ = .*")
    assert [text for text in said if not CHINESE.search(text) and not names.match(text)] == []
