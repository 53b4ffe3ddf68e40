"""``oomkit explain`` as a process: logs in, explanations out."""

import gzip
import json
import lzma
import os
import re
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from oomkit.klog.lines.ahead import LARGE_BYTES
from tests.conftest import Command
from tests.klog.logs import bytes_of, manifest, path_of

MYSQLD = "g-3.10.0-514-el7-sed-mysqld.log"
LEAKER = "m-5.2-rc7-leaker.log"
GROUP = "m-6.11-rc6-oom-group-kills-wrapped.log"
RECURRING = "w-3.10.0-514-el7-24-reports.log"
FIELDS = [
    "source", "time", "kernel", "rules", "scope", "cgroup", "invoker", "gfp_mask", "order",
    "memory", "tasks", "killed", "panic", "predicted", "agrees", "why", "problems",
]  # fmt: skip
KILLED_FIELDS = {
    "pid", "comm", "uid", "total_vm_kb", "anon_rss_kb", "file_rss_kb", "shmem_rss_kb",
    "pgtables_kb", "oom_score_adj",
}  # fmt: skip
EXECUTABLE = Path(sys.executable).parent / "oomkit"


def objects(out: str) -> list[dict[str, Any]]:
    return [json.loads(line) for line in out.splitlines()]


@pytest.fixture(scope="module")
def all_text() -> str:
    names = [str(path_of(row["file"])) for row in manifest()]
    done = subprocess.run(
        [EXECUTABLE, "explain", "--last", "0", *names],
        check=False,
        capture_output=True,
        timeout=120,
        env={**os.environ, "COLUMNS": "80"},
    )
    assert (done.returncode, done.stderr) == (1, b"")
    return done.stdout.decode()


@pytest.fixture(scope="module")
def all_objects() -> list[dict[str, Any]]:
    names = [str(path_of(row["file"])) for row in manifest()]
    done = subprocess.run(
        [EXECUTABLE, "explain", "--json", *names], check=False, capture_output=True, timeout=120
    )
    assert (done.returncode, done.stderr) == (1, b"")
    return objects(done.stdout.decode())


def test_every_development_log_is_reported_within_the_width(all_text: str) -> None:
    stories = re.findall(r"^#\d+ ", all_text, re.MULTILINE)
    assert len(stories) >= len(manifest())
    assert all(line.isprintable() for line in all_text.splitlines())
    assert max(map(len, all_text.splitlines())) <= 80


def test_json_has_the_documented_fields_in_order(all_objects: list[dict[str, Any]]) -> None:
    for item in all_objects:
        assert list(item)[: len(FIELDS)] == FIELDS
        assert item["scope"] in ("global", "memcg", "cpuset", "mempolicy", "sysrq", None)
        assert all(set(victim) >= KILLED_FIELDS for victim in item["killed"])
        assert all(set(row) == {"pid", "comm", "badness"} for row in item["predicted"])
        assert item["agrees"] in (True, False, None)
        assert item["why"] or item["agrees"] is True
        assert {"file", "line"} <= set(item["source"])
        assert item["incident"] >= 1


def test_shares_add_up_to_the_memory_there_was(all_objects: list[dict[str, Any]]) -> None:
    shown = [item["where"] for item in all_objects if item["where"] and item["where"]["shares"]]
    assert len(shown) > 40
    for where in shown:
        total = sum(share["kb"] for share in where["shares"])
        assert total <= where["total_kb"]
        if where["of"] == "machine" and where["complete"]:
            assert total == where["total_kb"]


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        (MYSQLD, "mysqld[6576] was killed: the machine ran out of memory"),
        (LEAKER, "leaker[23793] was killed: memory cgroup /leaker ran out of memory"),
        ("g-5.7-rc3-next-i386-mkfs.log", "polkitd[350] was killed: zone Normal ran out"),
        (
            "g-6.6.32-rt-ti-arm64-cifs-order2.log",
            "sh[7991] was killed: no free block of 16.0 KiB (order 2) could be had",
        ),
        (
            "g-4.4-ubuntu1604-rsync-head-missing-child.log",
            "rsync[29108], a child of rsync[29107], was killed: the machine ran out of memory",
        ),
        ("s-5.13-ubuntu-sysrq-order-1.log", "unattended-upgr[651] was killed on request (SysRq-f)"),
        (
            "p-6.1-nfsd-deadlocked-tail.log",
            "kernel panic: System is deadlocked on memory; the machine ran out of memory",
        ),
        (
            "n-4.14-arm64-ltp-oom02-mempolicy-then-panic.log",
            "oom02[4578] was killed: the nodes of the task's memory policy ran out",
        ),
    ],
)
def test_headline_says_who_died_of_what(
    all_objects: list[dict[str, Any]], name: str, expected: str
) -> None:
    lines = [item["headline"] for item in all_objects if item["source"]["file"].find(name) >= 0]
    assert expected in lines


