"""Lines put together again, taken out of records and cleaned: each rule to both sides."""

import io
from typing import Any

import pytest

from oomkit.klog.evidence import Evidence
from oomkit.klog.lines import pieces as dates
from oomkit.klog.lines import scan
from oomkit.klog.lines.clean import QuotedPrintable, clean, split_joined, without_cut_end
from oomkit.klog.lines.join import Joiner, breakable_width
from oomkit.klog.lines.learned import LearnedPrefixes
from oomkit.klog.lines.line import Line
from oomkit.klog.lines.prefix import PrefixStripper, strip_prefix
from oomkit.klog.lines.wrappers import (
    ExportReader,
    PrettyReader,
    is_list_of_strings,
    lines_of_json,
    lines_of_record,
)
from oomkit.klog.parser import line_of_row
from oomkit.klog.reader import is_newest_first, scan_records
from oomkit.klog.records import Report
from tests.klog.logs import bytes_of

# -- joining -------------------------------------------------------------------------------------


def joined(*raws: str) -> list[tuple[str, bool]]:
    """Lines put together, and of each whether it was."""
    stripper, joiner = PrefixStripper(), Joiner()
    found = []
    for number, raw in enumerate(raws, start=1):
        if raw:
            found += joiner.push(stripper.strip(raw, number))
        else:
            joiner.blank()
    return [(line.text, wrapped) for line, wrapped in [*found, *joiner.flush()]]


H = "db invoked oom-killer: gfp_mask=0x1(GFP_X),"
T = "[ pid ]   uid  tgid total_vm      rss"
R = "[    7]     0     7     9000      400"


@pytest.mark.parametrize(
    ("before", "after", "glue"),
    [
        ("db invoked", "oom-killer: gfp_mask=0x1", " "),
        ("some words", "oom-killer: gfp_mask=0x1", " "),
        ("some words", "x oom-killer: gfp_mask", None),
        ("db invoked", "x oom-killer: gfp", " "),
        (H, "order=0", " "),
        (H, "gfp_mask", ""),
        (H, "nodemask=(null)", " "),
        (H, "oom_score_adj=0", " "),
        (H, "x_adj=0", " "),
        (H, "_NOFS)", ""),
        (H, "|__GFP_IO)", ""),
        (H, ")", ""),
        (H, ", order=0", ""),
        (H, "GFP_X", ""),
        (H, "words", None),
        (f"{H} order=0, oom_score_adj=0", "order=0", None),
        (f"{H} order=0, oom_adj=0", "order=0", None),
        (f"{H} order=0, oomkilladj=-17", "order=0", None),
        (T, "nr_ptes name", " "),
        ("[ pid ]   uid  tgid total_vm", "rss name", " "),
        ("[ pid ]   uid", "tgid total_vm", " "),
        ("[ pid ]   uid  tgid", "total_vm", " "),
        (T, "pgtables_bytes", " "),
        (T, "swapents", " "),
        (T, "oom_adj name", " "),
        (T, "name", " "),
        (T, "cpu oom_adj", " "),
        (T, "words", None),
        (f"{T} name", "nr_ptes", None),
        ("[    7]     0     7     9000", "400 1 1 1 1 1 1 db", " "),
        (f"{R}  1 2 3 4 5 6", "db", " "),
        (f"{R}  1 2 3 4 5 6 db", "web", None),
        (f"{R}  1 2 3 4 5", "db", None),
        ("[    7]     0     7", "words", None),
        ("[    7]", "0 7 9000", " "),
        (R, "[    8]     0     8", None),
        ("oom-kill:constraint=X,", "nodemask=1", ""),
        ("x oom-kill:", "constraint=X", ""),
        ("oom-kill:constraint=X,uid=0", "x", None),
        ("oom-kill:constraint=X,uid=", "0", ""),
        ("Out of memory: Kill process 7", "(db) score 9", " "),
        ("Out of memory: Killed process 7 (db)", "total-vm:9kB", " "),
        ("Killed process 7 (db)", "vm:9kB", " "),
        ("Killed process 7 (db) total-vm:9kB", "anon-rss:1kB", " "),
        ("Killed process 7 (db)", "UID:5", " "),
        ("Killed process 7 (db)", "pgtables:5kB", " "),
        ("Killed process 7 (db)", "oom_score_adj:0", " "),
        ("Kill process 7 (db)", "score 9", " "),
        ("Kill process 7 (db) score 9", "or sacrifice child", " "),
        ("Kill process 7 (db) score 9 or", "sacrifice child", " "),
        ("Kill process 7 (db) score 9 or sacrifice", "child", " "),
        ("Killed process 7 (db)", "file-x:9kB", " "),
        ("Killed process 7 (db) x:", "9kB", ""),
        ("oom_reaper: reaped process 7 (db),", "now anon-rss:1kB", " "),
        ("Out of memory: Kill", "7 (db)", " "),
        ("Out of memory: OOM", "killed process 7", " "),
        ("Killed process 7 (db)", "words", None),
        ("Killed process 7 (db) oom_score_adj:0", "UID:5", None),
        ("Kill process 7 (db) or sacrifice child", "score", None),
        ("Kill process 7 (db) or a child", "score 9", None),
        ("x and children.", "score 9", None),
        ("Node 0 DMA free:1kB", "min:2kB", " "),
        ("Node 0 DMA free:1kB", "all_unreclaimable? no", " "),
        ("Node 0 DMA free:1kB all_unreclaimable?", "no", " "),
        ("Node 0 DMA free:1kB min:", "2kB", ""),
        ("Node 0 DMA free:1kB all_unrecla", "nimable? no", " "),
        ("Node 0 DMA free:1kB", "words", None),
        ("DMA free:1kB", "min:2kB", " "),
        ("Node 0 active_anon:1kB", "x:2kB", None),
        ("Node 0 DMA: 1*4kB", "2*8kB", " "),
        ("DMA: 1*4kB", "= 4kB", " "),
        ("DMA: 1*4kB", "(UM) 2*8kB", " "),
        ("DMA: 1*4kB", "words", None),
        ("x * y", "2*8kB", None),
        ("CPU: 1 PID: 7 Comm: db", "Not tainted", " "),
        ("CPU: 1 PID: 7 Comm: db Not", "tainted 6.1", " "),
        ("PID: 7 Comm: db", "Tainted: G", " "),
        ("CPU: 1 UID: 0 PID: 7 Comm: db", "6.1.0 #1", " "),
        ("Pid: 7, comm: db Tainted:", "G  W", " "),
        ("CPU: 1 PID: 7 Comm: db Not tainted 6.1", "#1", " "),
        ("CPU: 1 PID: 7 Comm: db", "(2.6.18)", " "),
        ("CPU: 1 PID: 7 Comm: db", "loaded", " "),
        ("CPU: 1 PID: 7 Comm: db Not tainted 6.1 #1", "Not", None),
        ("CPU: 1 PID: 7 Comm: db", "words", None),
        ("memory: usage 1kB,", "limit 2kB", " "),
        ("memory+swap: usage", "1kB", " "),
        ("kmem: usage 1kB, limit", "2kB", " "),
        ("swap: usage 1kB, limit 2kB,", "failcnt 7", " "),
        ("memory: usage 1", "kB, limit", " "),
        ("memory: usage 1kB, limit 2kB, failcnt", "7", None),
        ("memory: usage 1kB", "words", None),
        ("Memory cgroup stats for /a: x:1KB", "y:2KB", " "),
        ("Memory cgroup stats for /a:", "words", None),
        ("Tasks in /a", "are going to be killed", " "),
        ("Tasks in /a are going to be killed", "due to memory.oom.group set", " "),
        ("Tasks in /a are going to be killed due", "to memory.oom.group set", " "),
        ("Tasks in /a are going to be killed due to", "memory.oom.group set", " "),
        ("Tasks in /a are going to be killed due to memory.oom.group", "due", None),
        ("Tasks in /a", "words", None),
        ("Kernel panic - not syncing: Out of", "memory: x", " "),
        ("Kernel panic - not syncing: Out", "of memory", " "),
        ("Kernel panic - not syncing: Out of memory: system-wide", "panic_on_oom is enabled", " "),
        ("Kernel panic - not syncing: x panic_on_oom is", "enabled", " "),
        ("Kernel panic - not syncing: x panic_on_oom", "is enabled", " "),
        ("Kernel panic - not syncing: x", "compulsory", " "),
        ("Kernel panic - not syncing: System is deadlocked on memory", "memory", None),
        ("Kernel panic - not syncing: x", "words", None),
        ("Task in /a killed as a", "result of limit", " "),
        ("Task in /a killed as a result of limit of /a", "words", None),
        ("db", "cpuset=/ mems_allowed=0", " "),
        ("db cpuset=/", "mems_allowed=0", " "),
        ("db cpuset=/ mems_allowed=0", "mems_allowed=1", None),
        ("db", "mems_allowed=0", None),
        ("db mems_allowed=0", "cpuset=/", None),
        ("words", "more words", None),
        ("words", "Node 0 DMA free:1kB", None),
        ("words", "Mem-Info:", None),
        ("Memory cgroup stats:", "Killed process 7 (db)", None),
        ("Out of memory -", "Killed process 7 (db)", None),
    ],
)
def test_what_carries_on_a_line(before: str, after: str, glue: str | None) -> None:
    """Without stamps and widths the words alone tell whether a line was cut, and where."""
    expected = [(before, False), (after, False)] if glue is None else [
        (f"{before}{glue}{after}", True)
    ]  # fmt: skip
    assert joined(before, after) == expected


