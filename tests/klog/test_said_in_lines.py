"""What others say of a death in several lines: each that adds something, and how far it reaches."""

import json
from typing import Any

import pytest

from oomkit.klog import read_evidence
from oomkit.klog.evidence import Evidence
from oomkit.klog.lines.line import Line
from oomkit.klog.lines.scan import Worth
from oomkit.klog.userspace.form import size_kb
from oomkit.klog.userspace.named import Names
from oomkit.klog.userspace.needles import is_worth
from oomkit.klog.userspace.objects import abouts, in_one_line
from tests.klog.logs import bytes_of

OTHER = "Jan  4 10:00:00 pc sshd[77]: ok"
OOMD = "Jan  4 10:00:00 pc systemd-oomd[70]: "
SYSTEMD = "Jan  4 10:00:00 pc systemd[1]: "
EARLY = "Jan  4 10:00:00 pc earlyoom[7]: "
NOHANG = "Jan  4 10:00:00 pc nohang[7]: "


def said(*lines: str) -> list[Evidence]:
    return list(read_evidence("".join(f"{line}\n" for line in lines).encode(), "x.log"))


def told(item: Evidence, *names: str) -> tuple[Any, ...]:
    return tuple(getattr(item, name) for name in names)


# -- systemd-oomd --------------------------------------------------------------------------------

ATTEMPT = f"{OOMD}oomd attempting to kill 63 with KILL"
PRESSURE = (
    f"{OOMD}Memory pressure for /jobs.slice is 74.23% > 20.00% for > 2s with reclaim activity"
)
OF_CGROUP = f"{OOMD}Killed /a.slice/b.service due to memory used (total) being high"


def test_an_attempt_stands_for_itself_until_the_cgroups_own_line() -> None:
    assert [told(item, "pid", "cgroup") for item in said(ATTEMPT)] == [(63, None)]
    assert [told(item, "pid", "cgroup") for item in said(ATTEMPT, OF_CGROUP)] == [
        (None, "/a.slice/b.service")
    ]
    both = said(ATTEMPT, ATTEMPT.replace("63", "64"))
    assert [item.pid for item in both] == [63, 64]
    other = said(ATTEMPT, f'{EARLY}sending SIGTERM to process 7 uid 1 "db": badness 9')
    assert [item.pid for item in other] == [63, 7]


@pytest.mark.parametrize(("between", "one"), [(29, True), (30, True), (31, False)])
def test_after_30_lines_an_attempt_is_told(between: int, one: bool) -> None:
    texts = [f"Jan  4 10:00:00 pc app[7]: Name: x{n}" for n in range(between)]
    found = said(ATTEMPT, *texts, OF_CGROUP)
    assert [item.pid for item in found] == ([None] if one else [63, None])


@pytest.mark.parametrize(("between", "known"), [(0, True), (59, True), (60, False)])
def test_the_pressure_that_was_printed_before(between: int, known: bool) -> None:
    (found,) = said(PRESSURE, *[OTHER] * between, ATTEMPT)
    reason = "memory pressure for /jobs.slice being 74.23% > 20.00% for > 2s"
    assert found.reason == (reason if known else None)


def test_what_a_candidate_used() -> None:
    lines = [f"{OOMD}Path: /a.slice/b.service", f"{OOMD}Current Memory Usage: 5.0M",
             f"{OOMD}Path: /a.slice/c.service", f"{OOMD}Current Memory Usage: 7.0M"]  # fmt: skip
    (found,) = said(*lines, OF_CGROUP)
    assert found.used_kb == 5120
    (none,) = said(lines[0], OF_CGROUP)
    assert none.used_kb is None
    again = said(*lines, OF_CGROUP, OF_CGROUP.replace("b.service", "c.service"))
    assert [item.used_kb for item in again] == [5120, None]
    many = [text.replace("b.service", f"{n}.service") for n in range(60) for text in lines[:2]]
    assert said(*lines[:2], *many, OF_CGROUP)[0].used_kb is None
    assert said(*lines[:2], *many[:-2], OF_CGROUP)[0].used_kb == 5120


# -- earlyoom, nohang ----------------------------------------------------------------------------

LIMITS = f"{EARLY}low memory! at or below SIGTERM limits: mem 10.00%,  swap 15.00%"
SIGNAL = f'{EARLY}sending SIGTERM to process 7 uid 1 "db": badness 9, VmRSS 5 MiB'