@pytest.mark.parametrize(
    ("name", "kind"),
    [
        (MYSQLD, "swap_full"),
        (LEAKER, "limit_low"),
        (RECURRING, "no_swap"),
        (RECURRING, "many_of_a_name"),
        ("p-6.8.1-armv7-nas5xx-nfsd.log", "unaccounted"),
        ("p-5.15-rc4-memcg-then-panic_on_oom.log", "kernel_memory"),
        ("p-3.19-rc1-resvtest-all-protected.log", "all_protected"),
        ("m-6.8-rc6-mglru-testsh-wrapped.log", "dirty"),
        ("m-5.4-k8s-pause-all-minus998-quoted.log", "adj_flattens"),
    ],
)
def test_what_looks_wrong_is_found(all_objects: list[dict[str, Any]], name: str, kind: str) -> None:
    found = [
        finding["kind"]
        for item in all_objects
        if item["source"]["file"].find(name) >= 0
        for finding in item["findings"]
    ]
    assert kind in found


def test_a_machine_out_of_memory_is_reported_in_full(oomkit: Command) -> None:
    done = oomkit("explain", str(path_of(MYSQLD)))
    assert done.returncode == 1
    for text in (
        "#1 mysqld[6576] was killed: the machine ran out of memory",
        "asked by     sed[29481], 1 page (order 0)",
        "line 144: Killed process 6576 (mysqld)",
        "swap is full",
        "mysqld[6576]: rss 19.7 GiB + swap 5.83 GiB",
        "<- killed",
        "next java[27502]",
        "come to the same choice",
        "oom_score_adj -365 or lower for mysqld[6576] (was 0): java[27502] dies instead",
    ):
        assert text in done.stdout


def test_an_oom_group_is_one_incident(oomkit: Command) -> None:
    done = oomkit("explain", "--summary", str(path_of(GROUP)))
    assert done.returncode == 1
    assert "1 incident, 1 OOM report" in done.stdout
    done = oomkit("explain", str(path_of(GROUP)))
    assert "memory.oom.group 0: only cc1[5646] dies" in done.stdout


def test_what_recurs_in_a_long_log_is_counted(oomkit: Command) -> None:
    done = oomkit("explain", str(path_of(RECURRING)))
    assert "24 incidents, 24 OOM reports, 24 processes killed by the kernel" in done.stdout
    assert re.search(r"21 +21  yum-cron  every 1\.1 h", done.stdout)
    assert done.stdout.count("\nwhy this one") == 5
    assert "(19 earlier reports not shown in full; --last 0 shows all)" in done.stdout
    done = oomkit("explain", "--summary", "--json", str(path_of(RECURRING)))
    answer = json.loads(done.stdout)
    assert answer["killed"] == 24
    assert answer["tables"]["comm"][0]["incidents"] == 21


# -- what it reads ---------------------------------------------------------------------------


def journal(data: bytes) -> bytes:
    """The log as ``journalctl -o json`` prints it."""
    lines = data.decode().splitlines()
    return b"".join(
        json.dumps(
            {
                "__REALTIME_TIMESTAMP": str(1_700_000_000_000_000 + i),
                "_TRANSPORT": "kernel",
                "SYSLOG_IDENTIFIER": "kernel",
                "_HOSTNAME": "db1",
                "MESSAGE": re.sub(r"^\[[ \d.]+\] ", "", line),
            }
        ).encode()
        + b"\n"
        for i, line in enumerate(lines)
    )