def test_a_line_is_cut_into_no_more_than_16_parts() -> None:
    parts = ["oom-kill:constraint=X,", *(f"x{n}," for n in range(20))]
    found = joined(*parts)
    assert [text.count(",") for text, _ in found][:2] == [16, 1]
    assert found[0][1]


def test_a_backslash_at_the_end_goes_on() -> None:
    assert joined("words \\", "more", "words") == [("words more", True), ("words", False)]


STAMP = "[   10.000001] "


def of_width(width: int, text: str = "words") -> str:
    """A stamped line of that width whose last word is short."""
    line = f"{STAMP}{text} "
    return line + "x " * ((width - len(line) - 1) // 2) + "y" * (1 + (width - len(line) - 1) % 2)


@pytest.mark.parametrize(
    ("widest", "width", "more", "together"),
    [
        # Of a log 70 wide: the next word, with its blank, would have made it wider.
        (70, 66, "four of them", True),
        (70, 65, "four of them", False),
        (70, 70, "x y", True),
        (70, 39, "w" * 40, False),  # lines below 40 were not wrapped
        (70, 41, "w" * 40, True),
        (201, 199, "four", False),  # nor logs wider than 200
        (70, 68, "Node 0 x", False),
        (70, 68, "[    7]     0     7", False),
        (70, 68, "Mem-Info: x", False),
        (70, 68, "Killed process 7 (db)", False),
    ],
)
def test_a_word_that_did_not_fit(widest: int, width: int, more: str, together: bool) -> None:
    line = of_width(width)
    assert len(line) == width
    found = joined(of_width(widest), line, more)
    assert (len(found) == 2) == together
    assert len(joined(of_width(widest), line, "", more)) == 3  # a blank line stood between


def test_only_a_line_with_a_prefix_was_cut_where_a_word_did_not_fit() -> None:
    bare = "words " * 11
    assert len(joined(of_width(70), "", bare, "four")) == 3


def test_a_terminal_cuts_at_its_width_whatever_stands_there() -> None:
    complete = of_width(80 - len(" failcnt 7")) + " failcnt 7"
    assert len(complete) == 80
    assert len(joined(of_width(80), complete, "x")) == 2
    shorter = of_width(79 - len(" failcnt 7")) + " failcnt 7"
    assert len(joined(of_width(80), shorter, "four")) == 3
    other = of_width(78 - len(" failcnt 7")) + " failcnt 7"
    assert len(joined(of_width(78), other, "x")) == 3
    (first, wrapped), *_ = joined(of_width(80), of_width(80)[:-1] + "z", "rest")[1:]
    assert wrapped
    assert first.endswith("zrest")  # cut in the word: without a blank


def test_cuts_at_blanks_and_at_columns() -> None:
    wide = of_width(75)
    soft = joined(wide, of_width(72), "four", of_width(75), "rest")
    assert [text[-5:] for text, wrapped in soft if wrapped] == [" four", " rest"]
    hard = joined(*[line for _ in range(4) for line in (of_width(75), "rest")])
    # After two of them without any at a blank, the log is cut at columns.
    assert [text.endswith(" rest") for text, _ in hard] == [True, True, False, False]


def test_how_wide_a_line_is_that_may_be_cut_at_blanks() -> None:
    assert breakable_width(f"a {'w' * 60}", 62) == 62
    assert breakable_width(f"a {'w' * 61}", 63) == 2
    assert breakable_width("a b", 99) == 99


def test_rows_are_glued_by_their_columns() -> None:
    head = "[  pid  ]   uid  tgid total_vm      rss pgtables_bytes swapents oom_score_adj name"
    for before, after, whole in (
        ("[    7] 0 7 9000 400", "4096 10 0 db", "[    7] 0 7 9000 400 4096 10 0 db"),
        ("[    7] 0 7 9000 40", "0 4096 10 0 db", "[    7] 0 7 9000 400 4096 10 0 db"),
        ("[    7] 0 7 9000 400 4096 10 0", "db", "[    7] 0 7 9000 400 4096 10 0 db"),
    ):
        assert joined(head, before, after)[1] == (whole, True)
    other = joined(head, "[    7] 0 7 9000 400 4096 10 0 db", "12 34")
    assert len(other) == 3


# -- records -------------------------------------------------------------------------------------


def fields(lines: list[Line] | None) -> list[dict[str, Any]] | None:
    """What lines tell beyond their numbers, as far as they do."""
    if lines is None:
        return None
    names = ("text", "time", "uptime_s", "host", "tag", "tag_pid", "about")
    return [
        {name: getattr(line, name) for name in names if getattr(line, name) not in (None, "")}
        for line in lines
    ]


TIME = "2024-01-04T09:00:00.000000+00:00"


@pytest.mark.parametrize(
    ("record", "expected"),
    [
        ({"MESSAGE": "x"}, {"text": "x"}),
        ({"log": "x"}, {"text": "x"}),
        ({"message": "x", "hostname": "web", "host": "no"}, {"text": "x", "host": "web"}),
        ({"msg": "x", "_HOSTNAME": "web"}, {"text": "x", "host": "web"}),
        ({"textPayload": "x", "host": 7}, {"text": "x"}),
        ({"_raw": "x"}, {"text": "x"}),
        ({"@message": "x"}, {"text": "x"}),
        ({"MESSAGE": [120, 121]}, {"text": "xy"}),
        ({"MESSAGE": [256], "msg": "y"}, {"text": "y"}),
        ({"MESSAGE": {"log": "x"}}, {"text": "x"}),
        ({"MESSAGE": {"no": 1}, "msg": "y"}, {"text": "y"}),
        ({"jsonPayload": {"message": "x"}, "time": "1704358800"}, {"text": "x", "time": TIME}),
        ({"_source": {"message": "x", "host": "in"}, "host": "out"}, {"text": "x", "host": "in"}),
        ({"MESSAGE": "x", "SYSLOG_IDENTIFIER": "app", "_PID": "77"},
         {"text": "x", "tag": "app", "tag_pid": 77}),
        ({"MESSAGE": "x", "_COMM": "app", "SYSLOG_PID": "78"},
         {"text": "x", "tag": "app", "tag_pid": 78}),
        ({"MESSAGE": "x", "_COMM": "app", "_PID": "1234567890"}, {"text": "x", "tag": "app"}),
        ({"MESSAGE": "x", "_COMM": "app", "_PID": "a"}, {"text": "x", "tag": "app"}),
        ({"MESSAGE": "x", "_COMM": "app", "_TRANSPORT": "kernel"}, {"text": "x"}),
        ({"MESSAGE": "x", "SYSLOG_IDENTIFIER": "kernel"}, {"text": "x"}),
        ({"MESSAGE": "[5.000001] x", "_COMM": "app"}, {"text": "x", "uptime_s": 5.000001}),
        ({"MESSAGE": "x", "_SOURCE_MONOTONIC_TIMESTAMP": "5000001"},
         {"text": "x", "uptime_s": 5.000001}),
        ({"MESSAGE": "x", "__MONOTONIC_TIMESTAMP": "7000000"}, {"text": "x", "uptime_s": 7.0}),
        ({"MESSAGE": "x", "__MONOTONIC_TIMESTAMP": "7" * 18}, {"text": "x"}),
        ({"MESSAGE": "[5.000001] x", "__MONOTONIC_TIMESTAMP": "7"},
         {"text": "x", "uptime_s": 5.000001}),
        # Seconds, milliseconds, microseconds, nanoseconds since 1970.
        ({"log": "x", "ts": 1704358800}, {"text": "x", "time": TIME}),
        ({"log": "x", "ts": 999999999999}, {"text": "x", "time": "999999999999"}),
        ({"log": "x", "ts": 1704358800000}, {"text": "x", "time": TIME}),
        ({"log": "x", "ts": "1704358800000000"}, {"text": "x", "time": TIME}),
        ({"log": "x", "ts": "1704358800000000000"}, {"text": "x", "time": TIME}),
        ({"log": "x", "ts": 10**17}, {"text": "x"}),
        ({"log": "x", "ts": "1" * 20}, {"text": "x"}),
        ({"log": "x", "timestamp": "2024-01-04 09:00:00 x"},
         {"text": "x", "time": "2024-01-04T09:00:00 x"}),
        ({"log": "x", "@timestamp": "words"}, {"text": "x"}),
        ({"log": "x", "@timestamp": "2024x"}, {"text": "x"}),
        ({"log": "x", "_SOURCE_REALTIME_TIMESTAMP": "1704358800", "ts": 5},
         {"text": "x", "time": TIME}),
        ({"log": "Jan  4 10:00:00 web kernel: x"},
         {"text": "x", "time": "01-04T10:00:00", "host": "web"}),
        ({"log": "Jan  4 10:00:00 web kernel: x", "ts": 1704358800, "host": "out"},
         {"text": "x", "time": TIME, "host": "out"}),
        # A record in a record.
        ({"log": '{"msg": "x", "host": "in"}', "ts": 1704358800, "host": "out", "pod": "p"},
         {"text": "x", "time": TIME, "host": "in", "about": {"pod": "p"}}),
        ({"log": '{"msg": "x", "ts": 5, "pod": "q"}', "ts": 1704358800, "host": "out",
          "pod": "p"},
         {"text": "x", "time": "1970-01-01T00:00:05.000000+00:00", "host": "out",
          "about": {"pod": "q"}}),
        ({"log": "{x}"}, {"text": "{x}"}),
        ({"log": 'words {"msg": "x"}'}, {"text": 'words {"msg": "x"}'}),
        ({"log": '{"msg": "x"} words'}, {"text": '{"msg": "x"} words'}),
        # What the text is about.
        ({"log": "x", "kubernetes": {"pod_name": "p", "namespace_name": "n",
                                     "container_name": "c"}},
         {"text": "x", "about": {"pod": "p", "namespace": "n", "container": "c"}}),
        ({"log": "x", "labels": {"podName": "p"}, "resource": {"pod": "q"}},
         {"text": "x", "about": {"pod": "p"}}),
        ({"log": "x", "resource": {"labels": {"pod": "p", "namespaceName": "n"}}},
         {"text": "x", "about": {"pod": "p", "namespace": "n"}}),
        ({"log": "x", "resource": {"containerName": "c"}},
         {"text": "x", "about": {"container": "c"}}),
        ({"log": "x", "involvedObject": {"kind": "Pod", "name": "p", "namespace": "n"},
          "count": 3}, {"text": "x", "about": {"pod": "p", "namespace": "n", "count": 3}}),
        ({"log": "x", "regarding": {"kind": "Pod", "name": "p"}, "count": 1},
         {"text": "x", "about": {"pod": "p"}}),
        ({"log": "x", "involvedObject": {"kind": "Node", "name": "p"}, "count": 2},
         {"text": "x", "about": {"count": 2}}),
        ({"log": "x", "involvedObject": {"kind": "Pod", "name": 7}, "count": 10**9},
         {"text": "x"}),
        ({"log": "x", "pod": "p" * 300}, {"text": "x", "about": {"pod": "p" * 253}}),
    ],
)  # fmt: skip
def test_a_record_with_a_text(record: dict[str, Any], expected: dict[str, Any]) -> None:
    found = fields(lines_of_record(record, 7))
    assert found == [expected]
    made = lines_of_record(record, 7)
    assert made is not None
    assert made[0].number == 7


def test_a_record_without_a_text() -> None:
    assert lines_of_record({"a": "b"}, 7) is None
    assert lines_of_record({"jsonPayload": {"a": 1}}, 7) is None


@pytest.mark.parametrize(
    ("raw", "texts"),
    [
        ('{"msg": "x"}', ["x"]),
        ('prefix {"msg": "x"} suffix', ["x"]),
        ('[{"msg": "x"}, {"msg": "y"}]', ["x", "y"]),
        ('[{"msg": "x"}, {"msg": "y"}],', ["x", "y"]),
        ('{"a": 1}', None),
        ("{x}", None),
        ("}{", None),
        ("words", None),
        ('["x", "y"]', ["x", "y"]),
        ("['x', 'y']", ["x", "y"]),
        ('["x", 1]', None),
        ("['x', 1]", None),
        ("['x", None),
        # Answers of log services.
        ('{"events": [{"message": "x"}, {"message": "y"}]}', ["x", "y"]),
        ('{"hits": {"hits": [{"_source": {"message": "x"}}]}}', ["x"]),
        ('{"streams": [{"values": [["1704358800", "x"], ["1704358801", "y"]]}]}', ["x", "y"]),
        ('{"values": [["1704358800", "x", "y"]]}', None),
        ('{"values": [["1704358800", 5]]}', None),
        ('{"results": [[{"field": "@message", "value": "x"}]]}', None),
        ('[{"field": "@message", "value": "x"}, {"field": "a", "value": "b"}]', ["x"]),
        ('[{"field": "@message"}]', None),
        ('{"data": {"data": {"data": {"data": {"events": [{"msg": "deep"}]}}}}}', None),
        ('{"data": {"data": {"data": {"events": [{"msg": "deep"}]}}}}', ["deep"]),
        ('{"message": "own", "events": [{"message": "x"}]}', ["own"]),
    ],
)
def test_records_in_a_lines_json(raw: str, texts: list[str] | None) -> None:
    found = lines_of_json(raw, 7)
    assert (None if found is None else [line.text for line in found]) == texts


def test_a_date_before_a_record_is_its_own() -> None:
    (line,) = lines_of_json('2024-01-04T10:00:00Z web {"msg": "x"}', 7) or []
    assert line.time == "2024-01-04T10:00:00Z"
    (own,) = lines_of_json('2024-01-04T10:00:00Z {"msg": "x", "ts": 1704358800}', 7) or []
    assert own.time == TIME
    (pair,) = lines_of_json('{"values": [["1704358800", "x"]]}', 7) or []
    assert pair.time == TIME


def test_lists_of_strings() -> None:
    for raw, found in (('["a"]', True), ("['a']", True), ('["a"', False), ('"a"]', False),
                       ('["a\']', True)):  # fmt: skip
        assert is_list_of_strings(raw) == found


def exported(*raws: str) -> list[tuple[int, str]]:
    reader = ExportReader()
    found = []
    for number, raw in enumerate(raws, start=1):
        found += reader.parse_line(raw, number) or []
    return [(line.number, line.text) for line in [*found, *reader.flush()]]


def test_an_export_of_the_journal() -> None:
    assert exported("__CURSOR=1", "MESSAGE=x", "", "__CURSOR=2", "MESSAGE=y") == [
        (2, "x"),
        (5, "y"),
    ]
    assert exported("_BOOT_ID=1", "MESSAGE", "\ufffd\ufffd\nxyz") == [(3, "xyz")]
    assert exported("__REALTIME_TIMESTAMP=1", "PRIORITY=4") == []
    assert exported("MESSAGE=x") == []
    assert exported("__CURSOR=1", "MESSAGE=x", "lower=x", "MESSAGE=y", "") == []
    reader = ExportReader()
    assert reader.parse_line("words", 1) is None
    seen = [reader.active]
    assert reader.parse_line("__CURSOR=1", 1) == []
    seen.append(reader.active)
    assert reader.parse_line("words", 2) is None
    assert [*seen, reader.active] == [False, True, False]
    many = ["__CURSOR=1", *(f"F{n}=1" for n in range(199)), "MESSAGE=x", ""]
    assert exported(*many) == []
    assert exported(*many[:-3], "MESSAGE=x", "") == [(200, "x")]


def pretty(*raws: str) -> list[tuple[int, str]]:
    reader = PrettyReader()
    found = []
    for number, raw in enumerate(raws, start=1):
        found += reader.parse_line(raw, number) or []
    return [(line.number, line.text) for line in [*found, *reader.flush()]]


def test_a_record_over_several_lines() -> None:
    record = ("{", '  "a": 1,', '  "MESSAGE": "x",', '  "host": "web"', "}")
    assert pretty(*record, *record) == [(3, "x"), (8, "x")]
    assert pretty("{", '  "MESSAGE": "x"', "},{", '  "MESSAGE": "y"', "}") == [(2, "x"), (4, "y")]
    assert pretty("words", '  "MESSAGE": "x"') == [(2, "x")]
    verbose = (
        "Thu 2024-01-04 10:00:00.1 CET [s=abc;i=1]", "    MESSAGE=x", "    _PID=7",
        "2024-01-04 10:00:00.2 CET [s=abc;i=2]", "    MESSAGE=y",
    )  # fmt: skip
    assert pretty(*verbose) == [(2, "x"), (5, "y")]
    reader = PrettyReader()
    assert reader.parse_line("words", 1) is None
    assert reader.parse_line("  words", 1) is None
    assert reader.parse_line(verbose[0], 1) == []
    assert reader.parse_line("    MESSAGE=x", 2) == []
    (line,) = reader.flush()
    assert line.time == "2024-01-04T10:00:00.1"
    assert reader.active is False


def test_fields_that_tell_by_themselves() -> None:
    def told(*raws: str) -> list[str]:
        reader = PrettyReader()
        found = []
        for number, raw in enumerate(("{", *raws), start=1):
            found += reader.parse_line(raw, number) or []
        return [line.text for line in found]

    assert told('  "OOMKilled": true,') == ['"OOMKilled": true,']
    assert told('  "OOMKilled": false,') == []
    assert told('  "Other": true,') == []
    for name in ("Id", "Name", "reason", "exitCode", "containerID"):
        assert told(f'  "{name}": "x",') == [f'"{name}": "x",']
    assert told('  "errorMessage": "two words",') == ['"errorMessage": "two words",']
    assert told('  "errorMessage": "word",') == []
    assert told('  "message": "two words",') == []
    assert told('  "_other": "two words",') == []
    assert told('  "state": {') == ['"state": {']
    assert told('  "body": "a\\nb"') == ["a", "b"]
    assert told('  "message": "a\\nb"') == []
    assert told('  "field": "@message",', '  "value": "x"', "}") == ["x"]


# -- rows ----------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("raw", "text", "time"),
    [
        ('"2024-01-04T10:00:00Z","web","three words here"', "three words here",
         "2024-01-04T10:00:00Z"),
        ('web,"three words here",2024-01-04T10:00:00Z', "three words here",
         "2024-01-04T10:00:00Z"),
        ('"two words",web', None, None),
        ('web,three words here', None, None),
        ('"three words here"', None, None),
        ('"three ""words"" here",web', 'three "words" here', None),
        ('web, "three words here"', None, None),
        ('web,three words here,"x"', None, None),
        ('web,three words here,"other words"', None, None),
        ('"web",three words here', "three words here", None),
        ('"Jan 4, 2024 @ 10:00:00.000","web","three words here"', "three words here", None),
        ('"2024-01-04 10:00:00","[5.000001] x y z"', "x y z", "2024-01-04T10:00:00"),
    ],
)  # fmt: skip
def test_a_row_of_comma_separated_values(raw: str, text: str | None, time: str | None) -> None:
    found = line_of_row(raw, 7)
    assert (None if found is None else found.text) == text
    if found is not None:
        assert (found.number, found.stamped) == (7, True)
        assert time is None or found.time == time