@pytest.mark.parametrize(("between", "known"), [(0, True), (3, True), (4, False)])
def test_the_limits_above_earlyooms_signal(between: int, known: bool) -> None:
    *_, found = said(LIMITS, *[OTHER] * between, SIGNAL)
    assert told(found, "pid", "comm", "used_kb", "signal") == (7, "db", 5120, "SIGTERM")
    reason = "memory at or below SIGTERM limits: mem 10.00%, swap 15.00%"
    assert found.reason == (reason if known else None)


def test_limits_and_signals_of_its_first_releases() -> None:
    *_, found = said("Out of memory! avail: 80 MiB < min: 90 MiB", "Killing process 7 db")
    assert told(found, "by", "pid", "comm") == ("earlyoom", 7, "db")
    assert found.reason == "memory at or below 80 MiB < min: 90 MiB"
    far = said("Out of memory! avail: 80 MiB < min: 90 MiB", *["x"] * 4, "Killing process 7 db")
    assert [item.kind for item in far] == ["pressure"]
    near = said("Out of memory! avail: 80 MiB < min: 90 MiB", *["x"] * 3, "Killing process 7 db")
    assert [item.kind for item in near] == ["pressure", "kill"]
    assert said("Killing process 7 db") == []


@pytest.mark.parametrize(
    ("text", "exited"),
    [
        ("process exited after 0.1 seconds", True),
        ("process 7 exited after 0.1 seconds", True),
        ("process 7 did not exit", False),
        ("kill failed: Timer expired", False),
        ("words", None),
    ],
)
def test_whether_the_process_exited(text: str, exited: bool | None) -> None:
    assert said(SIGNAL, EARLY + text)[0].exited is exited
    assert said(SIGNAL, f"Jan  4 10:00:00 pc other[7]: {text}")[0].exited is None


@pytest.mark.parametrize(("between", "known"), [(28, True), (29, True), (30, False)])
def test_how_far_below_an_outcome_counts(between: int, known: bool) -> None:
    texts = [f"Jan  4 10:00:00 pc app[7]: Name: x{n}" for n in range(between)]
    found = said(SIGNAL, *texts, f"{EARLY}process exited after 0.1 seconds")
    assert found[0].exited is (True if known else None)


VICTIM = f"{NOHANG}PID: 77, Name: db, eUID: 1"
STRUCK = f"{NOHANG}Sending SIGTERM to the victim"


def test_nohangs_victim_and_its_size_are_named_above() -> None:
    used = f"{NOHANG}VmRSS: 5 MiB"
    (both,) = said(VICTIM, used, STRUCK)
    assert told(both, "pid", "comm", "used_kb") == (77, "db", 5120)
    for between, known in ((59, (77, "db")), (60, (None, None))):
        (found,) = said(VICTIM, *[OTHER] * between, STRUCK)
        assert told(found, "pid", "comm") == known
    for between, size in ((59, 5120), (60, None)):
        (found,) = said(used, *[OTHER] * between, STRUCK)
        assert found.used_kb == size


# -- the kernel's Android driver -----------------------------------------------------------------

DRIVER = "lowmemorykiller: Killing 'db' (7), adj 900,"
FREES = "   to free 5000kB on behalf of 'kswapd0' (9) because"
CACHE = "   cache 100kB is below limit 200kB for oom_score_adj 529"


def test_the_driver_tells_in_four_lines() -> None:
    (found,) = said(DRIVER, FREES, CACHE, "   Free memory is 5kB above reserved")
    assert told(found, "pid", "comm", "adj", "used_kb", "invoker") == (7, "db", 900, 5000,
                                                                      "kswapd0[9]")  # fmt: skip
    assert found.reason == "file cache 100kB was below its limit of 200kB"
    assert found.killer == "kernel"
    (short,) = said(DRIVER, "   to free 5000kB because")
    assert told(short, "used_kb", "invoker") == (5000, None)
    (alone,) = said(DRIVER)
    assert told(alone, "used_kb", "reason") == (None, None)


@pytest.mark.parametrize(("between", "known"), [(0, True), (3, True), (4, False)])
def test_the_driver_tells_in_lines_close_to_each_other(between: int, known: bool) -> None:
    (found,) = said(DRIVER, *["words"] * between, CACHE)
    assert (found.reason is not None) == known


# -- systemd -------------------------------------------------------------------------------------

FAILED = f"{SYSTEMD}db.service: Failed with result 'oom-kill'."
PEAK = f"{SYSTEMD}db.service: Consumed 1.2s CPU time, 5.0G memory peak."


