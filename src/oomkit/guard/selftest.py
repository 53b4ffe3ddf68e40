"""Before it is needed: can a process be killed from here, and its death be seen?"""

import os
import select

from oomkit.host.pidfd import Held, is_own, start_ticks_of

_SIGKILL = 9
PATIENCE_MS = 5000
"""A process that was sent SIGKILL exits within this."""


def fault(proc: str = "/proc") -> str:
    """Start a child, kill it the way victims are killed, and see it die.

    A sandbox that is too tight, a kernel that is too old or a hidden ``/proc`` shows here and not
    in the middle of a shortage.

    Returns:
        what does not work; empty if all does.
    """
    if not is_own(proc):
        return f"{proc} is not the proc file system of this pid namespace"
    child = os.fork()
    if child == 0:
        select.poll().poll(PATIENCE_MS * 2)
        os._exit(0)
    try:
        started = start_ticks_of(child, proc)
        if started is None:
            return f"a process just started is not seen in {proc}"
        held = Held(child, started, proc)
        try:
            held.send(_SIGKILL)
            poller = select.poll()
            poller.register(held.fd, select.POLLIN)
            if not poller.poll(PATIENCE_MS):
                return "a process that was sent SIGKILL did not exit"
        finally:
            held.close()
    except OSError as error:
        return f"a process can't be killed by pidfd: {error.strerror}"
    finally:
        os.kill(child, _SIGKILL)
        os.waitpid(child, 0)
    return ""
