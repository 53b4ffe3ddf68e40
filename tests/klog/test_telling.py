"""Whether a line of others tells of a death: no program's text, no supposition, nobody's words."""

from typing import Any

import pytest

from oomkit.klog import read_evidence
from oomkit.klog.evidence import Evidence
from oomkit.klog.lines.line import Line
from oomkit.klog.records import Source
from oomkit.klog.userspace.gadget import GadgetTable
from oomkit.klog.userspace.objects import abouts, in_one_line
from oomkit.klog.userspace.reader import evidence_in, is_talk, names_nobody


def found_in(text: str, *, stamped: bool = False, **fields: Any) -> Evidence | None:
    return evidence_in(Line(number=1, text=text, stamped=stamped, **fields), "x.log")


def said(*lines: str) -> list[Evidence]:
    return list(read_evidence("".join(f"{line}\n" for line in lines).encode(), "x.log"))


# -- what looks for such lines -------------------------------------------------------------------

DEATH = "container exited with code 137"


@pytest.mark.parametrize(
    "before",
    [
        "if reason == 'x' and text == '", "if text != \"", "reason := \"", "text =~ /",
        "x =~ (", "f == f'", "grep '", "egrep \"", "fgrep -i '", "grep -n -i ",
        "journalctl -k | awk '/", "journalctl -b | sed /", "if strings.Contains(text, ",
    ],
)  # fmt: skip
@pytest.mark.parametrize("stamped", [True, False])
def test_what_looks_for_the_words_of_a_death_tells_of_none(before: str, stamped: bool) -> None:
    assert found_in(DEATH, stamped=stamped) is not None
    assert found_in(f"{before}{DEATH}", stamped=stamped) is None
    # What stands behind them changes nothing.
    assert found_in(f"{DEATH} {before}x", stamped=True) is not None


@pytest.mark.parametrize(
    "before",
    [
        "x = ", "a==b ", "5 != 6 ", "grepped ", "journalctl says ", "strings. ", "x=~y ",
        "key=value ", "journalctl -k | ",
    ],
)  # fmt: skip
def test_signs_and_names_of_tools_alone_are_no_program(before: str) -> None:
    assert found_in(f"{before}{DEATH}", stamped=True) is not None


# -- what is supposed, defined or mentioned ------------------------------------------------------

REASON = "Reason: OOMKilled"


@pytest.mark.parametrize(
    ("text", "tells"),
    [
        (DEATH, True),
        (f"if a {DEATH}", False),
        (f"{DEATH} means the kernel killed it", False),
        (f"{DEATH}' indicates that", False),
        (f"{DEATH} (SIGKILL) is usually the OOM killer", False),
        (f"{DEATH} is bad", True),
        (REASON, True),
        (f"## {REASON}", False),
        (f"# {REASON}", True),
        ("the pod web was OOMKilled", True),
        ("the pod web was OOMKilled after it had been running for five days", True),
        ("we look at pods with OOMKilled in their status for you", False),
        ("`OOMKilled` and `Error` both", False),
        ("`OOMKilled`", True),
    ],
)
def test_a_sentence_that_reports_none(text: str, tells: bool) -> None:
    assert (found_in(text) is not None) == tells


def test_a_program_supposes_nothing() -> None:
    for text in (f"if a {DEATH}", f"{DEATH} means the kernel killed it", f"## {REASON}"):
        assert found_in(text, stamped=True) is not None


# -- what names nobody ---------------------------------------------------------------------------


def told(**fields: Any) -> Evidence:
    known: dict[str, Any] = {
        "source": Source(file="x", line=1, end_line=1), "by": "unknown", "kind": "sigkill",
        "text": "it was killed by signal 9 one fine day",
    }  # fmt: skip
    return Evidence(**{**known, **fields})


@pytest.mark.parametrize(
    ("fields", "nobody"),
    [
        ({}, True),
        ({"kind": "notice"}, True),
        ({"kind": "kill"}, False),
        ({"time": "2026-11-24T03:00:00"}, False),
        ({"uptime_s": 0.0}, False),
        ({"pid": 0}, False),
        ({"comm": "db"}, False),
        ({"pod": "web"}, False),
        ({"limit_kb": 0}, False),
        ({"count": 1}, False),
        ({"host": "web"}, False),
        ({"reason": "OOMKilled"}, True),
        ({"text": "Exit Code:  137"}, False),
        ({"text": '"exitCode": 137'}, False),
        ({"text": "Exit Code: 137"}, True),
    ],
)
def test_what_names_nobody(fields: dict[str, Any], nobody: bool) -> None:
    assert names_nobody(told(**fields)) == nobody