# -- dates ---------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("text", "date"),
    [
        ("[19 avril 18:03:01 2026]", "2026-04-19T18:03:01"),
        ("[dim. 19 avril 18:03:01 2026]", "2026-04-19T18:03:01"),
        ("[19 avril 18:03:01]", "04-19T18:03:01"),
        ("[avril 19 18:03:01]", "04-19T18:03:01"),
        ("[19. Mai 2026 18:03:01]", "2026-05-19T18:03:01"),
        ("[19 Dez 06:03:01 PM 2026]", "2026-12-19T18:03:01"),
        ("[19 dic 12:03:01 AM CET 2026]", "2026-12-19T00:03:01"),
        ("[19 dic 12:03:01 PM CET 2026]", "2026-12-19T12:03:01"),
        ("[19 dic 11:03:01 AM]", "12-19T11:03:01"),
        ("[四 3月 18 18:47:01 2021]", "2021-03-18T18:47:01"),
        ("[수 12월 18 18:47:01 2021]", "2021-12-18T18:47:01"),
        ("[四 13月 18 18:47:01 2021]", None),
        ("[四 0月 18 18:47:01 2021]", None),
        ("[19 nomonth 18:03:01 2026]", None),
    ],
)
def test_a_date_in_the_words_of_a_locale(text: str, date: str | None) -> None:
    match = dates.LOCAL.match(text)
    assert match is not None
    assert dates.local(match) == date