@pytest.mark.parametrize(("between", "known"), [(0, True), (3, True), (4, False)])
def test_what_a_unit_held_at_most(between: int, known: bool) -> None:
    found = said(FAILED, *["words"] * between, PEAK)
    assert [item.used_kb for item in found] == [5 << 20 if known else None]
    other = said(FAILED, PEAK.replace("db.service", "web.service"))
    assert [item.used_kb for item in other] == [None]


# -- batch systems -------------------------------------------------------------------------------


@pytest.mark.parametrize(("between", "known"), [(7, True), (8, False)])
def test_a_job_named_above_or_below(between: int, known: bool) -> None:
    killed = "=>> PBS: job killed: mem 900kb exceeded limit 800kb"
    named = "PBS Job Id: 77.host"
    (above,) = said(named, *["words"] * between, killed)
    assert told(above, "job", "used_kb", "limit_kb") == ("77.host" if known else None, 900, 800)
    (below,) = said(killed, *["words"] * between, named)
    assert below.job == ("77.host" if known else None)


def test_lsf_sums_up_below() -> None:
    killed = "TERM_MEMLIMIT: job killed after reaching LSF memory usage limit."
    peak = "    Max Memory :                 5 MB"
    for between, used in ((7, 5120), (8, None)):
        (found,) = said("Job <77[2]>, x", killed, *["words"] * between, peak)
        assert told(found, "job", "used_kb") == ("77[2]", used)


def test_the_shell_names_what_slurm_counts() -> None:
    shell = "/var/spool/slurmd/job7/slurm_script: line 3: 31337 Killed                  ./db -x"
    step = (
        "slurmstepd: error: Detected 1 oom_kill event in StepId=7.0. Some of the step tasks have "
        "been OOM Killed."
    )
    for between, merged in ((0, True), (3, True), (4, False)):
        found = said(shell, *["words"] * between, step)
        assert (len(found) == 1) == merged, between
        if merged:
            assert told(found[0], "by", "pid", "job", "count") == ("slurm", 31337, "7.0", 1)


# -- pods ----------------------------------------------------------------------------------------

ID = "ab" * 32
DESCRIBED = (
    "Name:         web", "Namespace:    shop", "Node:         n1/10.0.0.1", "  app:",
    f"    Container ID:  containerd://{ID}", "    State:          Terminated",
    "      Reason:       OOMKilled", "      Exit Code:    137",
    "    Limits:", "      memory:  64Mi", "    Requests:", "      memory:  32Mi",
)  # fmt: skip


def test_a_description_of_a_pod() -> None:
    (found,) = said(*DESCRIBED)
    assert told(found, "pod", "namespace", "node", "container_name", "reason") == (
        "web", "shop", "n1", "app", "OOMKilled",
    )  # fmt: skip
    assert told(found, "exit_code", "limit_kb", "request_kb") == (137, 65_536, 32_768)
    without = said(*DESCRIBED[:8], *DESCRIBED[9:])
    assert told(without[0], "exit_code", "limit_kb", "request_kb") == (137, None, 32_768)


@pytest.mark.parametrize(("between", "known"), [(230, True), (245, False)])
def test_a_pod_named_far_above(between: int, known: bool) -> None:
    (found,) = said("Name:   web", *["words"] * between, "      Reason:       OOMKilled")
    assert found.pod == ("web" if known else None)


@pytest.mark.parametrize(("between", "known"), [(28, True), (31, False)])
def test_fields_below_the_reason(between: int, known: bool) -> None:
    (found,) = said("      Reason:       OOMKilled", *["words"] * between, "    Limits:",
                    "      memory:  64Mi")  # fmt: skip
    assert found.limit_kb == (65_536 if known else None)


@pytest.mark.parametrize(
    ("row", "expected"),
    [
        ("Warning  Evicted  2m (x3 over 5m)  kubelet, n1  The node was low on resource: memory.",
         {"kind": "eviction", "count": 3, "node": "n1", "reason": "memory"}),
        ("shop  2m  Warning  Evicted  pod/web  The node was low on resource: memory.",
         {"kind": "eviction", "namespace": "shop", "pod": "web"}),
        ("shop  2m (x3 over 5m)  Warning  Evicted  pod/web  The node was low on resource: memory.",
         {"namespace": "shop", "pod": "web", "count": 3}),
        ("2m  Warning  SystemOOM  node/n1  System OOM encountered, victim process: db, pid: 7",
         {"kind": "notice", "node": "n1", "pid": 7, "comm": "db", "pod": None}),
    ],
)  # fmt: skip
def test_rows_of_events(row: str, expected: dict[str, Any]) -> None:
    (found,) = said(row)
    assert {name: getattr(found, name) for name in expected} == expected