def test_talk_is_a_sentence_on_a_signal_of_nobody() -> None:
    assert is_talk(told())
    assert is_talk(told(text="it was then killed by signal 9"))
    assert not is_talk(told(text="it was killed by signal 9"))
    assert not is_talk(told(kind="notice"))
    assert not is_talk(told(by="shell"))
    assert not is_talk(told(pid=7))


# -- facts of a line -----------------------------------------------------------------------------


def test_a_kill_by_another_program_than_names_it_is_none() -> None:
    text = 'sending SIGTERM to process 7 uid 1 "db": badness 9'
    for tag, known in ((None, True), ("earlyoom", True), ("/usr/bin/earlyoom", True),
                       ("app", False)):  # fmt: skip
        assert (found_in(text, stamped=True, tag=tag) is not None) == known, tag
    assert found_in(f"earlyoom: {text}", stamped=True, tag="app") is not None


def test_numbers_of_more_than_nine_digits_are_none() -> None:
    text = 'sending SIGTERM to process {} uid 1 "db": badness 9'
    for pid, known in (("999999999", 999_999_999), ("1000000000", None)):
        found = found_in(text.format(pid), tag="earlyoom")
        assert found is None or found.pid == known


def test_a_text_is_cut_after_500_characters() -> None:
    found = found_in(f"{DEATH} ".ljust(4096, "x"))
    assert found is not None
    assert len(found.text) == 500
    assert found_in(f"{DEATH} ".ljust(4097, "x")) is None


# -- Inspektor Gadget's table --------------------------------------------------------------------

TABLE = "K8S.NODE K8S.NAMESPACE K8S.POD K8S.CONTAINER KPID KCOMM PAGES TPID TCOMM"
ROW = "minikube default web app 77 db 1234 78 sh"


def row(text: str, head: str = TABLE) -> Evidence | None:
    table = GadgetTable("x.log")
    assert table.take(Line(number=1, text=head)) is None
    return table.take(Line(number=2, text=text))


def test_a_row_says_who_was_killed_in_which_pod() -> None:
    found = row(ROW)
    assert found is not None
    place = (found.node, found.namespace, found.pod, found.container_name)
    assert place == ("minikube", "default", "web", "app")
    assert (found.pid, found.comm) == (77, "db")
    assert (found.by, found.kind, found.killer) == ("oomkill", "notice", "kernel")
    newer = row("web 77 db", "K8S.PODNAME FPID FCOMM")
    assert newer is not None
    assert (newer.pod, newer.pid, newer.comm) == ("web", 77, "db")
    assert row(ROW.replace("77", "1" * 10)) is not None
    assert row(ROW.replace("app", "a" * 800)) is not None


@pytest.mark.parametrize(
    "text", ["", "words", ROW + " more", ROW[:-3], ROW.replace("77", "x"), ROW.replace("77", "-7"),
             ROW.replace("77", "1" * 11)],
)  # fmt: skip
def test_the_table_ends_with_a_line_that_is_no_row(text: str) -> None:
    table = GadgetTable("x.log")
    table.take(Line(number=1, text=TABLE))
    assert table.take(Line(number=2, text=ROW)) is not None
    assert table.take(Line(number=3, text=text)) is None
    assert table.take(Line(number=4, text=ROW)) is None
    assert GadgetTable("x.log").take(Line(number=2, text=ROW)) is None
    assert row(ROW.rpartition(" KCOMM")[0], "K8S.NODE KPID PAGES") is None


# -- printed objects -----------------------------------------------------------------------------


def yaml(*lines: str) -> list[dict[str, Any]]:
    return list(abouts("\n".join(lines)).values())


INSPECTED = ('[', '    {', '        "Id": "abc",', '        "State": {',
             '            "OOMKilled": true,', '            "ExitCode": 137', '        },',
             '        "Name": "/cache",', '        "HostConfig": {',
             '            "Memory": 67108864', '        }', '    }', ']')  # fmt: skip


