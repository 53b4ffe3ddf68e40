"""Metrics of a guard, scraped over a port and a socket."""

import os
import signal
import socket
import subprocess
import sys
import threading
import time
import urllib.request
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import pytest
from prometheus_client.parser import text_string_to_metric_families

from oomkit.guard import scrape
from oomkit.guard.exporter import (
    ExporterError,
    main,
    make_server,
    metrics_app,
    parse_listen,
    read_status,
)
from oomkit.guard.writer import Status

STATUS: dict[str, object] = {
    "pid": os.getpid(), "policy": "default", "dry_run": True, "level": 2, "wakeups": 7,
    "available_kb": 1000, "under_way": 2, "kernel_kills": 3, "acts": {"died": 4, "survived": 1},
    "psi_us": {"some": 2_500_000}, "faults": {"journal": "No space left on device"},
}  # fmt: skip


def write(path: Path, values: dict[str, object]) -> None:
    status = Status(str(path))
    status.write(values)
    status.close()


@contextmanager
def serving(listen: str, status: Path) -> Iterator[int]:
    server = make_server(listen, str(status))
    thread = threading.Thread(
        target=server.serve_forever, kwargs={"poll_interval": 0.05}, daemon=True
    )
    thread.start()
    try:
        yield server.server_port
    finally:
        server.shutdown()
        thread.join()
        server.server_close()


def parsed(text: str) -> dict[tuple[str, tuple[tuple[str, str], ...]], float]:
    return {
        (sample.name, tuple(sorted(sample.labels.items()))): sample.value
        for family in text_string_to_metric_families(text)
        for sample in family.samples
    }


def test_a_scrape_shows_what_the_daemon_does(tmp_path: Path) -> None:
    write(tmp_path / "status", STATUS)
    with serving("127.0.0.1:0", tmp_path / "status") as port:
        with urllib.request.urlopen(f"http://127.0.0.1:{port}/metrics") as answer:
            found = parsed(answer.read().decode())
        assert found["oomkit_guard_up", ()] == 1
        assert found["oomkit_guard_info", (("dry_run", "true"), ("policy", "default"))] == 1
        levels = {name: found["oomkit_guard_level", (("oomkit_guard_level", name),)]
                  for name in ("calm", "warn", "soft", "hard")}  # fmt: skip
        assert levels == {"calm": 0, "warn": 0, "soft": 1, "hard": 0}
        assert found["oomkit_guard_kernel_kills_total", ()] == 3
        assert found["oomkit_guard_acts_total", (("outcome", "died"),)] == 4
        assert found["oomkit_memory_stalled_seconds_total", (("kind", "some"),)] == 2.5
        assert found["oomkit_guard_fault", (("file", "journal"),)] == 1
        assert found["oomkit_guard_wakeups_total", ()] == 7
        assert found["oomkit_memory_available_bytes", ()] == 1000 * 1024
        assert found["oomkit_guard_resident_memory_bytes", ()] > 1 << 20
        assert found["oomkit_guard_cpu_seconds_total", ()] > 0
        assert ("oomkit_guard_freed_bytes_total", ()) not in found
        write(tmp_path / "status", {**STATUS, "pid": 1 << 30})
        with urllib.request.urlopen(f"http://127.0.0.1:{port}/metrics") as answer:
            assert parsed(answer.read().decode()) == {("oomkit_guard_up", ()): 0}


def get(path: Path) -> str:
    with socket.socket(socket.AF_UNIX) as client:
        client.connect(str(path))
        client.sendall(b"GET /metrics HTTP/1.0\r\n\r\n")
        parts = []
        while part := client.recv(65536):
            parts.append(part)
    return b"".join(parts).decode().partition("\r\n\r\n")[2]


def test_a_unix_socket_serves_too_and_a_stale_one_is_replaced(tmp_path: Path) -> None:
    write(tmp_path / "status", STATUS)
    path = tmp_path / "metrics.sock"
    for _ in range(2):
        with serving(f"unix:{path}", tmp_path / "status"):
            assert parsed(get(path))["oomkit_guard_up", ()] == 1
            assert path.stat().st_mode & 0o777 == 0o660
            with pytest.raises(ExporterError, match="Address already in use"):
                make_server(f"unix:{path}", str(tmp_path / "status"))
        assert path.is_socket()