def test_a_lambda_that_had_all_its_memory_in_use() -> None:
    died = "RequestId: 1 Error: Runtime exited with error: signal: killed"
    full = "REPORT RequestId: 1 Memory Size: 128 MB Max Memory Used: 128 MB"
    (found,) = said(died, full)
    assert told(found, "by", "kind", "used_kb", "limit_kb") == ("lambda", "notice", 131_072,
                                                               131_072)  # fmt: skip
    assert found.reason == "it had all of its memory in use when it was killed"
    room = said(died, full.replace("Used: 128", "Used: 127"))
    assert [item.kind for item in room] == ["sigkill"]
    assert [item.kind for item in said(full)] == ["pressure"]


# -- logs with their newest line first -----------------------------------------------------------


@pytest.mark.parametrize(("at", "known"), [(301, True), (61, True), (60, False)])
def test_a_name_counts_for_lines_that_follow_it_with_smaller_numbers(at: int, known: bool) -> None:
    named = Names()
    named.note(Line(number=301, text="Name:   web"))
    assert named.named("name", at) == ("web" if known else None)


def test_what_was_printed_before_stands_below() -> None:
    """The kernel's report shows that the log is read from its end."""
    report = bytes_of("g-3.10.0-514-el7-sed-mysqld.log").decode().splitlines() * 3
    for between, known in ((0, True), (59, True), (60, False)):
        lines = [*report, PRESSURE, *[OTHER] * between, ATTEMPT]
        (found,) = said(*reversed(lines))
        assert (found.pid, found.reason is not None) == (63, known), between
        (used,) = said(*reversed([*report, VICTIM, *[OTHER] * between, STRUCK]))
        assert told(used, "pid", "comm") == ((77, "db") if known else (None, None))


# -- sizes ---------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("text", "kb", "kb_of_slurm"),
    [
        ("5053216Ki", 5_053_216, 5_053_216), ("276.9M", 283_545, 283_545),
        ("512 MiB", 524_288, 524_288), ("1G", 1_048_576, 1_048_576), ("5", 0, 5),
        ("2048", 2, 2048), ("5kB", 5, 5), ("5 Mb", 5120, 5120), ("1T", 1 << 30, 1 << 30),
        ("4096B", 4, 4), (" 5K ", 5, 5), ("5 megabytes", 5120, 5120), ("x", None, None),
        ("", None, None), (".5", None, None),
    ],
)  # fmt: skip
def test_a_size(text: str, kb: int | None, kb_of_slurm: int | None) -> None:
    assert size_kb(text) == kb
    assert size_kb(text, unit="kb") == kb_of_slurm


# -- what a needle is worth ----------------------------------------------------------------------


@pytest.mark.parametrize(
    ("text", "needle", "worth"),
    [
        ("Jun 7 earlyoom[7]: sending", b"earlyoom", Worth.LINE),
        ("pod was OOMKilled", b"OOMK", Worth.AROUND),
        ("lowmemorykiller: Killing", b"lowmemorykiller", Worth.AROUND),
        ("exit code 137", b" 137", Worth.LINE),
        ("exited with status=137", b"=137", Worth.LINE),
        ("return value (137", b"(137", Worth.LINE),
        ("Exit Code:    137", b" 137", Worth.AROUND),
        ('"exitCode": 137', b" 137", Worth.AROUND),
        ("page 137", b" 137", Worth.NOTHING),
        ("exit code 1370", b" 137", Worth.NOTHING),
        ("exit code 137x", b" 137", Worth.NOTHING),
        ("exit, long before the number in this line, 137", b" 137", Worth.NOTHING),
        ("Out of memory: Killed process 7", b"ut of memory", Worth.NOTHING),
        ("heap out of memory", b"ut of memory", Worth.LINE),
        ("CUDA error: out of memory", b"ut of memory", Worth.LINE),
        ("(out of memory)", b"ut of memory", Worth.LINE),
        ("runtime: out of memory", b"ut of memory", Worth.LINE),
    ],
)
def test_what_a_needle_is_worth(text: str, needle: bytes, worth: Worth) -> None:
    for before in ("", "a line before\n" * 4):
        buffer = bytearray(f"{before}{text}\n".encode())
        at = buffer.index(needle, len(before))
        assert is_worth(buffer, at, len(buffer)) is worth
        if worth is not Worth.NOTHING and text.endswith("137"):
            whole = buffer.rstrip(b"\n")
            assert is_worth(whole, at, len(whole)) is worth