@pytest.mark.parametrize(
    ("number", "names"),
    [
        (1, "jan janv. ene gen янв"), (2, "feb fév fev фев"), (3, "mar mär mrt maart мар"),
        (4, "apr avr abr апр"), (5, "mai may mag mei мая"), (6, "jun juin giu июн"),
        (7, "jul juil lug июл"), (8, "aug août ago авг"), (9, "sep set сен"),
        (10, "okt oct out ott окт"), (11, "nov ноя"), (12, "dez déc dic dec дек"),
    ],
)  # fmt: skip
def test_months_in_eight_languages(number: int, names: str) -> None:
    for name in names.split():
        match = dates.LOCAL.match(f"[5 {name} 18:03:01]")
        assert match is not None
        assert dates.local(match) == f"{number:02}-05T18:03:01"


def test_dates_in_english_and_numbers() -> None:
    assert dates.iso("2024-01-04 10:00:00,5 UTC") == "2024-01-04T10:00:00.5Z"
    assert dates.iso("2024-01-04 10:00:00 +0100") == "2024-01-04T10:00:00+0100"
    assert dates.epoch("1704358800.25") == "2024-01-04T09:00:00.250000+00:00"
    assert dates.ctime("Dec", "4", "10:00:00", "2024") == "2024-12-04T10:00:00"
    assert dates.ctime("Jan", "14", "10:00:00", None) == "01-14T10:00:00"


