"""What is read of short texts, of damaged logs and of single lines, and what is written of reports.

As kept in ``tests/data/read``; ``python -m tests.recorded`` writes these anew with the others.
"""

import json
import random
import re
import textwrap
from collections.abc import Callable, Iterable, Iterator
from functools import cache, partial
from pathlib import Path
from typing import Any

import msgspec

from oomkit.kernel.alloc import decide
from oomkit.kernel.rules import RuleSet
from oomkit.kernel.state import Allocation, Memcg, Memory, Snapshot, Sysctl, Task
from oomkit.kernel.versions import history
from oomkit.klog import read_bytes, read_evidence, replay_all
from oomkit.klog.lines.prefix import PrefixStripper
from oomkit.klog.records import Report
from oomkit.klog.write import reaped, stalled, stamped, write_report
from tests.klog.logs import bytes_of
from tests.klog.styles import STYLES

KEPT = Path(__file__).parent / "data" / "read"
TEXTS = Path(__file__).parent / "data" / "texts"
_LONGEST = 400
"""Of a longer value so many characters are kept."""


# -- short texts ---------------------------------------------------------------------------------


@cache
def texts(group: str) -> dict[str, str]:
    """The texts of a file, by their numbers: each begins with a line ``=== NUMBER``."""
    found = {}
    parts = re.split(r"(?m)^=== (\d+)( without a newline at its end)?\n", _text_of(group))
    for number, bare, text in zip(parts[1::3], parts[2::3], parts[3::3], strict=True):
        found[number] = text.removesuffix("\n") if bare else text
    return found


def _text_of(group: str) -> str:
    return (TEXTS / f"{group}.txt").read_text()


GROUPS = tuple(sorted(path.stem for path in TEXTS.glob("*.txt")))


def _short(value: object) -> str:
    text = json.dumps(value, ensure_ascii=False)
    return text if len(text) <= _LONGEST else f"{text[:_LONGEST]}... of {len(text)}"


def _told(value: Any) -> Any:
    """Without what is not known."""
    if isinstance(value, dict):
        return {key: _told(part) for key, part in value.items() if part not in (None, [], {}, "")}
    return [_told(part) for part in value] if isinstance(value, list) else value


def _report_lines(report: Report) -> Iterator[str]:
    """A report by its fields; of its tables how many rows they have and what these add up to."""
    found: dict[str, Any] = msgspec.to_builtins(report)
    rows = found.pop("tasks", [])
    memory = found.pop("memory", None)
    found.pop("assumed", None)
    for key, value in found.items():
        if value not in (None, [], {}, "", False):
            yield f"  {key}: {_short(_told(value))}"
    if rows:
        columns = sorted(key for key in rows[0] if isinstance(rows[0][key], int))
        sums = {key: sum(row.get(key) or 0 for row in rows) for key in columns}
        yield f"  {len(rows)} tasks: {json.dumps(sums)} {' '.join(row['comm'] for row in rows[:3])}"
    if memory:
        for key in ("nodes", "zones", "unreclaimable_slab"):
            parts = memory.pop(key, [])
            if parts:
                memory[f"{len(parts)} {key}"] = [_total(part) for part in parts[:4]]
        yield f"  memory: {_short(memory)}"


def _total(part: dict[str, Any]) -> int:
    """One number for all that a zone or node has."""
    total = 0
    for weight, key in enumerate(sorted(part), start=1):
        value = part[key]
        numbers = value.values() if isinstance(value, dict) else value
        if isinstance(numbers, int):
            total += weight * numbers
        elif numbers is not None and not isinstance(numbers, str):
            total += sum(weight * place * n for place, n in enumerate(numbers, start=1))
    return total


def _of_bytes(data: bytes, *, most: int) -> str:
    lines = []
    reports = list(replay_all(read_bytes(data, "x.log")))
    for number, report in enumerate(reports[:most], start=1):
        lines += [f"report {number} of {len(reports)}", *_report_lines(report)]
    for item in read_evidence(data, "x.log"):
        fields = msgspec.to_builtins(item)
        source = fields.pop("source")
        known = {key: value for key, value in fields.items() if value not in (None, "", False)}
        lines.append(f"evidence in line {source['line']}: {_short(known)}")
    return "\n".join(lines) + "\n"


