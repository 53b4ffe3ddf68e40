"""Messages to the service manager (``sd_notify(3)``'s protocol)."""

import os

TYPE_CHECKING = False
if TYPE_CHECKING:
    import _socket


class ServiceManager:
    """The manager that started us, if there is one that wants to know.

    Attributes:
        watchdog_s: it ends us unless it hears from us this often; None if it doesn't care.
    """

    def __init__(self, environ: "os._Environ[str] | dict[str, str]" = os.environ) -> None:
        """Connect to the socket that the environment names; stay mute where there is none."""
        self.watchdog_s = _watchdog_s(environ)
        self._link: _socket.socket | None = None
        address = environ.get("NOTIFY_SOCKET", "")
        if address[:1] not in ("/", "@"):
            return
        # Only a service needs sockets.
        import _socket as sockets

        link = sockets.socket(
            sockets.AF_UNIX, sockets.SOCK_DGRAM | sockets.SOCK_CLOEXEC | sockets.SOCK_NONBLOCK
        )
        try:
            link.connect("\0" + address[1:] if address[0] == "@" else address)
        except OSError:
            link.close()
        else:
            self._link = link

    def send(self, message: bytes) -> None:
        """Send assignments such as ``READY=1``, one a line; a manager that is gone is no fault."""
        if self._link is not None:
            try:
                self._link.send(message)
            except OSError:
                return

    def close(self) -> None:
        """Close the socket."""
        if self._link is not None:
            self._link.close()
            self._link = None


def _watchdog_s(environ: "os._Environ[str] | dict[str, str]") -> float | None:
    usec = environ.get("WATCHDOG_USEC", "")
    pid = environ.get("WATCHDOG_PID", "")
    if not usec.isdigit() or (pid and pid != str(os.getpid())):
        return None
    return int(usec) / 1e6
