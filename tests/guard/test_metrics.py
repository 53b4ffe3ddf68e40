"""Metrics: what each says, requests, and a server that no client can hold up."""

import errno
import json
import os
import socket
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from oomkit.files.safely import open_regular
from oomkit.guard import exporter, scrape
from oomkit.guard.exporter import (
    Collector,
    ExporterError,
    listening,
    metrics_app,
    parse_listen,
    read_status,
)
from oomkit.guard.scrape import MAX_BYTES, MAX_CLIENTS, REQUEST_S, Server, answered
from tests.guard.made import Fds

pytestmark = pytest.mark.hermetic

STATUS: dict[str, Any] = {
    "n": 3, "policy": "default", "dry_run": False, "time_s": 1.7e9, "mono_s": 7.0, "level": 2,
    "looks": 11, "wakeups": 12, "under_way": 1, "mem_total_kb": 1000, "available_kb": 500,
    "swap_total_kb": 20, "swap_free_kb": 10, "psi_us": {"some": 3_000_000, "full": None},
    "started_s": 5.0, "last_act_s": None, "acts": {"died": 2, "gone": 1}, "signals": {"TERM": 4},
    "freed_kb": 70, "kernel_kills": 6, "warnings": 8, "faults": {"journal": "x"}, "waiting": 9,
    "lost": 13, "ring_lost": 14, "end": 3,
}  # fmt: skip


class Setup:
    def __init__(self, directory: Path) -> None:
        self.path = directory / "status"
        self.proc = directory / "proc"
        (self.proc / "77").mkdir(parents=True)

    def write(self, **change: Any) -> None:
        self.path.write_text(json.dumps({**STATUS, "pid": 77, **change}))

    def metrics(self) -> dict[str, Any]:
        """Samples by name and labels."""
        found: dict[str, Any] = {}
        for metric in Collector(str(self.path), str(self.proc)).collect():
            for sample in metric.samples:
                labels = ",".join(f"{k}={v}" for k, v in sorted(sample.labels.items()))
                found[f"{sample.name}{{{labels}}}" if labels else sample.name] = sample.value
        return found


@pytest.fixture
def setup(tmp_path: Path) -> Setup:
    return Setup(tmp_path)


def test_each_metric_says_what_the_status_says_in_base_units(setup: Setup) -> None:
    setup.write()
    assert setup.metrics() == {
        "oomkit_guard_up": 1,
        "oomkit_guard_info{dry_run=false,policy=default}": 1,
        "oomkit_guard_level{oomkit_guard_level=calm}": 0,
        "oomkit_guard_level{oomkit_guard_level=warn}": 0,
        "oomkit_guard_level{oomkit_guard_level=soft}": 1,
        "oomkit_guard_level{oomkit_guard_level=hard}": 0,
        "oomkit_guard_fault{file=journal}": 1,
        "oomkit_guard_start_time_seconds": 5.0,
        "oomkit_guard_acts_under_way": 1,
        "oomkit_guard_records_waiting": 9,
        "oomkit_memory_total_bytes": 1000 * 1024,
        "oomkit_memory_available_bytes": 500 * 1024,
        "oomkit_swap_total_bytes": 20 * 1024,
        "oomkit_swap_free_bytes": 10 * 1024,
        "oomkit_guard_looks_total": 11,
        "oomkit_guard_wakeups_total": 12,
        "oomkit_guard_warnings_total": 8,
        "oomkit_guard_kernel_kills_total": 6,
        "oomkit_guard_freed_bytes_total": 70 * 1024,
        "oomkit_guard_records_lost_total": 13,
        "oomkit_guard_recorder_slots_lost_total": 14,
        "oomkit_guard_acts_total{outcome=died}": 2,
        "oomkit_guard_acts_total{outcome=gone}": 1,
        "oomkit_guard_signals_total{signal=TERM}": 4,
        "oomkit_memory_stalled_seconds_total{kind=some}": 3.0,
    }


def test_a_guard_that_acted_says_when_and_a_dry_run_is_one(setup: Setup) -> None:
    setup.write(last_act_s=6.5, dry_run=True, policy=5, faults=7, acts=[], signals=None)
    found = setup.metrics()
    assert found["oomkit_guard_last_act_timestamp_seconds"] == 6.5
    assert found["oomkit_guard_info{dry_run=true,policy=5}"] == 1
    assert not [name for name in found if "fault" in name or "acts_total" in name]