def text_read(group: str, number: str) -> str:
    """What is read of one text."""
    return _of_bytes(texts(group)[number].encode(), most=3)


# -- damaged logs --------------------------------------------------------------------------------

DAMAGED = (
    "g-2.6.2x-ubuntu-amule.log",
    "g-2.6.32-431-el6-java.log",
    "g-3.10.0-514-el7-sed-mysqld.log",
    "g-5.7-rc6-next-i386-mkfs-two-reports.log",
    "m-3.6-hierarchy-mal-quoted.log",
    "m-3.x-docker-adj-998.log",
    "m-5.15-pve-lxc-php-fpm-german-date.log",
    "m-5.2-rc7-leaker.log",
    "m-6.11-rc6-oom-group-kills-wrapped.log",
    "m-6.7.4-arch-rsync-adj200.log",
    "n-4.14-arm64-ltp-oom02-mempolicy-then-panic.log",
    "p-5.15-rc4-memcg-then-panic_on_oom.log",
    "s-5.13-ubuntu-sysrq-order-1.log",
)
_OTHER = "m-5.2-rc7-leaker.log"
_SSHD = "Jun  7 10:00:00 web sshd[77]: Accepted publickey for root from 10.0.0.1"


def _lines_of(name: str) -> list[str]:
    return bytes_of(name).decode("utf-8", "replace").splitlines()[:260]


def _cut(lines: list[str], width: int) -> Iterator[str]:
    for line in lines:
        yield from [line[i : i + width] for i in range(0, len(line), width)] or [""]


def _wrapped(lines: list[str], width: int) -> Iterator[str]:
    for line in lines:
        yield from textwrap.wrap(line, width, break_on_hyphens=False) or [""]


def _unstamped(line: str) -> str:
    return re.sub(r"^.{0,60}?\[\s*\d+\.\d{6}\]\s?(?:\[[^]]*\]\s)?", "", line)


def _without_characters(lines: list[str], every: int) -> str:
    text = "\n".join(lines)
    return "".join(text[i : i + every - 1] for i in range(0, len(text), every)) + "\n"


def _joined(lines: Iterable[str]) -> str:
    return "".join(f"{line}\n" for line in lines)


def _interleaved(lines: list[str]) -> Iterator[str]:
    other = _lines_of(_OTHER)
    for i, line in enumerate(lines):
        yield line
        if i < len(other):
            yield other[i]


def _shuffled(lines: list[str]) -> list[str]:
    """Lines of a few that changed places, as two consoles do it."""
    chance = random.Random(7)
    return [line for _, line in sorted((i + chance.uniform(0, 2.5), line)
                                       for i, line in enumerate(lines))]  # fmt: skip


def _with_others(lines: list[str]) -> Iterator[str]:
    for i, line in enumerate(lines):
        yield line
        if i % 3 == 2:
            yield _SSHD


def _in_json(lines: list[str]) -> str:
    return _joined(json.dumps({"log": f"{line}\n", "time": "2024-01-04T10:00:00Z"})
                   for line in lines)  # fmt: skip


