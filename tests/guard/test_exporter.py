"""Metrics of a guard, scraped over a port and a socket."""

import os
import socket
import subprocess
import sys
import threading
import time
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from prometheus_client.parser import text_string_to_metric_families

from oomkit.guard.exporter import ExporterError, main, make_server, parse_listen, read_status
from oomkit.guard.status import Status

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
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.05})
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