@pytest.mark.parametrize(
    "pack", [bytes, gzip.compress, lzma.compress, journal], ids=["plain", "gz", "xz", "json"]
)
def test_the_same_log_in_any_wrapping(oomkit: Command, tmp_path: Path, pack: Any) -> None:
    data = pack(bytes_of(LEAKER))
    path = tmp_path / "kern.log"
    path.write_bytes(data)
    for done in (
        oomkit("explain", "--json", str(path)),
        oomkit("explain", "--json", "-", stdin=data),
    ):
        assert done.returncode == 1
        (item,) = objects(done.stdout)
        assert item["killed"][0]["pid"] == 23793
        assert item["agrees"] is True
        assert item["host"] == ("db1" if pack is journal else None)


def test_damage_is_reported_and_the_rest_still_used(oomkit: Command) -> None:
    lines = bytes_of(MYSQLD).splitlines(keepends=True)
    torn = b"".join(lines[:100] + lines[104:])
    (item,) = objects(oomkit("explain", "--json", "-", stdin=torn).stdout)
    assert item["killed"][0]["comm"] == "mysqld"
    headless = b"".join(lines[20:])
    done = oomkit("explain", "-", stdin=headless)
    assert "mysqld[6576] was killed" in done.stdout
    assert "the line that opens the report is missing" in done.stdout


def test_no_report_is_no_news(oomkit: Command, tmp_path: Path) -> None:
    path = tmp_path / "quiet.log"
    path.write_text("Nov 24 04:00:00 db1 kernel: usb 1-1: new device\n" * 50)
    done = oomkit("explain", str(path))
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout == f"no OOM report in {path}\n"
    assert oomkit("explain", "--json", str(path)).stdout == ""
    assert oomkit("explain", "-", stdin="").returncode == 0


def test_a_log_that_cannot_be_read_is_one_line_and_status_2(
    oomkit: Command, tmp_path: Path
) -> None:
    packed = tmp_path / "torn.gz"
    packed.write_bytes(gzip.compress(bytes_of(MYSQLD))[:900])
    for name, text in (
        (str(tmp_path / "gone.log"), "No such file or directory"),
        (str(tmp_path), "Is a directory"),
        ("/proc/self/mem", "Input/output error"),
        (str(packed), "the compressed data is damaged"),
    ):
        done = oomkit("explain", name)
        assert done.returncode == 2
        assert done.stderr.startswith(f"oomkit: {name}: ")
        assert text in done.stderr
        assert done.stderr.count("\n") == 1


@pytest.mark.skipif(os.geteuid() == 0, reason="root may read every file")
def test_a_file_of_others_is_refused(oomkit: Command, tmp_path: Path) -> None:
    path = tmp_path / "secret.log"
    path.write_text("")
    path.chmod(0)
    done = oomkit("explain", str(path))
    assert done.returncode == 2
    assert done.stderr == f"oomkit: {path}: Permission denied\n"


def test_one_unreadable_file_does_not_hide_the_others(oomkit: Command, tmp_path: Path) -> None:
    done = oomkit("explain", str(tmp_path / "gone.log"), str(path_of(LEAKER)))
    assert done.returncode == 2
    assert "leaker[23793] was killed" in done.stdout


@pytest.mark.parametrize(
    ("args", "expected"),
    [
        (("--follow", "--summary"), "--summary needs a log's end"),
        (("--follow", "--html", "x.html"), "--html needs a log's end"),
        (("--follow", "a", "b"), "--follow takes one FILE"),
        (("--follow", "gone.log"), "gone.log: No such file or directory"),
        (("--follow", "/"), "/: Is a directory"),
        (("--json", "--html", "x.html", "-"), "ask for one"),
        (("--last", "-1", "-"), "--last"),
        (("--nonsense",), "No such option"),
        (("--html", "/nowhere/x.html", "-"), "/nowhere/x.html: No such file or directory"),
    ],
)
def test_misuse_is_one_line_and_status_2(
    oomkit: Command, args: tuple[str, ...], expected: str
) -> None:
    done = oomkit("explain", *args)
    assert done.returncode == 2
    assert done.stdout == ""
    assert done.stderr.count("\n") == 1
    assert expected in done.stderr


