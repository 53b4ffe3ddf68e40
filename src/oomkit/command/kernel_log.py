"""The kernel's log while a command runs: remembered where it was, read only if a process died."""

import os

from oomkit.command.verdict import LogKill

_KMSG = "/dev/kmsg"
_RECORD = 8192


class KernelLog:
    """The log from now on."""

    def __init__(self, path: str = _KMSG) -> None:
        try:
            self._fd = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)
            os.lseek(self._fd, 0, os.SEEK_END)
        except OSError:
            self._fd = -1

    def kills(self) -> list[LogKill] | None:
        """The processes killed since; None where the log can't be read."""
        if self._fd < 0:
            return None
        return kills_in(self._text())

    def _text(self) -> bytes:
        parts = []
        while True:
            try:
                parts.append(os.read(self._fd, _RECORD))
            except BlockingIOError:
                break
            except OSError as error:
                if error.errno != 32:  # EPIPE: records were overwritten before they were read
                    break
        return b"".join(parts)


def kills_in(data: bytes) -> list[LogKill]:
    """The kills of a kernel log, the first one first."""
    from oomkit.klog.reader import read_bytes

    found = []
    for report in read_bytes(data):
        summary = report.summary
        for killed in report.killed:
            sizes = (killed.anon_rss_kb, killed.file_rss_kb, killed.shmem_rss_kb)
            known = [size for size in sizes if size is not None]
            found.append(
                LogKill(
                    killed.pid,
                    killed.comm,
                    rss_bytes=sum(known) * 1024 if known else None,
                    total_vm_bytes=None if killed.total_vm_kb is None else killed.total_vm_kb << 10,
                    cgroup=report.cgroup,
                    task_cgroup=(summary.task_memcg if summary is not None else None)
                    or (report.memcg.task_path if report.memcg is not None else None),
                )
            )
    return found