# -- cleaning ------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("raw", "text"),
    [
        ("plain", "plain"),
        ("\x1b[32mgreen\x1b[0m", "green"),
        ("a\x00b\rc", "abc"),
        ("a\x07b", "a\ufffdb"),
        ("a\u00a0b", "a b"),
        ("a\r\nb", "a\nb"),
        ("&lt;a&gt; &amp;lt; &#61; &#7;", "<a> &lt; = &#7;"),
        ("<b>a</b> <i>", "a "),
        ("<b>a", "<b>a"),
        ("a<br />b", "a\vb"),
        ("a<br />", "a"),
        ("[code]a[/code]", "a"),
        ("[code]a", "[code]a"),
        ("a \\[b\\] \\n \\_c", "a [b] \\n _c"),
    ],
)
def test_marks_are_taken_away(raw: str, text: str) -> None:
    assert clean(raw) == text


@pytest.mark.parametrize(
    ("raw", "parts"),
    [
        ("one", ["one"]),
        ("a#012b", ["a", "b"]),
        ("a\\nb", ["a", "b"]),
        ("a\\n\\n", ["a\\n\\n"]),
        ("a\vb", ["a", "b"]),
        ("[5.000001] a [6.000001] b", ["[5.000001] a", "[6.000001] b"]),
        ("[5.000001] a [6.0001] b", ["[5.000001] a [6.0001] b"]),
        ("a]<4>b", ["a]", "<4>b"]),
        ("a <9>b", ["a <9>b"]),
        ("Nov 24 03:00:00 h kernel: a <b> Nov 24 03:00:01 h kernel: c",
         ["Nov 24 03:00:00 h kernel: a <b>", "Nov 24 03:00:01 h kernel: c"]),
        ("Nov 24 03:00:00 h kernel: a Nov 24 03:00:01 h app: c",
         ["Nov 24 03:00:00 h kernel: a Nov 24 03:00:01 h app: c"]),
        ("[5.000001] a <b> ] c", ["[5.000001] a <b> ] c"]),
        ("a\\x0ab#012c", ["a", "b", "c"]),
        ("a\\nb\vc", ["a", "b", "c"]),
        ("a\\tb#012c", ["a\\tb", "c"]),
        ("Kill process 7 (db) score 9 or sacrifice child Killed process 7 (db) x",
         ["Kill process 7 (db) score 9 or sacrifice child", "Killed process 7 (db) x"]),
    ],
)  # fmt: skip
def test_lines_that_were_joined_in_one(raw: str, parts: list[str]) -> None:
    assert split_joined(raw) == parts