def test_the_running_kernel_or_one_clear_line(oomkit: Command) -> None:
    done = oomkit("explain", "--json")
    assert done.returncode in (0, 1, 2)
    assert done.returncode != 2 or done.stderr.count("\n") == 1
    objects(done.stdout)


# -- hostile input ---------------------------------------------------------------------------

EVIL = "\x1b]0;x\x07\x1b[31m<b>&\"'"


def hostile() -> bytes:
    text = bytes_of(LEAKER).decode().replace("(leaker)", f"({EVIL})").replace(" leaker", f" {EVIL}")
    return text.encode() + b"\x00\xff\xfe" * 2000 + b"\n" + b"A" * 10_000_000 + b"\n"


def test_control_characters_never_reach_the_terminal(oomkit: Command) -> None:
    for args in ((), ("--summary",), ("--json",), ("--html", "-")):
        done = oomkit("explain", *args, "-", stdin=hostile())
        assert done.returncode == 1
        assert not set(done.stdout) & {chr(c) for c in range(32) if c != 10}
        assert "23793" in done.stdout


def test_the_page_loads_nothing_and_escapes_everything(oomkit: Command, tmp_path: Path) -> None:
    page = tmp_path / "oom.html"
    done = oomkit("explain", "--html", str(page), "-", stdin=hostile())
    assert (done.returncode, done.stdout, done.stderr) == (1, "", "")
    text = page.read_text()
    assert "<b>" not in text
    assert "&lt;b&gt;&amp;&quot;" in text
    assert not re.search(r"(?:src|href|url)\s*[=(]|<script|<link|<iframe|@import|https?:", text)
    assert "default-src 'none'" in text
    assert text.count("<details") == 1


# -- redaction -------------------------------------------------------------------------------


def names_of(items: list[dict[str, Any]]) -> Iterator[str]:
    for item in items:
        yield from (row["comm"] for row in item["tasks"])
        yield from (victim["comm"] for victim in item["killed"])
        yield from (name for name in (item["host"], item["invoker"]) if name)
        yield from (part for part in (item["cgroup"] or "").split("/") if part)


@pytest.mark.parametrize("name", [MYSQLD, GROUP, "m-5.4-k8s-pause-all-minus998-quoted.log"])
def test_redaction_leaks_no_name(oomkit: Command, tmp_path: Path, name: str) -> None:
    path = tmp_path / "alice-laptop.log"
    path.write_bytes(bytes_of(name))
    plain = objects(oomkit("explain", "--json", str(path)).stdout)
    kept = {"kubepods", "make", "time", "sh", "sed", "gcc"}  # words of ours, or of every machine
    secret = {word for word in names_of(plain) if len(word) > 3} - kept | {"alice"}
    for args in ((), ("--json",), ("--html", "-"), ("--summary",)):
        out = oomkit("explain", "--redact", *args, str(path)).stdout
        assert re.search(r"comm-\d", out)
        assert not [word for word in secret if re.search(rf"(?<!\w){re.escape(word)}(?!\w)", out)]


def test_redaction_keeps_the_decision_and_the_same_token(oomkit: Command) -> None:
    path = str(path_of(RECURRING))
    plain = objects(oomkit("explain", "--json", path).stdout)
    redacted = objects(oomkit("explain", "--json", "--redact", path).stdout)
    assert [r["agrees"] for r in redacted] == [p["agrees"] for p in plain]
    pairs = {
        (p["killed"][0]["comm"], r["killed"][0]["comm"])
        for p, r in zip(plain, redacted, strict=True)
    }
    assert len(pairs) == 2
    assert 0 in {row["uid"] for r in redacted for row in r["tasks"]}


# -- waiting for more ------------------------------------------------------------------------


