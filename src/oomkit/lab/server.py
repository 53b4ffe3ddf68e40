"""Hands the built pages out on this machine, and beside them a snapshot of the live machine.

It listens on the loopback address alone, answers GET and HEAD, and only requests that name this
machine as their host: a page of another site whose name was made to lead here is refused, since it
could read what runs on the machine.
"""

import json
import sys
from collections.abc import Callable
from functools import partial
from http import HTTPStatus
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from urllib.parse import unquote, urlsplit

from oomkit.errors import OomkitError

LIST = "lab.json"
"""The file by which a directory is known to be the built site."""
LIVE = "/live/snapshot.json"
ADDRESS = "127.0.0.1"

CONTENT_POLICY = (
    "default-src 'none'; script-src 'self' 'wasm-unsafe-eval'; worker-src 'self'; "
    "connect-src 'self'; style-src 'self'; img-src 'self' data:; font-src 'self'; "
    "base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
)
_MANUAL = "/manual/"
_MANUAL_POLICY = CONTENT_POLICY.replace("-src 'self'", "-src 'self' 'unsafe-inline'")
"""Pages that Sphinx writes set their theme by a script of their own."""

_TYPES = {
    ".html": "text/html; charset=utf-8",
    ".css": "text/css; charset=utf-8",
    ".js": "text/javascript; charset=utf-8",
    ".mjs": "text/javascript; charset=utf-8",
    ".json": "application/json",
    ".wasm": "application/wasm",
    ".svg": "image/svg+xml",
    ".png": "image/png",
    ".zip": "application/zip",
    ".woff2": "font/woff2",
    ".txt": "text/plain; charset=utf-8",
    ".log": "text/plain; charset=utf-8",
    ".toml": "text/plain; charset=utf-8",
}


class LabError(OomkitError):
    """There is no built site; the text says how it is built."""


def built(directory: str | None = None) -> Path:
    """The directory of the built site.

    Args:
        directory: where it is; None: where a checkout's ``make site`` leaves it.

    Raises:
        LabError: it is not there.
    """
    if directory is not None:
        if not (Path(directory) / LIST).is_file():
            raise LabError(
                f"{directory}: no {LIST} in it; expected a directory that make site filled"
            )
        return Path(directory)
    here = Path(__file__).resolve().parents[3] / "build/site"
    if not (here / LIST).is_file():
        raise LabError(
            "the lab's pages are not built here: run make site in a checkout of oomkit, and "
            "oomkit lab there, or oomkit lab DIRECTORY with its build/site"
        )
    return here


class LabServer(ThreadingHTTPServer):
    """The server; ``url`` is where it listens."""

    daemon_threads = True

    def __init__(self, directory: Path, port: int, snapshot: Callable[[], bytes]) -> None:
        """Listen.

        Args:
            directory: the built site.
            port: of the loopback address; 0: any that is free.
            snapshot: takes a snapshot of the machine, as JSON.

        Raises:
            OSError: the port can't be had.
        """
        files = {
            "/" + path.relative_to(directory).as_posix(): path
            for path in sorted(directory.rglob("*"))
            if path.is_file()
        }
        super().__init__((ADDRESS, port), partial(_Handler, files, snapshot))

    def handle_error(self, request: object, client_address: object) -> None:
        """A browser that goes away in the middle is no error; anything else is one line."""
        error = sys.exc_info()[1]
        if not isinstance(error, ConnectionError | TimeoutError):
            sys.stderr.write(f"oomkit: internal error, please report it: {error!r}\n")

    @property
    def url(self) -> str:
        """Where the pages are."""
        return f"http://{ADDRESS}:{self.server_port}/"


class _Handler(BaseHTTPRequestHandler):
    server: LabServer
    server_version = "oomkit"
    sys_version = ""
    protocol_version = "HTTP/1.1"
    timeout = 30

    def __init__(self, files: dict[str, Path], snapshot: Callable[[], bytes], *of: object) -> None:
        self._files = files
        self._snapshot = snapshot
        super().__init__(*of)  # type: ignore[arg-type]  # what the server hands to each request

    def do_GET(self) -> None:
        """Answer."""
        if not self._is_for_us():
            self._send(
                HTTPStatus.FORBIDDEN,
                f"ask for {self.server.url}: other names of this machine are refused\n".encode(),
            )
            return
        path = unquote(urlsplit(self.path).path)
        if path == LIVE:
            self._live()
            return
        if path == f"/{LIST}":
            about = json.loads(self._files[path].read_bytes())
            self._send(HTTPStatus.OK, json.dumps({**about, "live": True}).encode(), _TYPES[".json"])
            return
        if path.endswith("/"):
            path += "index.html"
        file = self._files.get(path)
        if file is None:
            self._send(HTTPStatus.NOT_FOUND, b"there is no such page\n")
            return
        try:
            data = file.read_bytes()
        except OSError as error:
            self._send(HTTPStatus.INTERNAL_SERVER_ERROR, f"{error.strerror}\n".encode())
            return
        kind = _TYPES.get(file.suffix, "application/octet-stream")
        self._send(HTTPStatus.OK, data, kind, _MANUAL_POLICY if path.startswith(_MANUAL) else None)

    do_HEAD = do_GET  # noqa: N815 - the base class asks for the name

    def _is_for_us(self) -> bool:
        port = self.server.server_port
        hosts = (f"{ADDRESS}:{port}", f"localhost:{port}")
        if self.headers.get("Host") not in hosts:
            return False
        return self.headers.get("Sec-Fetch-Site", "none") in ("none", "same-origin")

    def _live(self) -> None:
        try:
            self._send(HTTPStatus.OK, self._snapshot(), "application/json")
        except (OomkitError, OSError) as error:
            text = json.dumps({"error": str(error)}).encode()
            self._send(HTTPStatus.INTERNAL_SERVER_ERROR, text, "application/json")

    def _send(
        self,
        status: HTTPStatus,
        data: bytes,
        kind: str = "text/plain; charset=utf-8",
        policy: str | None = None,
    ) -> None:
        self.send_response(status)
        self.send_header("Content-Type", kind)
        self.send_header("Content-Length", str(len(data)))
        self.send_header("Content-Security-Policy", policy or CONTENT_POLICY)
        self.send_header("X-Content-Type-Options", "nosniff")
        self.send_header("Referrer-Policy", "no-referrer")
        self.send_header("Cross-Origin-Resource-Policy", "same-origin")
        self.send_header("Cache-Control", "no-store" if self.path.startswith(LIVE) else "no-cache")
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(data)

    def log_message(self, format: str, *args: object) -> None:  # noqa: A002 - the base class's name
        """Requests are not logged."""