@pytest.mark.parametrize(
    ("raw", "left"),
    [
        ("free:12>", "free:"),
        ("free:12kB>", "free:12kB"),
        ("failcnt 14>", "failcnt 14+"),
        ("words and more…", "words and more"),
        ("words 12 …", "words 12"),
        ("words", None),
        ("<tag>", None),
        ("...", None),
        ("...>", None),
        ("snip...", None),
    ],
)
def test_an_end_that_a_pager_hid(raw: str, left: str | None) -> None:
    assert without_cut_end(raw) == left


def test_the_coding_of_raw_mails() -> None:
    mail = QuotedPrintable()
    assert mail.decode("plain") == "plain"
    assert mail.decode("ends in =") == "ends in ="
    seen = [mail.active]
    assert mail.decode("a=3D1") == "a=1"
    assert [*seen, mail.active] == [False, True]
    assert mail.decode("cut =") == ""
    assert mail.decode("here=20=09x") == "cut here  x"
    assert mail.decode("y=") == ""
    assert mail.decode("") == "y"
    for width, coded in ((69, False), (70, True), (76, True), (77, False)):
        other = QuotedPrintable()
        other.decode("x" * (width - 1) + "=")
        assert other.active == coded
    long = QuotedPrintable()
    long.decode("=3D")
    assert long.decode("x" * 998 + "=") == ""
    assert long.decode("y" * 999) == "x" * 998 + "y" * 999
    assert long.decode("x" * 999 + "=") == "x" * 999 + "="