def test_follow_reads_a_pipe_to_its_end(tmp_path: Path) -> None:
    fifo = tmp_path / "console"
    os.mkfifo(fifo)
    waiting = subprocess.Popen(
        [EXECUTABLE, "explain", "--follow", "--json", str(fifo)], stdout=subprocess.PIPE
    )
    with fifo.open("wb") as writer:
        writer.write(bytes_of(LEAKER))
    out, _ = waiting.communicate(timeout=60)
    assert waiting.returncode == 1
    assert objects(out.decode())[0]["killed"][0]["pid"] == 23793


def test_follow_tells_each_report_of_a_growing_file_when_it_comes(tmp_path: Path) -> None:
    log = tmp_path / "kern.log"
    log.write_bytes(b"an ordinary line\n")
    waiting = subprocess.Popen(
        [EXECUTABLE, "explain", "--follow", "--json", str(log)], stdout=subprocess.PIPE, text=True
    )
    try:
        assert waiting.stdout is not None
        for name, pid in ((LEAKER, 23793), (MYSQLD, 6576)):
            time.sleep(0.3)
            with log.open("ab") as file:
                data = bytes_of(name)
                file.write(data[:700])
                file.flush()
                time.sleep(0.3)
                file.write(data[700:] + b"\n")
            item = json.loads(waiting.stdout.readline())
            assert item["killed"][0]["pid"] == pid
        log.unlink()
        log.write_bytes(bytes_of(GROUP))
        item = json.loads(waiting.stdout.readline())
        assert item["killed"][0]["pid"] == 5646
        assert item["source"]["file"] == str(log)
    finally:
        waiting.send_signal(signal.SIGINT)
        waiting.communicate(timeout=30)
    assert waiting.returncode == 1


# -- who killed ------------------------------------------------------------------------------

STAMP = "2026-11-23T02:1{}:01+00:00 node1 "
OOMD = (
    "systemd-oomd[601]: Killed /user.slice/user-1000.slice/user@1000.service/app.slice/"
    "firefox.scope due to memory pressure for /user.slice being 70.43% > 50.00% for > 20s with "
    "reclaim activity"
)
EARLYOOM = (
    'earlyoom[77]: sending SIGTERM to process 3045 uid 1000 "chromium": badness 912, VmRSS 1421 MiB'
)
EVICTED = (
    'kubelet[900]: eviction_manager.go:592] "Eviction manager: pod is evicted successfully" '
    'pod="shop/cart-7d9f"'
)
PLAIN = "dockerd[900]: container 5f3c exited with status 137"


@pytest.mark.parametrize(
    ("line", "status", "words"),
    [
        (OOMD, 1, "systemd-oomd killed unit firefox.scope"),
        (EARLYOOM, 1, "earlyoom sent SIGTERM to chromium[3045]"),
        (EVICTED, 1, "kubelet evicted pod shop/cart-7d9f"),
        (PLAIN, 0, "SIGKILL, and nothing here shows that memory was the reason"),
        (PLAIN.replace("137", "1"), 0, "no OOM report"),
    ],
)
def test_others_than_the_kernel_are_distinguished(
    oomkit: Command, line: str, status: int, words: str
) -> None:
    done = oomkit("explain", "-", stdin=STAMP.format(0) + line + "\n")
    assert (done.returncode, done.stderr) == (status, "")
    assert words in " ".join(done.stdout.split())
    lines = oomkit("explain", "--json", "-", stdin=STAMP.format(0) + line + "\n").stdout
    told = [json.loads(one) for one in lines.splitlines()]
    assert [item["record"] for item in told] == ["incident"] * len(told)
    assert all(words in item["headline"] for item in told)
    assert bool(told) == (words != "no OOM report")


def test_a_page_of_userspace_kills_alone(oomkit: Command) -> None:
    text = "".join(STAMP.format(i) + line + "\n" for i, line in enumerate((OOMD, EARLYOOM, PLAIN)))
    done = oomkit("explain", "--html", "-", "-", stdin=text)
    assert done.returncode == 1
    assert "earlyoom sent SIGTERM to chromium[3045]" in done.stdout
    redacted = oomkit("explain", "--redact", "--summary", "-", stdin=text).stdout
    assert "earlyoom sent SIGTERM to comm-1[3045]" in redacted
    assert "firefox" not in redacted
    assert "5f3c" not in redacted