DAMAGES: dict[str, Callable[[list[str]], str]] = {
    "without every seventh line": lambda ls: _joined(s for i, s in enumerate(ls) if i % 7 != 3),
    "without its first third": lambda ls: _joined(ls[len(ls) // 3 :]),
    "without its last third": lambda ls: _joined(ls[: -(len(ls) // 3)]),
    "without its middle": lambda ls: _joined([*ls[: len(ls) // 3], *ls[-(len(ls) // 3) :]]),
    "with its middle left out": lambda ls: _joined(
        [*ls[: len(ls) // 3], "[...]", *ls[-(len(ls) // 3) :]]
    ),
    "cut at 80": lambda ls: _joined(_cut(ls, 80)),
    "wrapped at 72": lambda ls: _joined(_wrapped(ls, 72)),
    "wrapped at 72 and quoted": lambda ls: _joined(f"> {line}" for line in _wrapped(ls, 72)),
    "every line twice": lambda ls: _joined(line for line in ls for _ in range(2)),
    "copied from screens that overlap": lambda ls: _joined(
        [*ls[: len(ls) * 6 // 10], *ls[len(ls) * 4 // 10 :]]
    ),
    "cut by a pager": lambda ls: _joined(
        f"{line[:90]}>" if len(line) > 91 else line for line in ls
    ),
    "newest first": lambda ls: _joined(reversed(ls)),
    "between another's lines": lambda ls: _joined(_interleaved(ls)),
    "shuffled": lambda ls: _joined(_shuffled(ls)),
    "between lines of others": lambda ls: _joined(_with_others(ls)),
    "joined by twos": lambda ls: _joined("#012".join(ls[i : i + 2]) for i in range(0, len(ls), 2)),
    "in JSON": _in_json,
    "bare": lambda ls: _joined(map(_unstamped, ls)),
    "without some characters": partial(_without_characters, every=211),
}


def damaged_read(name: str, how: str) -> str:
    """What is read of a log that was damaged in one way."""
    return _of_bytes(DAMAGES[how](_lines_of(name)).encode(), most=4)


# -- single lines --------------------------------------------------------------------------------

_SHOWN_LINES = (
    "java invoked oom-killer: gfp_mask=0x201da, order=0, oom_score_adj=0",
    "Node 0 DMA free:15900kB min:332kB low:412kB high:496kB",
    "Killed process 123 (java) total-vm:9kB, anon-rss:4kB, file-rss:0kB",
)
_RAW = (
    "kernel: plain text",
    "host kernel: plain text",
    "Jun  7 10:00:01 web kernel: [12345.678901] text",
    "Jun  7 10:00:01 web kernel:[12345.678901] text",
    "Jun 17 10:00:01 2024 web kernel: text",
    "2024 Jun 17 10:00:01 web kernel: text",
    "Jun 17 10:00:01 web java[77]: text",
    "Jun 17 10:00:01 web java: text",
    "Jun 17 10:00:01 java: text",
    "2024-01-04 10:00:01.123 web kernel: text",
    "2024-01-04T10:00:01,123456+01:00 web app[9]: text",
    "2024-01-04T10:00:01Z web-1.example.org kernel [1.000002] text",
    "<4>1 2024-01-04T10:00:00.000001Z web app 99 - - text",
    "<4>1 2024-01-04T10:00:00.000001Z web kernel - - - [5.000001] text",
    "<6>[5.000001] text",
    "<6>[5.000001][T4711] text",
    "<6>[5.000001] [ C1] text",
    "[5.000001] (77)[88:app]text",
    "[5.000001] web kernel: text",
    "[5.000001] web kernel: [6.000001] text",
    "[Thu Jan  4 10:00:01 2024] text",
    "[Thu Jan  4 10:00:01 2024] [5.000001] text",
    "[2024-01-04 10:00:01] [5.000001] text",
    "[1704358800.123] text",
    "1704358800.123 text",
    "> > [5.000001] text",
    "> Jun  7 10:00:01 web kernel: text",
    "| [5.000001] text |",
    "4,1,5000001,-;text",
    "4,1,5000001,-,caller=T77;text",
    "  [5.000001] text  ",
    "\ttext",
    "text with a cut end: failcnt 14>",
    "[5.000001] text with a cut en...",
    "[5.000001] memory: usage 1048576kB, limit 1048576kB, failcnt 14>",
    "[5.000001] Node 0 DMA free:159>",
    "[5.000001] whole >",
    "slot1/lb1 2024-01-04T10:00:01 warning kernel: text",
    "Jan  4 10:00:01 web one two three kernel: text",
    "Jan  4 10:00:01 web one two three four five six kernel: text",
    "one kernel: text",
    "one two kernel: text",
    "10:00:01 one two kernel: text",
    "[dim. 19 avril 18:03:01 2026] text",
    "19 avril 18:03:01 web kernel: text",
    "[no date at all here] text",
    "[ 5.000001 ] text",
    "[5.0001] text",
    "",
    " ",
    "[5.000001]",
)  # fmt: skip


def lines_read() -> str:
    """What is told by the prefixes of single lines."""
    found = []
    for style, form in STYLES.items():
        made = form(list(_SHOWN_LINES)).splitlines()
        if style in ("page's source", "console output", "insights", "csv") or "{" in made[0]:
            continue
        found += [f"# {style}", *_stripped(made[:4])]
    found += ["# by itself", *(line for raw in _RAW for line in _stripped([raw]))]
    for words in (("phone-1 | ", "[  12.3456@0] ", "abc 17: "), ("12 ", "13 ", "x> ")):
        raws = [f"{word}{text}" for word in words for text in (
            "Call Trace:", "active_anon:1 inactive_anon:2", "Mem-Info:", "other text")]  # fmt: skip
        found += [f"# learnt from {' and '.join(words)}", *_stripped(raws)]
    return "\n".join(found) + "\n"


def _stripped(raws: list[str]) -> Iterator[str]:
    stripper = PrefixStripper()
    for number, raw in enumerate(raws, start=1):
        line = stripper.strip(raw.expandtabs(4), number)
        fields = msgspec.to_builtins(line)
        known = {k: v for k, v in fields.items() if v not in (None, False, "", 0) and k != "number"}
        yield f"{raw!r}\n    {_short(known)}"


# -- written reports -----------------------------------------------------------------------------

_TASKS = (
    Task(pid=1, comm="init", rss_pages=300, total_vm_pages=900, global_init=True),
    Task(pid=7, mm_id=77, comm="java", uid=1000, rss_pages=90_000, anon_rss_pages=80_000,
         file_rss_pages=7000, shmem_rss_pages=3000, total_vm_pages=200_000, swap_pages=400,
         pgtable_pages=250, pte_pages=240, pmd_pages=9, cgroup="/app/web", oom_score_adj=300,
         mems_allowed=(0, 1, 3)),
    Task(pid=8, comm="db", uid=0, rss_pages=20_000, total_vm_pages=30_000, cgroup="/app/db",
         file_rss_pages=500, swap_pages=10, pgtable_pages=40, oom_score_adj=-300),
    Task(pid=9, comm="safe", rss_pages=40, total_vm_pages=60, cgroup="/app", oom_score_adj=-1000),
    Task(pid=10, comm="kthreadd", kthread=True, has_mm=False),
)  # fmt: skip
_MEMORY = Memory(
    total_ram_pages=262_144, total_swap_pages=4096, free_pages=1001, free_swap_pages=16,
    file_pages=9003, shmem_pages=3001, anon_pages=110_001, slab_reclaimable_pages=501,
    slab_unreclaimable_pages=702, pgtable_pages=293, min_wmark_pages=700, low_wmark_pages=800,
    high_wmark_pages=900,
)  # fmt: skip
_V2 = (
    Memcg(path="/app", version=2, limit_pages=120_000, usage_pages=119_999, swap_usage_pages=410,
          swap_max_pages=None, min_pages=0, low_pages=0),
    Memcg(path="/app/web", version=2, usage_pages=90_000, min_pages=1000, low_pages=100_000,
          oom_group=True),
    Memcg(path="/app/db", version=2, usage_pages=20_000, min_pages=30_000, low_pages=0),
)  # fmt: skip
_V1 = (
    Memcg(path="/app", version=1, limit_pages=120_000, usage_pages=119_999, swap_usage_pages=410,
          memsw_limit_pages=130_000),
)  # fmt: skip


def _machine(**fields: Any) -> Snapshot:
    made: dict[str, Any] = {"kernel": "1.2.3-test", "memory": _MEMORY, "tasks": _TASKS}
    return Snapshot(**{**made, **fields})


_GROUPED = (
    *_TASKS[:3],
    Task(pid=11, comm="helper", uid=5, rss_pages=30, total_vm_pages=99, cgroup="/app/web"),
)
_SHARING = (
    *_TASKS[:3],
    Task(
        pid=12, comm="sharer", rss_pages=90_000, total_vm_pages=200_000, mm_id=77, cgroup="/app/web"
    ),
)
_ASK = Allocation(pid=7)
SITUATIONS: dict[str, tuple[Snapshot, Allocation]] = {
    "the machine": (_machine(), _ASK),
    "blocks, without filesystems": (
        _machine(), Allocation(pid=8, order=3, gfp_fs=False, nodemask=(0, 2, 3, 4, 7))
    ),
    "a cgroup of v2": (
        _machine(memcgs=_V2, tasks=_GROUPED), Allocation(pid=8, memcg="/app")
    ),
    "a cgroup of v1": (_machine(memcgs=_V1), Allocation(pid=7, memcg="/app")),
    "a cgroup that is not in the snapshot": (_machine(), Allocation(memcg="/app")),
    "nobody in a cgroup": (
        _machine(memcgs=_V2, tasks=(_TASKS[0], _TASKS[3])), Allocation(pid=9, memcg="/app")
    ),
    "nobody on the machine": (_machine(tasks=(_TASKS[0],)), Allocation(pid=1)),
    "panic_on_oom": (_machine(sysctl=Sysctl(panic_on_oom=2)), _ASK),
    "the asker": (_machine(sysctl=Sysctl(oom_kill_allocating_task=1)), Allocation(pid=8)),
    "no table": (_machine(sysctl=Sysctl(oom_dump_tasks=0)), _ASK),
    "spared": (_machine(sysctl=Sysctl(would_have_oomkilled=1)), _ASK),
    "on request": (_machine(), Allocation(pid=1, sysrq=True)),
    "large pages": (_machine(page_size=65_536), Allocation(pid=7, nodemask=(1,))),
    "shared memory": (_machine(tasks=_SHARING), _ASK),
}  # fmt: skip


def _written(snapshot: Snapshot, allocation: Allocation, rules: RuleSet) -> list[str]:
    decision = decide(snapshot, allocation, rules)
    return write_report(snapshot, allocation, rules, decision)


def reports_written(situation: str) -> str:
    """Each text that rule sets write in a situation, with the first versions that write it."""
    snapshot, allocation = SITUATIONS[situation]
    versions: dict[tuple[str, ...], list[str]] = {}
    for row in history():
        lines = tuple(_written(snapshot, allocation, row.rules))
        versions.setdefault(lines, []).append(row.rules.name)
    found = []
    before: tuple[str, ...] = ()
    for lines, named in versions.items():
        found.append(f"# {', '.join(named)}")
        # Lines that the text before has, too, at the same place from either end, go without saying.
        same = _common(before, lines)
        after = _common(before[same:][::-1], lines[same:][::-1])
        found += [f"({same} lines as before)"] if same else []
        found += lines[same : len(lines) - after]
        found += [f"({after} lines as before)"] if after else []
        before = lines
    return "\n".join(found) + "\n"


def _common(a: Iterable[str], b: Iterable[str]) -> int:
    count = 0
    for one, other in zip(a, b, strict=False):
        if one != other:
            break
        count += 1
    return count


def lines_written() -> str:
    """The lines that stand by themselves: stamps, oom_reaper's, warnings of stalls."""
    java = _TASKS[1]
    found = [
        *stamped(["text", "more"], 7.5),
        *stamped(["text"], 123_456.789),
        reaped(java),
        reaped(java, anon_kb=4, file_kb=8, shmem_kb=12),
    ]
    for row in history():
        for waited_s in (9.99, 10.0, 25.7):
            found += stalled(java, waited_s, Allocation(pid=7, order=2), row.rules)
        other = Allocation(pid=8, gfp_fs=False, nodemask=(1, 2))
        found += stalled(_TASKS[2], 10.0, other, row.rules)
    return "\n".join(found) + "\n"


# -- all of them ---------------------------------------------------------------------------------


def file_of(kind: str, name: str) -> Path:
    """The file of one recorded text."""
    plain = re.sub(r"[^\w.+-]+", "-", name)
    return KEPT / kind / f"{plain}.txt"


def blocks(made: Iterable[tuple[str, str]]) -> str:
    """Several results in one file, each under its name."""
    return "".join(f"=== {name}\n{text}" for name, text in made)


@cache
def block(kind: str, file: str, name: str) -> str:
    """One of the results that a file keeps."""
    return _blocks(kind, file)[name]


@cache
def _blocks(kind: str, file: str) -> dict[str, str]:
    parts = re.split(r"(?m)^=== (.+)\n", file_of(kind, file).read_text())
    return dict(zip(parts[1::2], parts[2::2], strict=True))


def write() -> None:
    """Write all files anew."""
    for group in GROUPS:
        made = blocks((number, text_read(group, number)) for number in texts(group))
        _write("texts", group, made)
    for name in DAMAGED:
        _write("damaged", name, blocks((how, damaged_read(name, how)) for how in DAMAGES))
    for situation in SITUATIONS:
        _write("written", situation, reports_written(situation))
    _write("written", "lines", lines_written())
    _write("lines", "prefixes", lines_read())


def _write(kind: str, name: str, text: str) -> None:
    path = file_of(kind, name)
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text)