@pytest.mark.parametrize("fields", [22, 21])
def test_what_the_daemon_itself_uses_is_looked_up(setup: Setup, fields: int) -> None:
    setup.write()
    ticks, page = os.sysconf("SC_CLK_TCK"), os.sysconf("SC_PAGE_SIZE")
    numbers = ["S", *("0" for _ in range(30))]
    numbers[11], numbers[12], numbers[21] = str(3 * ticks), str(ticks), "55"
    (setup.proc / "77/stat").write_text(f"77 (a) b) {' '.join(numbers[:fields])}\n")
    found = setup.metrics()
    if fields == 22:
        assert found["oomkit_guard_cpu_seconds_total"] == 4.0
        assert found["oomkit_guard_resident_memory_bytes"] == 55 * page
    else:
        assert "oomkit_guard_cpu_seconds_total" not in found


@pytest.mark.parametrize("change", [{"pid": 78}, {"end": 2}, None])
def test_a_guard_that_does_not_run_is_not_up(setup: Setup, change: dict[str, Any] | None) -> None:
    if change is not None:
        setup.write(**change)
    assert setup.metrics() == {"oomkit_guard_up": 0}


def test_a_status_that_is_being_written_is_read_again(
    setup: Setup, monkeypatch: pytest.MonkeyPatch
) -> None:
    setup.write()
    whole = setup.path.read_bytes()
    reads: list[int] = []
    torn: list[bytes] = []
    opened = open_regular

    def reading(path: str) -> int:
        reads.append(1)
        setup.path.write_bytes(torn.pop(0) if torn else whole)
        return opened(path)

    monkeypatch.setattr(exporter, "open_regular", reading)
    torn[:] = [whole[:40], whole.replace(b'"n": 3', b'"n": 4'), b"[1]", b"\xff"]
    assert read_status(str(setup.path)) is not None
    assert len(reads) == 5
    torn[:] = [whole[:40]] * 5
    reads.clear()
    assert read_status(str(setup.path)) is None
    assert len(reads) == 5
    monkeypatch.undo()
    assert read_status(str(setup.path.parent / "none")) is None


@pytest.mark.parametrize(("listen", "family", "address"), [
    ("localhost:80", socket.AF_INET, ("localhost", 80)), (":0", socket.AF_INET, ("", 0)),
    (":65535", socket.AF_INET, ("", 65535)), ("[::1]:9", socket.AF_INET6, ("::1", 9)),
    ("unix:/x", socket.AF_UNIX, "/x"), ("[::1:9", socket.AF_INET, ("[::1", 9)),
    ("::1]:9", socket.AF_INET, ("::1]", 9)),
])  # fmt: skip
def test_an_address_is_a_port_or_a_path(listen: str, family: int, address: Any) -> None:
    assert parse_listen(listen) == (family, address)


@pytest.mark.parametrize("listen", ["unix:", "80", "x:", "x:65536", "x:-1", "x:8a", "", "x:٣x"])
def test_what_is_neither_is_refused_with_what_was_expected(listen: str) -> None:
    with pytest.raises(ExporterError) as caught:
        parse_listen(listen)
    assert str(caught.value) == (
        f"metrics on {listen!r}: expected HOST:PORT, [HOST]:PORT, :PORT or unix:PATH"
    )


@pytest.mark.parametrize(("error", "hint"), [
    (errno.EAFNOSUPPORT, "; a sandboxed service needs contrib/systemd/metrics.conf for it"),
    (errno.EMFILE, ""),
])  # fmt: skip
def test_a_socket_that_cant_be_had_is_said(
    monkeypatch: pytest.MonkeyPatch, error: int, hint: str
) -> None:
    def refused(*_: object) -> None:
        raise OSError(error, "refused")

    monkeypatch.setattr(socket, "socket", refused)
    with pytest.raises(ExporterError) as caught:
        listening("localhost:0")
    assert str(caught.value) == f"metrics on localhost:0: refused{hint}"


def test_a_path_is_bound_to_for_its_group_and_a_dead_socket_makes_way(tmp_path: Path) -> None:
    path = tmp_path / "s"
    mask = os.umask(0)
    os.umask(mask)
    first = listening(f"unix:{path}")
    assert path.stat().st_mode & 0o777 == 0o660
    with pytest.raises(ExporterError, match="Address already in use"):
        listening(f"unix:{path}")
    first.close()
    assert path.exists()
    listening(f"unix:{path}").close()
    path.unlink()
    path.write_text("x")
    with pytest.raises(ExporterError, match="expected no file, or an unused socket of oomkit"):
        listening(f"unix:{path}")
    assert path.read_text() == "x"
    assert os.umask(mask) == mask


