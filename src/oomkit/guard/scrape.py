"""A web server for scrapes that no client can make grow, block or end."""

import contextlib
import io
import os
import selectors
import socket
import threading
import time
from collections.abc import Callable, Iterable
from typing import Any, Self

App = Callable[[dict[str, Any], Callable[..., Any]], Iterable[bytes]]
"""A WSGI application."""

MAX_CLIENTS = 32
"""The oldest is dropped for one more."""
MAX_BYTES = 8192
"""Of a request, its headers included."""
REQUEST_S = 5.0
"""From the connection to the last byte of the answer."""
_CHUNK = 4096


class _Client:
    """A connection.

    Attributes:
        link: the socket.
        until_s: it is dropped then, by the monotonic clock.
        got: the request so far.
        answer: what is still to be sent; None: the request is not complete.
    """

    __slots__ = ("answer", "got", "link", "until_s")

    def __init__(self, link: socket.socket, until_s: float) -> None:
        self.link = link
        self.until_s = until_s
        self.got = b""
        self.answer: bytes | None = None


class Server:
    """Answers one request a connection, all in one thread.

    Args:
        listener: a socket that listens; it is ours from here on.
        app: makes the answers.
        parent: process to end with; None: none.
    """

    def __init__(self, listener: socket.socket, app: App, *, parent: int | None = None) -> None:
        self._listener = listener
        self._listener.settimeout(0.0)
        self._app = app
        self._parent = parent
        self._clients: dict[socket.socket, _Client] = {}
        self._selector = selectors.DefaultSelector()
        self._selector.register(listener, selectors.EVENT_READ)
        self._waker, self._alarm = socket.socketpair()
        self._selector.register(self._alarm, selectors.EVENT_READ)
        self._ended = threading.Event()
        self._ended.set()
        self._stop = False

    @property
    def server_port(self) -> int:
        """The port; 0 for a socket that has a path."""
        address = self._listener.getsockname()
        return int(address[1]) if isinstance(address, tuple) else 0

    def __enter__(self) -> Self:
        """Serve, and close all sockets at the end."""
        return self

    def __exit__(self, *_: object) -> None:
        """Close all sockets."""
        self.server_close()

    def serve_forever(self, poll_interval: float = 0.5) -> None:
        """Serve until :meth:`shutdown`, or until the parent is gone.

        Args:
            poll_interval: seconds after which the parent is looked for.
        """
        self._ended.clear()
        try:
            while not self._stop and (self._parent is None or os.getppid() == self._parent):
                self._serve(poll_interval)
        finally:
            self._ended.set()

    def shutdown(self) -> None:
        """End :meth:`serve_forever`, which runs in another thread."""
        self._stop = True
        self._waker.send(b"x")
        self._ended.wait()

    def server_close(self) -> None:
        """Close all sockets."""
        for client in list(self._clients.values()):
            self._drop(client)
        self._selector.close()
        for link in (self._listener, self._waker, self._alarm):
            link.close()

    def _serve(self, poll_interval: float) -> None:
        now_s = time.monotonic()
        soonest_s = min((one.until_s for one in self._clients.values()), default=now_s + 60)
        timeout_s = max(min(poll_interval, soonest_s - now_s), 0.0)
        for key, _ in self._selector.select(timeout_s):
            if key.fileobj is self._listener:
                self._accept()
            elif key.fileobj is not self._alarm:
                client = self._clients.get(key.fileobj)  # type: ignore[call-overload]  # only sockets are in it
                if client is not None:
                    self._go_on(client)
        now_s = time.monotonic()
        for client in list(self._clients.values()):
            if now_s >= client.until_s:
                self._drop(client)

    def _accept(self) -> None:
        for _ in range(MAX_CLIENTS):
            try:
                link, _address = self._listener.accept()
            except OSError as error:
                if not isinstance(error, BlockingIOError) and self._clients:
                    self._drop(next(iter(self._clients.values())))  # no descriptor is left
                return
            if len(self._clients) >= MAX_CLIENTS:
                self._drop(next(iter(self._clients.values())))
            link.settimeout(0.0)
            self._clients[link] = _Client(link, time.monotonic() + REQUEST_S)
            self._selector.register(link, selectors.EVENT_READ)

    def _go_on(self, client: _Client) -> None:
        try:
            if client.answer is None:
                self._read(client)
            if client.answer is not None:
                self._write(client)
        except BlockingIOError:
            return
        except OSError:
            self._drop(client)

    def _read(self, client: _Client) -> None:
        got = client.link.recv(_CHUNK)
        if not got:
            self._drop(client)
            return
        client.got += got
        head, end, _ = client.got.replace(b"\r\n", b"\n").partition(b"\n\n")
        if end:
            client.answer = answered(self._app, head)
        elif len(client.got) > MAX_BYTES:
            client.answer = _plain("431 Request Header Fields Too Large")
        if client.answer is not None:
            client.got = b""
            self._selector.modify(client.link, selectors.EVENT_WRITE)

    def _write(self, client: _Client) -> None:
        assert client.answer is not None
        client.answer = client.answer[client.link.send(client.answer) :]
        if not client.answer:
            with contextlib.suppress(OSError):
                client.link.shutdown(socket.SHUT_WR)
            self._drop(client)

    def _drop(self, client: _Client) -> None:
        if self._clients.pop(client.link, None) is not None:
            self._selector.unregister(client.link)
            client.link.close()


def answered(app: App, head: bytes) -> bytes:
    """The answer to a request, as it goes over the wire.

    Args:
        app: makes it.
        head: request line and headers, their lines ended by a newline alone.
    """
    lines = head.decode("latin-1").split("\n")
    words = lines[0].split(" ")
    if len(words) not in (2, 3) or not words[1].startswith("/"):
        return _plain("400 Bad Request")
    method, target = words[:2]
    if method not in ("GET", "HEAD"):
        return _plain("405 Method Not Allowed")
    path, _, query = target.partition("?")
    environ: dict[str, Any] = {
        "REQUEST_METHOD": "GET",
        "PATH_INFO": path,
        "QUERY_STRING": query,
        "wsgi.input": io.BytesIO(),
    }
    for line in lines[1:]:
        name, _, value = line.partition(":")
        environ[f"HTTP_{name.strip().upper().replace('-', '_')}"] = value.strip()
    begun: list[Any] = []
    try:
        body = b"".join(app(environ, lambda *started: begun.append(started)))
    except Exception:  # one bad scrape ends nothing
        return _plain("500 Internal Server Error")
    status, headers = begun[0][:2]
    return _joined(status, headers, body, with_body=method == "GET")


def _plain(status: str) -> bytes:
    body = f"{status}\n".encode()
    return _joined(status, [("Content-Type", "text/plain; charset=utf-8")], body, with_body=True)


def _joined(
    status: str, headers: Iterable[tuple[str, str]], body: bytes, *, with_body: bool
) -> bytes:
    shown = [f"{name}: {value}\r\n" for name, value in headers]
    top = f"HTTP/1.1 {status}\r\n{''.join(shown)}Content-Length: {len(body)}\r\n"
    return f"{top}Connection: close\r\n\r\n".encode("latin-1") + (body if with_body else b"")