def test_an_inspected_container() -> None:
    assert yaml(*INSPECTED) == [
        {"container": "cache", "id": "abc", "exit_code": "137", "limit": 65_536}
    ]
    for at, known in ((2, "id"), (5, "exit_code"), (7, "container"), (9, "limit")):
        (about,) = yaml(*INSPECTED[:at], *INSPECTED[at + 1 :])
        assert {"container", "id", "exit_code", "limit"} - set(about) == {known}
    assert yaml(*(line.replace('"State"', '"Was"') for line in INSPECTED)) == []
    assert yaml('"OOMKilled": true') == []
    # Its exit status alone has it named; neither does without, nor the word in another field.
    for told in ('"OOMKilled": false', '"Error": "OOMKilled"'):
        other = [line.replace('"OOMKilled": true', told) for line in INSPECTED]
        assert [about["container"] for about in yaml(*other)] == ["cache"]
        assert yaml(*(line.replace("137", "1") for line in other)) == []
    (no_limit,) = yaml(*(line.replace("67108864", "0") for line in INSPECTED))
    assert "limit" not in no_limit


POD = ("metadata:", "  name: web", "  namespace: shop", "spec:", "  nodeName: n1",
       "  containers:", "  - name: side", "    resources:", "      limits:",
       "        memory: 32Mi", "  - name: app", "    resources:", "      limits:",
       "        memory: 64Mi", "status:", "  containerStatuses:", "  - name: app",
       "    containerID: containerd://abc", "    lastState:", "      terminated:",
       "        exitCode: 137", "        reason: OOMKilled")  # fmt: skip


def test_a_pod() -> None:
    whole = {"container": "app", "id": "abc", "exit_code": "137", "pod": "web",
             "namespace": "shop", "node": "n1", "limit": 65_536}  # fmt: skip
    assert yaml(*POD) == [whole]
    # Each field may be missing; the others stay.
    for at, lost in ((2, {"namespace"}), (4, {"node"}), (17, {"id"}), (20, {"exit_code"})):
        assert yaml(*POD[:at], *POD[at + 1 :]) == [
            {name: value for name, value in whole.items() if name not in lost}
        ]
    (other,) = yaml(*(line.replace("- name: app", "- name: b", 1) if i == 10 else line
                      for i, line in enumerate(POD)))  # fmt: skip
    assert "limit" not in other
    (inner,) = yaml(*POD[:20], "        containerID: docker://def", *POD[20:])
    assert inner["id"] == "def"
    assert yaml(*POD[:19], "      waiting:", *POD[20:]) == []
    assert yaml(*POD[:-1], "        reason: Error") == []
    assert yaml("terminated:", "  reason: OOMKilled") == []
    assert yaml("reason: OOMKilled") == []


def test_a_line_of_words_ends_an_object() -> None:
    assert yaml(*POD[:16], "words of a person", *POD[16:])[0].get("pod") is None
    assert yaml(*POD[:16], "", "  more words", *POD[16:])[0].get("pod") == "web"


STATUS = (
    "status:", "  exitCode: 137", "  id: abc", "  labels:",
    "    io.kubernetes.container.name: app", "    io.kubernetes.pod.name: web",
    "    io.kubernetes.pod.namespace: shop", "  metadata:", "    name: app",
    "  reason: OOMKilled",
)  # fmt: skip


def test_a_status_of_cri() -> None:
    whole = {"container": "app", "pod": "web", "namespace": "shop", "id": "abc",
             "exit_code": "137"}  # fmt: skip
    # What stands below is there as soon as the reason, the last field, is read.
    assert yaml(*STATUS) == [whole]
    labelled = yaml(*STATUS[:7], *STATUS[9:])
    assert labelled == [whole]
    named = yaml(*STATUS[:3], *STATUS[7:])
    assert named == [{"container": "app", "id": "abc", "exit_code": "137"}]


IN_ONE_LINE = (
    '{"kind":"Pod","status":{"containerStatuses":[{"name":"app","state":{"terminated":'
    '{"reason":"OOMKilled"}}}]}}'
)


@pytest.mark.parametrize(
    ("raw", "count"),
    [
        (IN_ONE_LINE, 1),
        ('{"status":{"labels":{"io.kubernetes.pod.name":"web"},"reason":"OOMKilled"}}', 1),
        ('{"what":{"labels":{"io.kubernetes.pod.name":"web"},"reason":"OOMKilled"}}', 0),
        ('{"items":[]}', 0),
        ('["kind"]', 0),
        ("{", 0),
        ("[" * 100_000, 0),
    ],
)  # fmt: skip
def test_an_object_in_one_line(raw: str, count: int) -> None:
    found = in_one_line(raw, 5)
    assert [(line.number, line.text) for line in found] == [(5, '"reason": "OOMKilled"')] * count
    assert all(line.about is not None and line.about["is_object"] for line in found)