def test_without_a_guard_it_says_so(tmp_path: Path) -> None:
    path = tmp_path / "sock"
    with serving(f"unix:{path}", tmp_path / "no-status"):
        assert parsed(get(path)) == {("oomkit_guard_up", ()): 0}


def test_a_status_in_halves_is_not_believed(tmp_path: Path) -> None:
    path = tmp_path / "status"
    path.write_text('{"n": 2, "level": 1, "end": 1}')
    assert read_status(str(path)) is None
    path.write_text('{"n": 2, "lev')
    assert read_status(str(path)) is None


@pytest.mark.parametrize("listen", ["9753", "localhost:", "host:http", ":70000", "unix:", ""])
def test_addresses_that_are_none_are_named(listen: str) -> None:
    with pytest.raises(ExporterError, match="expected HOST:PORT"):
        parse_listen(listen)


def test_an_address_that_cannot_be_used_is_one_line(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main([f"unix:{tmp_path}/no/sock"]) == 2
    said = capsys.readouterr().err
    assert said == f"oomkit: metrics on unix:{tmp_path}/no/sock: No such file or directory\n"


@pytest.mark.parametrize("kind", ["file", "link", "fifo", "theirs"])
def test_what_is_no_dead_socket_of_ours_stays(tmp_path: Path, kind: str) -> None:
    path = tmp_path / "sock"
    target = tmp_path / "target"
    if kind == "file":
        path.write_text("precious")
    elif kind == "link":
        with socket.socket(socket.AF_UNIX) as dead:
            dead.bind(str(target))
        path.symlink_to(target)
    elif kind == "fifo":
        os.mkfifo(path)
    else:
        if os.geteuid() != 0:
            pytest.skip("needs root to make others' files")
        with socket.socket(socket.AF_UNIX) as dead:
            dead.bind(str(path))
        os.chown(path, 12345, 12345)
    before = os.lstat(path)
    expected = "a socket of user 12345 is in the way" if kind == "theirs" else "expected no file"
    with pytest.raises(ExporterError, match=expected):
        make_server(f"unix:{path}", str(tmp_path / "status"))
    assert os.path.samestat(os.lstat(path), before)
    assert kind != "link" or target.exists()


def test_a_guard_with_a_file_where_its_socket_shall_be_does_not_begin(tmp_path: Path) -> None:
    path = tmp_path / "sock"
    path.write_text("precious")
    done = subprocess.run(
        [str(Path(sys.executable).with_name("oomkit")), "guard", "--status", f"{tmp_path}/status",
         "--metrics", f"unix:{path}", "--state", f"{tmp_path}/state"],
        capture_output=True, text=True, check=False, timeout=60,
    )  # fmt: skip
    assert done.returncode == 2
    expected = "expected no file, or an unused socket of oomkit"
    assert done.stderr == f"oomkit: metrics on unix:{path}: {expected}\n"
    assert path.read_text() == "precious"


def test_a_socket_that_another_took_the_place_of_is_not_removed(tmp_path: Path) -> None:
    path = tmp_path / "sock"
    write(tmp_path / "status", STATUS)
    argv = [sys.executable, "-m", "oomkit.guard.exporter", f"unix:{path}", "--status",
            f"{tmp_path}/status"]  # fmt: skip
    with subprocess.Popen(argv) as process:
        until(path.exists)
        until(lambda: "oomkit_guard_up" in get(path))
        path.unlink()
        path.write_text("precious")
        process.send_signal(signal.SIGINT)
        assert process.wait(20) == 0
    assert path.read_text() == "precious"


def until(true: Callable[[], object]) -> None:
    end = time.monotonic() + 30
    while not true():
        assert time.monotonic() < end
        time.sleep(0.02)


def rss_kb(pid: int) -> int:
    text = Path(f"/proc/{pid}/status").read_text()
    return int(text.partition("VmRSS:")[2].split()[0])


def test_clients_that_never_finish_are_bounded_and_a_scrape_gets_through(tmp_path: Path) -> None:
    path = tmp_path / "sock"
    write(tmp_path / "status", STATUS)
    argv = [sys.executable, "-m", "oomkit.guard.exporter", f"unix:{path}", "--status",
            f"{tmp_path}/status", "--parent", str(os.getpid())]  # fmt: skip
    with subprocess.Popen(argv) as process:
        try:
            until(path.exists)
            until(lambda: "oomkit_guard_up" in get(path))
            before_kb = rss_kb(process.pid)
            assert Path(f"/proc/{process.pid}/oom_score_adj").read_text() == "500\n"
            idle = [connected(path) for _ in range(100)]
            assert parsed(get(path))["oomkit_guard_up", ()] == 1
            long = [connected(path) for _ in range(39)]
            refused = 0
            for _ in range(64):
                for client in long:
                    with suppress(BlockingIOError, ConnectionError):
                        client.send(b"X-Long: " + b"x" * 65000 + b"\r\n")
            assert parsed(get(path))["oomkit_guard_up", ()] == 1
            for client in long:
                with suppress(BlockingIOError, ConnectionError):
                    refused += b"431" in client.recv(100)
            assert refused > 0
            held = len(os.listdir(f"/proc/{process.pid}/fd"))
            assert held < scrape.MAX_CLIENTS + 16
            assert len(os.listdir(f"/proc/{process.pid}/task")) == 1
            assert rss_kb(process.pid) - before_kb < 4096
            for client in (*idle, *long):
                client.close()
        finally:
            process.kill()


def connected(path: Path) -> socket.socket:
    client = socket.socket(socket.AF_UNIX)
    client.connect(str(path))
    client.settimeout(0.0)
    with suppress(BlockingIOError, ConnectionError):
        client.send(b"GET /metrics HTTP/1.1\r\n")
    return client


def test_who_takes_too_long_is_dropped(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(scrape, "REQUEST_S", 0.2)
    path = tmp_path / "sock"
    with serving(f"unix:{path}", tmp_path / "status"), connected(path) as slow:
        slow.settimeout(20)
        assert slow.recv(100) == b""


@pytest.mark.parametrize(
    ("request_line", "status"),
    [("GET /metrics HTTP/1.1", 200), ("HEAD / HTTP/1.0", 200), ("POST /metrics HTTP/1.1", 405),
     ("nonsense", 400), ("", 400), ("GET /favicon.ico HTTP/1.1", 200)],
)  # fmt: skip
def test_requests_are_answered(tmp_path: Path, request_line: str, status: int) -> None:
    app = metrics_app(str(tmp_path / "status"))
    said = scrape.answered(app, f"{request_line}\nHost: x\nAccept: */*".encode())
    head, _, body = said.partition(b"\r\n\r\n")
    assert head.startswith(f"HTTP/1.1 {status} ".encode())
    length = int(head.lower().partition(b"content-length: ")[2].split()[0])
    assert len(body) == (0 if request_line.startswith("HEAD") else length)


def test_it_ends_with_the_process_that_started_it(tmp_path: Path) -> None:
    path = tmp_path / "sock"
    code = f"""
import os, subprocess, sys, time
child = subprocess.Popen([sys.executable, "-c", '''
import os, oomkit.guard.exporter as e
e._PARENT_EVERY_S = 0.05
e.main(["unix:{path}", "--parent", str(os.getppid())])
'''])
while not os.path.exists({str(path)!r}):
    time.sleep(0.01)
print(child.pid)
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    pid = int(done.stdout)
    deadline = time.monotonic() + 20
    while not is_gone(pid) and time.monotonic() < deadline:
        time.sleep(0.02)
    assert is_gone(pid)
    assert not path.exists()


def is_gone(pid: int) -> bool:
    """Ended, whether or not somebody has taken notice of it yet."""
    try:
        return " Z " in Path(f"/proc/{pid}/stat").read_text()
    except OSError:
        return True