def test_without_the_package_it_is_said_how_to_get_it(monkeypatch: pytest.MonkeyPatch) -> None:
    import sys

    monkeypatch.setitem(sys.modules, "prometheus_client", None)
    with pytest.raises(ExporterError, match=r"pip install 'oomkit\[guard\]'"):
        metrics_app("/none")


# Requests


def app(environ: dict[str, Any], start: Any) -> list[bytes]:
    if environ["PATH_INFO"] == "/broken":
        raise ZeroDivisionError
    start("200 OK", [("Content-Type", "text/plain")])
    said = {k: v for k, v in environ.items() if k != "wsgi.input"}
    return [json.dumps(said).encode(), b"."]


def asked(head: str) -> tuple[str, dict[str, Any]]:
    whole = answered(app, head.encode("latin-1"))
    top, _, body = whole.partition(b"\r\n\r\n")
    lines = top.decode().split("\r\n")
    assert "Connection: close" in lines
    return lines[0], json.loads(body[:-1]) if body.startswith(b"{") else {}


def test_a_request_is_handed_on() -> None:
    status, environ = asked("GET /metrics?a=b HTTP/1.1\nAccept-Encoding:  gzip \nx")
    assert status == "HTTP/1.1 200 OK"
    assert environ == {
        "REQUEST_METHOD": "GET", "PATH_INFO": "/metrics", "QUERY_STRING": "a=b",
        "HTTP_ACCEPT_ENCODING": "gzip", "HTTP_X": "",
    }  # fmt: skip
    whole = answered(app, b"HEAD / HTTP/1.1")
    assert whole.endswith(b"\r\n\r\n")
    length = int(whole.partition(b"Content-Length: ")[2].split(b"\r\n")[0])
    assert length == len(answered(app, b"GET / HTTP/1.1").partition(b"\r\n\r\n")[2])
    assert b"Content-Type: text/plain\r\n" in whole


@pytest.mark.parametrize(("head", "status"), [
    ("GET /", "200 OK"), ("GET / HTTP/1.1", "200 OK"), ("GET", "400 Bad Request"),
    ("", "400 Bad Request"),
    ("GET / HTTP/1.1 x", "400 Bad Request"), ("GET x", "400 Bad Request"),
    ("POST / HTTP/1.1", "405 Method Not Allowed"), ("GET /broken", "500 Internal Server Error"),
])  # fmt: skip
def test_what_is_no_request_is_answered_too(head: str, status: str) -> None:
    assert asked(head)[0] == f"HTTP/1.1 {status}"


class Running:
    """A server in a thread."""

    def __init__(self, **options: Any) -> None:
        listener = socket.create_server(("127.0.0.1", 0))
        self.server = Server(listener, app, **options)
        self.thread = threading.Thread(target=self.server.serve_forever, args=(0.01,), daemon=True)
        self.thread.start()

    def connect(self) -> socket.socket:
        made = socket.create_connection(("127.0.0.1", self.server.server_port))
        made.settimeout(60.0)
        return made

    def close(self) -> None:
        self.server.shutdown()
        self.thread.join(60)
        self.server.server_close()


@pytest.fixture
def running() -> Iterator[Running]:
    made = Running()
    yield made
    made.close()


def all_of(link: socket.socket) -> bytes:
    got = b""
    try:
        while data := link.recv(65536):
            got += data
    except ConnectionResetError:
        pass
    link.close()
    return got


def test_a_request_may_come_in_pieces(running: Running) -> None:
    link = running.connect()
    for piece in (b"GET / HT", b"TP/1.1\r\n", b"A: b\r", b"\n\r\n"):
        link.sendall(piece)
    assert all_of(link).startswith(b"HTTP/1.1 200 OK\r\n")
    link = running.connect()
    link.sendall(b"GET / HTTP/1.1\n\n")
    assert all_of(link).startswith(b"HTTP/1.1 200 OK\r\n")


