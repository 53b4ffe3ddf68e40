"""``oomkit lab``: this machine alone is answered, and nothing but the site's files."""

import http.client
import json
import os
import signal
import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from oomkit.lab.server import LabServer
from tests.conftest import Command

SECRET = "not part of the site"


@pytest.fixture
def site(tmp_path: Path) -> Path:
    (tmp_path / "secret").write_text(SECRET)
    made = tmp_path / "site"
    (made / "manual").mkdir(parents=True)
    (made / "lab.json").write_text('{"oomkit": "0"}')
    (made / "index.html").write_text("<h1>lab</h1>")
    (made / "manual/index.html").write_text("<h1>manual</h1>")
    return made


@pytest.fixture
def port(site: Path) -> Iterator[int]:
    server = LabServer(site, 0, lambda: b'{"tasks": []}')
    threading.Thread(target=server.serve_forever, daemon=True).start()
    yield server.server_port
    server.shutdown()
    server.server_close()


def get(
    port: int, path: str, method: str = "GET", **headers: str
) -> tuple[int, bytes, dict[str, str]]:
    """What the server answers."""
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=30)
    connection.putrequest(method, path, skip_host="Host" in headers)
    for name, value in headers.items():
        connection.putheader(name.replace("_", "-"), value)
    connection.endheaders()
    answer = connection.getresponse()
    found = answer.status, answer.read(), dict(answer.getheaders())
    connection.close()
    return found


def test_pages_come_with_their_policy(port: int) -> None:
    status, data, headers = get(port, "/")
    assert (status, data) == (200, b"<h1>lab</h1>")
    assert "connect-src 'self'" in headers["Content-Security-Policy"]
    assert "'unsafe-inline'" not in headers["Content-Security-Policy"]
    assert get(port, "/manual/")[1] == b"<h1>manual</h1>"
    assert get(port, "/?x=1", "HEAD")[:2] == (200, b"")
    assert json.loads(get(port, "/lab.json")[1]) == {"oomkit": "0", "live": True}


@pytest.mark.parametrize(
    "path", ["/secret", "/../secret", "/%2e%2e/secret", "/manual/..%2f..%2fsecret", "//etc/passwd"]
)
def test_nothing_but_the_sites_files_is_handed_out(port: int, path: str) -> None:
    status, data, _ = get(port, path)
    assert status == 404
    assert SECRET.encode() not in data


def test_the_machine_is_shown_to_its_own_pages_alone(port: int) -> None:
    path = "/live/snapshot.json"
    status, data, headers = get(port, path)
    assert (status, data) == (200, b'{"tasks": []}')
    assert headers["Cache-Control"] == "no-store"
    assert "Access-Control-Allow-Origin" not in headers
    assert get(port, path, Host=f"localhost:{port}")[0] == 200
    for host in ("evil.example", f"evil.example:{port}", "127.0.0.1", ""):
        assert get(port, path, Host=host)[0] == 403
    assert get(port, path, Sec_Fetch_Site="cross-site")[0] == 403
    assert get(port, path, Sec_Fetch_Site="same-origin")[0] == 200
    for method in ("POST", "PUT", "DELETE", "OPTIONS"):
        assert get(port, path, method)[0] == 501


def test_a_directory_that_is_no_site_is_refused(oomkit: Command, tmp_path: Path) -> None:
    done = oomkit("lab", str(tmp_path))
    assert done.returncode == 2
    assert done.stderr == (
        f"oomkit: {tmp_path}: no lab.json in it; expected a directory that make site filled\n"
    )


def test_the_command_serves_this_machine_until_it_is_interrupted(site: Path) -> None:
    if os.environ.get("OOMKIT_PLAIN"):
        pytest.skip("the command needs more than the core")
    command = [str(Path(sys.executable).parent / "oomkit"), "lab", str(site), "--port", "0"]
    running = subprocess.Popen(
        command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
        env={**os.environ, "PYTHONUNBUFFERED": "1"},
    )  # fmt: skip
    try:
        assert running.stdout is not None
        url = running.stdout.readline().split()[2]
        port = int(url.rstrip("/").rpartition(":")[2])
        snapshot = json.loads(get(port, "/live/snapshot.json")[1])
        assert any(task["pid"] == os.getpid() for task in snapshot["tasks"])
        taken = subprocess.run(
            [*command[:-1], str(port)], capture_output=True, text=True, check=False
        )
        assert taken.returncode == 2
        assert taken.stderr == f"oomkit: --port {port}: Address already in use\n"
    finally:
        running.send_signal(signal.SIGINT)
        _, said = running.communicate(timeout=60)
    assert (running.returncode, said) == (130, "")


@pytest.mark.parametrize(
    ("error", "printed"),
    [
        (ConnectionResetError(104, "Connection reset by peer"), ""),
        (BrokenPipeError(32, "Broken pipe"), ""),
        (KeyError("x"), "oomkit: internal error, please report it: KeyError('x')\n"),
    ],
)
def test_a_browser_that_goes_away_is_no_error(
    error: Exception, printed: str, site: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    server = LabServer(site, 0, lambda: b"")
    try:
        raise error
    except type(error):
        server.handle_error(None, ("127.0.0.1", 1))
    server.server_close()
    assert capsys.readouterr().err == printed