# -- names ---------------------------------------------------------------------------------------


def names(*texts: str) -> Names:
    found = Names()
    for number, text in enumerate(texts, start=1):
        found.note(Line(number=number, text=text.strip(), spaced=1 if text[:1] == " " else 0))
    return found


@pytest.mark.parametrize(
    ("text", "key", "value"),
    [
        ("Name:   web", "name", "web"), ('"namespace": "shop",', "namespace", "shop"),
        ("Node:  n1/10.0.0.1", "node", "n1"), ("Pod: web", "pod", "web"),
        (f"containerID: docker://{ID}", "containerid", ID), ("Id: /abc", "id", "abc"),
        ("● db.service - a", "unit", "db.service"), ("Id=db.scope", "unit", "db.scope"),
        ("JobId=77 x", "job", "77"), ("Job <77[2]>, x", "job", "77[2]"),
        ("005 (77.0.0) 01/04", "job", "77.0"), ("PBS Job Id: 77.host", "job", "77.host"),
        ("$ kubectl describe pod -n shop web-1", "pod", "web-1"),
        ("words", "name", None), ("  Name:   web", "name", None),
    ],
)  # fmt: skip
def test_what_a_line_names(text: str, key: str, value: str | None) -> None:
    found = names(text)
    assert found.named(key, 1) == value
    assert found.named(key, 241) == value
    assert found.named(key, 242) is None
    assert found.named("other", 1) is None
    took = Names().note(Line(number=1, text=text.strip(), spaced=1 if text[:1] == " " else 0))
    assert took == (value is not None)


def test_the_section_a_line_stands_in() -> None:
    assert names("  app:").section(5, 60) == "app"
    assert names("app:").section(5, 60) is None
    assert names("  app:", "Name: web").section(5, 60) is None
    assert names("  app:", "Node: n1").section(5, 60) == "app"
    assert names('"containerName": "app"').section(5, 60) == "app"
    assert names('"app": {', '"state": {').section(5, 60) == "app"
    assert names('"app": {', "x", '"state": {').section(5, 60) is None
    assert names('"app": {').section(5, 60) is None
    assert names("  app:").container(5, 20) == "app"
    assert names("  app:", '"Name": "other"').container(5, 20) == "other"
    assert names('"Name": "other"', "  app:").container(5, 20) == "app"
    assert names("  app:").container(22, 20) is None
    put = Names()
    put.put("resource", "memory", 5)
    assert put.named("resource", 9) == "memory"


# -- printed objects -----------------------------------------------------------------------------

POD = {
    "kind": "Pod",
    "metadata": {"name": "web", "namespace": "shop"},
    "spec": {
        "nodeName": "n1",
        "containers": [
            {"name": "side", "resources": {"limits": {"memory": "1Mi"}}},
            {"name": "app", "resources": {"limits": {"memory": "64Mi"}}},
        ],
    },
    "status": {
        "containerStatuses": [
            {
                "name": "app",
                "containerID": f"containerd://{ID}",
                "lastState": {"terminated": {"exitCode": 137, "reason": "OOMKilled"}},
            },
            {"name": "side", "state": {"terminated": {"reason": "Completed"}}},
        ]
    },
}
WHOLE = {"container": "app", "id": ID, "exit_code": "137", "pod": "web", "namespace": "shop",
         "node": "n1", "limit": 65_536}  # fmt: skip


def test_a_pods_object() -> None:
    for indent in (1, 2, 4):
        assert list(abouts(json.dumps(POD, indent=indent)).values()) == [WHOLE]
    both = json.dumps({"items": [POD, POD]}, indent=2)
    assert list(abouts(both).values()) == [WHOLE, WHOLE]
    lines = json.dumps(POD, indent=2).split("\n")
    (at,) = abouts("\n".join(lines))
    assert '"reason": "OOMKilled"' in lines[at - 1]
    (line,) = in_one_line(json.dumps(POD), 7)
    assert (line.number, line.text) == (7, '"reason": "OOMKilled"')
    assert line.about == {**WHOLE, "is_object": True}
    assert in_one_line("{x", 7) == []
    assert in_one_line("[1]", 7) == []
    assert in_one_line('{"a": {"reason": "OOMKilled"}}', 7) == []