# -- learning ------------------------------------------------------------------------------------


def learn(learned: LearnedPrefixes, text: str, head: str = "") -> tuple[str, str]:
    """What stands before a line's text, and the text."""
    return learned.strip(text, head)


def test_a_prefix_is_learnt_from_lines_whose_text_is_known() -> None:
    learned = LearnedPrefixes()
    assert learn(learned, "phone-1 | other") == ("", "phone-1 | other")
    assert learn(learned, "phone-1 | Mem-Info:") == ("phone-1 | ", "Mem-Info:")
    assert learn(learned, "phone-22 |  other") == ("phone-22 |  ", "other")
    assert learn(learned, "tablet-1 | other") == ("", "tablet-1 | other")
    assert learn(learned, "phone-1 | [    7]     0     7  x")[0] == "phone-1 | "
    assert learn(learned, "[    7]     0     7  x") == ("", "[    7]     0     7  x")


def test_numbers_alone_are_a_prefix_when_they_come_twice() -> None:
    learned = LearnedPrefixes()
    assert learn(learned, "12 Mem-Info:") == ("12 ", "Mem-Info:")
    assert learn(learned, "13 other") == ("", "13 other")
    assert learn(learned, "14 Call Trace:") == ("14 ", "Call Trace:")
    assert learn(learned, "15 other") == ("15 ", "other")


@pytest.mark.parametrize(
    "prefix",
    ["x" * 200 + " ", "word", "oom-kill ", "total 5kB ", "x+0x1 ", "killed process ",
     "mems_allowed "],
)  # fmt: skip
def test_what_is_no_prefix(prefix: str) -> None:
    learned = LearnedPrefixes()
    learn(learned, f"{prefix}Mem-Info:")
    assert learn(learned, f"{prefix}other") == ("", f"{prefix}other")


def test_a_prefix_of_200_characters() -> None:
    learned = LearnedPrefixes()
    prefix = "x" * 198 + "| "
    assert learn(learned, f"{prefix}Mem-Info:") == (prefix, "Mem-Info:")


def test_what_stands_behind_the_text_is_learnt_as_well() -> None:
    learned = LearnedPrefixes()
    seen = [learned.has_end]
    assert learn(learned, 'x| Mem-Info:",') == ("x| ", "Mem-Info:")
    assert [*seen, learned.has_end] == [False, True]
    assert learn(learned, 'x| other",') == ("x| ", "other")
    assert learn(learned, 'y other",') == ("", "y other")
    other = LearnedPrefixes()
    learn(other, "Mem-Info: words")
    assert not other.has_end


def test_a_log_without_prefixes_is_not_looked_at_again() -> None:
    learned = LearnedPrefixes()
    learn(learned, "Mem-Info:")
    assert learn(learned, "x| Call Trace:") == ("", "x| Call Trace:")
    learned.look_again()
    assert learn(learned, "x| Call Trace:") == ("x| ", "Call Trace:")
    by_head = LearnedPrefixes()
    learn(by_head, "Mem-Info:", "web kernel: ")
    by_head.look_again()
    assert learn(by_head, "x| Call Trace:", "web kernel: ") == ("", "x| Call Trace:")
    assert learn(by_head, "x| Call Trace:", "other: ") == ("x| ", "Call Trace:")


def test_twelve_shapes_are_known() -> None:
    learned = LearnedPrefixes()
    for n in range(13):
        learn(learned, f"{chr(97 + n)}| Mem-Info:")
    assert learn(learned, "l| other") == ("l| ", "other")
    assert learn(learned, "m| other") == ("", "m| other")


# -- a prefix that is known ----------------------------------------------------------------------


def test_a_prefix_that_was_seen_is_taken_off_the_short_way_alike() -> None:
    """What the stripper remembers of a line changes nothing of what it says of the next."""
    raws = [
        "Jun  7 10:00:01 web kernel: [   10.000001] a",
        "Jun  7 10:00:01 web kernel: [   10.000002] b",
        "Jun  7 10:00:01 web kernel: [   10.000003][  T77] c",
        "Jun  7 10:00:01 web kernel: [   10.000003] <4>c",
        "Jun  7 10:00:01 web kernel: [   10.000003] [T77] c",
        "Jun  7 10:00:01 web kernel: d",
        "Jun  7 10:00:01 web app[7]: e",
        "Jun  7 10:00:01 web app[7]: f",
        "Jun  7 10:00:02 web kernel: [   10.000004] g",
        "[   10.000005] h",
        "[   10.000006] i",
        "[   10.000006] <4>i",
        "[   10.000006] [T77] i",
        "[   10.000006]-(0)[77:app] i",
        "[   10.000006] 2024-01-04T10:00:00Z i",
        "[   10.000007] web kernel: j",
        "[   10.000008][  T77] k",
        "[Thu Jan  4 10:00:00 2024] l",
        "[Thu Jan  4 10:00:00 2024] m",
        "<4>[   10.000009] n",
        "[words] o",
        "2024-01-04T10:00:00Z p",
        "2024-01-04T10:00:00Z [   10.000010] q",
        "2024-01-04T10:00:00Z r",
    ]
    stripper = PrefixStripper()
    for number, raw in enumerate(raws, start=1):
        found, fresh = stripper.strip(raw, number), PrefixStripper().strip(raw, number)
        assert found == fresh, raw
        assert strip_prefix(raw, number).text == found.text


def test_which_lines_are_like_the_last() -> None:
    stripper = PrefixStripper()
    stripper.strip("Jun  7 10:00:01 web kernel: [   10.000001] a", 1)
    assert stripper.is_like_last("Jun  7 10:00:01 web kernel: [   10.000009] b")
    assert not stripper.is_like_last("Jun  7 10:00:01 web kernel: b")
    assert not stripper.is_like_last("Jun  7 10:00:02 web kernel: [   10.000009] b")
    stripper.strip("Jun  7 10:00:01 web kernel: a", 1)
    assert stripper.is_like_last("Jun  7 10:00:01 web kernel: b")
    assert not stripper.is_like_last("Jun  7 10:00:02 web kernel: b")
    stripper.strip("a", 1)
    assert not stripper.is_like_last("b")
    stripper.strip("[   10.000001][  T77] a", 1)
    assert stripper.last_caller == "T77"
    assert stripper.is_like_last("[   10.000002] b")
    assert not stripper.is_like_last("b")