@pytest.mark.parametrize(("length", "answer"), [
    (MAX_BYTES, b""), (MAX_BYTES + 1, b"HTTP/1.1 431 Request Header Fields Too Large\r\n"),
])  # fmt: skip
def test_a_request_has_a_size(running: Running, length: int, answer: bytes) -> None:
    link = running.connect()
    link.sendall(b"x" * length)
    if not answer:
        link.shutdown(socket.SHUT_WR)
    assert all_of(link)[: len(answer) or None] == answer
    assert MAX_BYTES == 8192


def test_the_oldest_of_many_clients_makes_room(running: Running) -> None:
    links = [running.connect() for _ in range(MAX_CLIENTS)]
    for link in links:
        link.sendall(b"G")
    more = running.connect()
    more.sendall(b"GET / HTTP/1.1\r\n\r\n")
    assert all_of(more).startswith(b"HTTP/1.1 200 OK")
    assert all_of(links[0]) == b""
    links[-1].sendall(b"ET / HTTP/1.1\r\n\r\n")
    assert all_of(links[-1]).startswith(b"HTTP/1.1 200 OK")
    for link in links[1:-1]:
        link.close()
    assert (MAX_CLIENTS, REQUEST_S) == (32, 5.0)


def test_a_client_has_its_time(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(scrape, "REQUEST_S", 0.02)
    running = Running()
    try:
        assert all_of(running.connect()) == b""
    finally:
        running.close()


def test_a_client_that_was_answered_is_let_go_of(monkeypatch: pytest.MonkeyPatch) -> None:
    before = Fds()
    server = Server(socket.create_server(("127.0.0.1", 0)), app, parent=7)
    begun = Fds()
    link = socket.create_connection(("127.0.0.1", server.server_port))
    link.sendall(b"GET / HTTP/1.1\r\n\r\n")
    turns = iter([7] * 12)
    monkeypatch.setattr(os, "getppid", lambda: next(turns, 8))
    server.serve_forever(0.05)
    assert all_of(link).startswith(b"HTTP/1.1 200 OK")
    assert Fds().since(begun) == 0
    server.server_close()
    assert Fds().since(before) == 0


def test_without_clients_it_sleeps(monkeypatch: pytest.MonkeyPatch) -> None:
    turns = iter([7] * 4)
    monkeypatch.setattr(os, "getppid", lambda: next(turns, 8))
    with Server(socket.create_server(("127.0.0.1", 0)), app, parent=7) as server:
        began_s = time.monotonic()
        server.serve_forever(0.02)
        assert time.monotonic() - began_s >= 0.05


def test_it_ends_with_its_parent(monkeypatch: pytest.MonkeyPatch) -> None:
    parent = os.getppid()
    running = Running(parent=parent)
    link = running.connect()
    link.sendall(b"GET / HTTP/1.1\r\n\r\n")
    assert all_of(link).startswith(b"HTTP/1.1 200 OK")
    assert running.thread.is_alive()
    monkeypatch.setattr(os, "getppid", lambda: parent + 1)
    running.thread.join(60)
    assert not running.thread.is_alive()
    running.close()


def test_a_socket_with_a_path_has_no_port(tmp_path: Path) -> None:
    with Server(listening(f"unix:{tmp_path}/s"), app) as server:
        assert server.server_port == 0


@pytest.mark.parametrize("arguments", [["bad"], ["localhost:99999"]])
def test_what_it_cant_listen_on_ends_it_in_one_line(
    arguments: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    assert exporter.main(arguments) == 2
    said = capsys.readouterr().err
    assert said.startswith("oomkit: metrics on '")
    assert said.count("\n") == 1


def test_a_client_that_does_not_read_a_long_answer_keeps_nobody_waiting() -> None:
    def long(environ: dict[str, Any], start: Any) -> list[bytes]:
        start("200 OK", [])
        return [b"x" * (64 << 20 if environ["PATH_INFO"] == "/long" else 5)]

    server = Server(socket.create_server(("127.0.0.1", 0)), long)
    thread = threading.Thread(target=server.serve_forever, args=(0.01,), daemon=True)
    thread.start()
    try:
        idle, quick = (
            socket.create_connection(("127.0.0.1", server.server_port), 60) for _ in range(2)
        )
        idle.sendall(b"GET /long HTTP/1.1\r\n\r\n")
        assert idle.recv(1) == b"H"
        quick.sendall(b"GET /short HTTP/1.1\r\n\r\n")
        assert all_of(quick).endswith(b"\r\n\r\nxxxxx")
        idle.close()
    finally:
        server.shutdown()
        thread.join(60)
        server.server_close()
