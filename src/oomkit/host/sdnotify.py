"""What a service tells the service manager (``sd_notify(3)``'s protocol)."""

import os
from _socket import AF_UNIX, SOCK_CLOEXEC, SOCK_DGRAM, SOCK_NONBLOCK, socket


class ServiceManager:
    """The manager that started us, if there is one that wants to know.

    Attributes:
        watchdog_s: it ends us unless it hears from us this often; None if it doesn't care.
    """

    def __init__(self, environ: "os._Environ[str] | dict[str, str]" = os.environ) -> None:
        """Connect to the socket that the environment names; stay mute where there is none."""
        self.watchdog_s = _watchdog_s(environ)
        self._socket: socket | None = None
        address = environ.get("NOTIFY_SOCKET", "")
        if address[:1] not in ("/", "@"):
            return
        link = socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC | SOCK_NONBLOCK)
        try:
            link.connect("\0" + address[1:] if address[0] == "@" else address)
        except OSError:
            link.close()
        else:
            self._socket = link

    def tell(self, message: bytes) -> None:
        """Send assignments such as ``READY=1``, one a line; a manager that is gone is no fault."""
        if self._socket is not None:
            try:
                self._socket.send(message)
            except OSError:
                return


def _watchdog_s(environ: "os._Environ[str] | dict[str, str]") -> float | None:
    usec = environ.get("WATCHDOG_USEC", "")
    pid = environ.get("WATCHDOG_PID", "")
    if not usec.isdigit() or (pid and pid != str(os.getpid())):
        return None
    return int(usec) / 1e6