# -- scanning ------------------------------------------------------------------------------------

SCANNED = (
    "g-2.6.32-431-el6-java.log",
    "m-5.2-rc7-leaker.log",
    "g-5.7-rc6-next-i386-mkfs-two-reports.log",
    "m-6.11-rc6-oom-group-kills-wrapped.log",
    "n-4.14-arm64-ltp-oom02-mempolicy-then-panic.log",
)
KILLER = (
    b'Jun  7 10:00:00 web earlyoom[7]: sending SIGTERM to process 77 uid 1 "db": badness 9, '
    b"VmRSS 5 MiB\n"
)
RECORD = (
    b"__REALTIME_TIMESTAMP=1704358800000000\n_HOSTNAME=web\nMESSAGE=Out of memory: Killed "
    b"process 7 (db) total-vm:9kB\n\n"
)


class _Drip:
    """Gives bytes in pieces of a size."""

    def __init__(self, data: bytes, size: int) -> None:
        self._file = io.BytesIO(data)
        self._size = size

    def readinto(self, buffer: memoryview, /) -> int:
        return self._file.readinto(buffer[: self._size])


def filler(kib: int, kind: int = 0) -> bytes:
    line = (
        b"Jun  7 10:00:00 web sshd[77]: Accepted\n",
        b"[ 1000.000001] usb 1-1: new USB device\n",
        b"\n",
    )[kind]
    return line * (kib * 1024 // len(line))


@pytest.mark.parametrize("name", SCANNED)
@pytest.mark.parametrize(("buffer", "piece"), [(64, 4096), (96, 1 << 20), (512, 777)])
def test_a_report_in_a_large_log_reads_as_by_itself(
    monkeypatch: pytest.MonkeyPatch, name: str, buffer: int, piece: int
) -> None:
    """Only the neighbourhood of what matters is looked at; nothing of a report is lost by that."""
    monkeypatch.setattr(scan, "BUFFER_BYTES", buffer * 1024)
    data = bytes_of(name).rstrip(b"\n") + b"\n"
    head = filler(90) + KILLER + filler(70)

    def read(log: bytes) -> tuple[list[Any], list[tuple[int, Any]]]:
        records = list(scan_records(_Drip(log, piece), "x.log", evidence=True))
        reports = [r for r in records if isinstance(r, Report)]
        said = [r for r in records if isinstance(r, Evidence)]
        return reports, [(item.source.line, item.pid) for item in said]

    found, said = read(head + data + filler(90) + KILLER + filler(5))
    alone, own = read(data)
    shift = head.count(b"\n")
    assert [r.source.line for r in found] == [r.source.line + shift for r in alone]
    assert [r.source.end_line for r in found] == [r.source.end_line + shift for r in alone]
    for one, other in zip(found, alone, strict=True):
        assert [(r.pid, r.line - shift) for r in one.tasks] == [
            (r.pid, r.line) for r in other.tasks
        ]
        assert [(v.pid, v.line - shift) for v in one.killed] == [
            (v.pid, v.line) for v in other.killed
        ]
        assert (one.scope, one.invoker, one.memory, one.memcg, one.kernel_range) == (
            other.scope, other.invoker, other.memory, other.memcg, other.kernel_range,
        )  # fmt: skip
    first = filler(90).count(b"\n") + 1
    last = (head + data + filler(90)).count(b"\n") + 1
    assert said == [(first, 77), *[(line + shift, pid) for line, pid in own], (last, 77)]


@pytest.mark.parametrize("kind", [0, 1, 2])
@pytest.mark.parametrize("before", [0, 3, 47, 48, 49, 70, 130])
def test_a_record_of_a_journal_in_a_large_log(kind: int, before: int) -> None:
    """Its time and host stand in lines before the one that tells."""
    log = filler(70) + filler(before, kind) + b"\n" + RECORD + filler(70, kind)
    reports: list[Any] = list(scan_records(io.BytesIO(log), "x", evidence=False))
    assert [(r.host, r.time) for r in reports if isinstance(r, Report)] == [("web", TIME)]


def test_a_line_without_an_end_is_taken_in_pieces() -> None:
    line = b"x" * (scan.MAX_PIECE_BYTES * 3) + b"\n"
    log = line + KILLER + line + KILLER
    said: list[Any] = list(scan_records(io.BytesIO(log), "x", evidence=True))
    assert [(r.source.line, r.pid) for r in said] == [(2, 77), (4, 77)]


@pytest.mark.parametrize("name", SCANNED[:-1])
def test_a_log_with_its_newest_line_first(name: str) -> None:
    data = bytes_of(name)
    assert not is_newest_first(data)
    lines = data.splitlines(keepends=True)[::-1]
    assert is_newest_first(b"".join(lines))


def _of(kinds: str) -> bytes:
    """Lines of the parts of reports, by their first letters."""
    lines = {"h": b"x invoked oom-killer\n", "m": b"Mem-Info:\n", "t": b"tgid total_vm\n",
             "c": b"oom-kill:constraint\n", "k": b"Killed process 7\n",
             "r": b"oom_reaper: reaped\n"}  # fmt: skip
    return b"".join(lines[kind] for kind in kinds)


@pytest.mark.parametrize(
    ("kinds", "newest_first"),
    [
        ("hmtck", False),
        ("kctmh", True),
        ("kct", True),
        ("kc", False),
        ("kctmhkctmh", True),
        ("kctmhhmtck", False),
        ("kth", False),
        ("", False),
        ("htkct", False),
    ],
)
def test_the_order_of_parts(kinds: str, newest_first: bool) -> None:
    assert is_newest_first(_of(kinds)) == newest_first
