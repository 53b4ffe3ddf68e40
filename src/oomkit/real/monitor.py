"""QEMU's monitor (QMP): every command is answered, and every answer is read."""

import json
import socket
from typing import Any

from oomkit.real.errors import RealError

_PATIENCE_S = 30.0


class MonitorError(RealError):
    """QEMU refused a command, or did not answer; the text says which and why."""


class MonitorClosedError(MonitorError):
    """QEMU has ended."""


class Monitor:
    """Our end of the monitor's socket.

    Args:
        end: a connected stream socket whose other end is QEMU's.
    """

    def __init__(self, end: socket.socket) -> None:
        self.end = end
        self.end.settimeout(_PATIENCE_S)
        self.rest = b""
        self.open = False

    def ask(self, command: str, **arguments: object) -> Any:
        """Execute a command; returns what QEMU answers.

        Raises:
            MonitorClosedError: QEMU has ended.
            MonitorError: QEMU refuses it, or does not answer.
        """
        if not self.open:
            self._greet()
        return self._ask(command, arguments)

    def _greet(self) -> None:
        greeting = self._message("its greeting")
        if "QMP" not in greeting:
            raise MonitorError(f"QEMU's monitor: expected a greeting, got {str(greeting)[:80]}")
        self._ask("qmp_capabilities", {})
        self.open = True

    def _ask(self, command: str, arguments: dict[str, object]) -> Any:
        text = json.dumps({"execute": command, "arguments": arguments})
        try:
            self.end.sendall(text.encode() + b"\n")
        except OSError:
            raise MonitorClosedError(f"QEMU ended before it could be asked to {command}") from None
        while True:
            message = self._message(f"an answer to {command}")
            if "error" in message:
                why = message["error"].get("desc", message["error"])
                raise MonitorError(f"QEMU refused {command}: {why}")
            if "return" in message:
                return message["return"]

    def _message(self, what: str) -> dict[str, Any]:
        """The next message; events come in between."""
        while True:
            line, newline, rest = self.rest.partition(b"\n")
            if newline:
                self.rest = rest
                return _object(line)
            try:
                data = self.end.recv(1 << 16)
            except TimeoutError:
                raise MonitorError(f"QEMU's monitor: no {what} in {_PATIENCE_S:g} s") from None
            except OSError:
                data = b""
            if not data:
                raise MonitorClosedError(f"QEMU ended before {what}")
            self.rest += data


def _object(line: bytes) -> dict[str, Any]:
    try:
        message = json.loads(line)
    except ValueError:
        message = None
    if not isinstance(message, dict):
        raise MonitorError(f"QEMU's monitor: expected a JSON object, got {line[:80]!r}")
    return message