@pytest.mark.skipif(os.geteuid() == 0, reason="root may read the running kernel's log")
def test_a_log_one_may_not_read_is_not_taken_for_a_quiet_one(oomkit: Command) -> None:
    if Path("/proc/sys/kernel/dmesg_restrict").read_text().strip() == "0":
        pytest.skip("everybody may read this kernel's log")
    done = oomkit("explain")
    assert done.stdout or done.returncode == 2


def test_workers_tell_the_same_as_reading_here(oomkit: Command) -> None:
    logs = [str(path_of(name)) for name in (MYSQLD, LEAKER, GROUP, RECURRING)]
    here = oomkit("explain", "--json", *logs)
    there = oomkit("explain", "--json", "--workers", "2", *logs)
    assert (there.returncode, there.stderr) == (1, "")
    assert there.stdout == here.stdout
    assert len(objects(here.stdout)) > 20


def test_one_large_file_prints_the_same_by_any_number_of_workers(
    oomkit: Command, tmp_path: Path
) -> None:
    quiet = b"".join(
        b"Nov 29 06:25:01 host app: request %d took 17 ms\n" % i for i in range(90_000)
    )
    reports = [bytes_of(name) for name in (MYSQLD, LEAKER, GROUP)]
    log = tmp_path / "messages"
    log.write_bytes(b"".join(quiet + one for one in reports))
    assert log.stat().st_size > LARGE_BYTES
    alone, *others = (oomkit("explain", "--json", "--workers", n, str(log)) for n in "137")
    assert len(objects(alone.stdout)) >= 3
    for done in others:
        assert (done.returncode, done.stdout, done.stderr) == (1, alone.stdout, "")


@pytest.mark.parametrize(
    ("args", "words"),
    [
        (("--workers", "2", "-"), "--workers needs files"),
        (("--workers", "2"), "--workers needs files"),
        (("--workers", "2", "--redact", "x.log", "y"), "--workers and --redact don't go together"),
        (("--workers", "2", "--follow", "x.log"), "--workers and --follow don't go together"),
        (("--workers", "2", "--cluster", "tcp://x:1", "x.log"), "don't go together"),
        (("--cluster", "nowhere", "x.log"), "expected tcp://HOST:PORT"),
    ],
)
def test_workers_are_refused_where_they_cant_read(
    oomkit: Command, args: tuple[str, ...], words: str
) -> None:
    done = oomkit("explain", *args)
    assert done.returncode == 2
    assert words in done.stderr
    assert done.stderr.count("\n") == 1


def test_names_of_this_machines_containers_are_looked_up_but_not_under_redact(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The running kernel's log is named by nothing on the command line."""
    from oomkit.cli.read_logs import read_logs
    from oomkit.explain.files import ReadLog
    from oomkit.explain.redact import Redactor
    from oomkit.klog.records import Report, Source

    pod = "6b1f0c5e-3a70-4d0e-9f5b-1c2d3e4f5a6b"
    (tmp_path / f"var/log/pods/shop_web-6d9f_{pod}").mkdir(parents=True)
    source = Source(file="/dev/kmsg", line=1, end_line=9)
    report = Report(source=source, scope="memcg", cgroup=f"/kubepods/pod{pod}")
    told = ReadLog(name="/dev/kmsg", reports=(report,))
    monkeypatch.setattr("oomkit.explain.files.read_files", lambda *_, **__: iter([told]))
    from oomkit.host import names

    class Here(names.NameBook):
        def __init__(self) -> None:
            super().__init__(str(tmp_path))

    monkeypatch.setattr(names, "NameBook", Here)
    (live,) = read_logs([None], None, None)
    assert live.reports[0].owner == "pod shop/web-6d9f"
    (redacted,) = read_logs([None], Redactor(), None)
    assert redacted.reports[0].owner is None
    (file,) = read_logs(["a.log"], None, None)
    assert file.reports[0].owner is None