YAML = """\
metadata:
  name: web
  namespace: shop
spec:
  containers:
  - name: app
    resources:
      limits:
        memory: 64Mi
  nodeName: n1
status:
  containerStatuses:
  - containerID: containerd://{id}
    lastState:
      terminated:
        exitCode: 137
        reason: OOMKilled
    name: app
"""


def test_the_same_as_yaml() -> None:
    text = YAML.format(id=ID)
    assert abouts(text) == {17: WHOLE}
    deeper = "\n".join(f"  {line}" for line in text.split("\n"))
    assert next(iter(abouts(f"items:\n- x: 1\n{deeper}").values()))["container"] == "app"
    listed = text.replace("  - ", "    - ").replace("\n    ", "\n      ")
    assert next(iter(abouts(listed).values()))["pod"] == "web"
    assert abouts(text.replace("OOMKilled", "Error")) == {}
    assert abouts(text.replace("terminated", "waiting")) == {}
    # A line of another text ends the object.
    cut = text.replace("status:", "$ kubectl get\nstatus:")
    (about,) = abouts(cut).values()
    assert about == {"container": "app", "id": ID, "exit_code": "137"}
    own = text.replace("exitCode: 137", f"containerID: docker://{'cd' * 32}")
    assert abouts(own)[17]["id"] == "cd" * 32


INSPECTED = {
    "Id": ID, "State": {"OOMKilled": True, "ExitCode": 137}, "Name": "/web",
    "HostConfig": {"Memory": 67_108_864},
}  # fmt: skip


def test_an_inspected_container() -> None:
    text = json.dumps([INSPECTED], indent=4)
    assert list(abouts(text).values()) == [
        {"container": "web", "id": ID, "exit_code": "137", "limit": 65_536}
    ]
    unlimited = {**INSPECTED, "HostConfig": {"Memory": 0}, "Name": ""}
    (about,) = abouts(json.dumps(unlimited, indent=4)).values()
    assert about == {"id": ID, "exit_code": "137"}
    other = {**INSPECTED, "State": {"OOMKilled": False, "ExitCode": 137}, "HostConfig": {}}
    (about,) = abouts(json.dumps(other, indent=4)).values()
    assert about == {"container": "web", "id": ID, "exit_code": "137"}
    ended = {**other, "State": {"OOMKilled": False, "ExitCode": 0}}
    assert abouts(json.dumps(ended, indent=4)) == {}
    assert abouts(json.dumps({**INSPECTED, "State": {"OOMKilled": False}}, indent=4)) == {}
    assert abouts(json.dumps({"Other": {"OOMKilled": True}}, indent=4)) == {}


def test_a_container_as_crictl_inspects_it() -> None:
    made = {
        "status": {
            "id": ID, "metadata": {"name": "app"}, "exitCode": 137, "reason": "OOMKilled",
            "labels": {"io.kubernetes.pod.name": "web", "io.kubernetes.pod.namespace": "shop"},
        }
    }  # fmt: skip
    assert list(abouts(json.dumps(made, indent=2)).values()) == [
        {"container": "app", "pod": "web", "namespace": "shop", "id": ID, "exit_code": "137"}
    ]
    made["status"]["metadata"] = {}
    made["status"]["labels"]["io.kubernetes.container.name"] = "by-label"  # type: ignore[index]  # plain JSON
    (about,) = abouts(json.dumps(made, indent=2)).values()
    assert about["container"] == "by-label"
    del made["status"]["labels"]
    made["status"]["metadata"] = {"name": "app"}
    (bare,) = abouts(json.dumps(made, indent=2)).values()
    assert bare == {"container": "app", "id": ID, "exit_code": "137"}


def test_what_an_object_says_reaches_the_evidence() -> None:
    found = said(*json.dumps(POD, indent=2).split("\n"))
    assert [told(item, "pod", "namespace", "node", "container_name", "exit_code", "limit_kb")
            for item in found] == [("web", "shop", "n1", "app", 137, 65_536)]  # fmt: skip


@pytest.mark.parametrize(("between", "known"), [(7, True), (8, False)])
def test_a_status_belongs_to_the_container_of_its_record(between: int, known: bool) -> None:
    """Its id stands within eight lines above: further up is another's."""
    lines = (f"containerID: containerd://{ID}", *["words"] * between, "Exit Code: 137")
    (found,) = said(*lines)
    assert told(found, "by", "container") == ("unknown", ID if known else None)
