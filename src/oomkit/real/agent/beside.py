"""What runs in a guest beside the scenario: a program that may kill, and what watches it."""

from __future__ import annotations

import os
import select
import time

from . import heartbeat
from .groups import write

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Any

    from .report import Report

_PATIENCE_S = 60.0
_ENVIRONMENT = {"PATH": "/usr/sbin:/usr/bin", "LANG": "C.UTF-8"}
_INSTANCE = "/sys/kernel/tracing/instances/oomkit"
_SIGNALS = f"{_INSTANCE}/events/signal/signal_generate"


class Lines:
    """A descriptor whose lines are passed on as they come."""

    def __init__(self, fd: int, take: Callable[[str], None]) -> None:
        os.set_blocking(fd, False)
        self.fd = fd
        self.take = take
        self.rest = b""

    def hear(self) -> bool:
        """Take what there is; False at the end of the stream."""
        while True:
            try:
                data = os.read(self.fd, 65536)
            except BlockingIOError:
                return True
            if not data:
                return False
            *lines, self.rest = (self.rest + data).split(b"\n")
            for line in lines:
                self.take(line.decode("utf-8", "replace"))


class Beside:
    """The companion, the signals that are sent, and the heartbeats.

    Attributes:
        streams: what the watcher has to listen to.
        pid: of the companion; 0: there is none.
    """

    def __init__(self, report: Report, plan: dict[str, Any]) -> None:
        self.report = report
        self.guest = plan["guest"]
        self.streams: dict[int, Lines] = {}
        self.pid = 0
        self.output = -1
        self.ready = False
        self.lanes: list[heartbeat.Lane] = []
        if self.guest["beats"]:
            self.lanes = heartbeat.lanes(plan["programs"], self.guest["low_share"])

    def start(self) -> None:
        """Begin to trace, start the companion, give it time to be ready, and begin to beat."""
        if self.guest["beats"]:
            self._trace()
        if self.guest["command"]:
            self._accompany(self.guest["command"])
            self._wait_until_ready()
            time.sleep(self.guest["settle"])
        for lane in self.lanes:
            lane.start()

    def hear(self, fd: int) -> bool:
        """Pass on what a stream says; False when it has ended."""
        return self.streams[fd].hear()

    def report_notes(self) -> None:
        """Report what the heartbeats have noted."""
        for lane in self.lanes:
            lane.report_notes(self.report)

    def close(self) -> None:
        """Report all that is left."""
        for stream in self.streams.values():
            stream.hear()
        for lane in self.lanes:
            lane.close(self.report)

    def _listen(self, fd: int, take: Callable[[str], None]) -> None:
        self.streams[fd] = Lines(fd, take)

    def _accompany(self, command: list[str]) -> None:
        reader, writer = os.pipe()
        self.pid = os.fork()
        if self.pid:
            os.close(writer)
            self._listen(reader, self._said)
            self.output = reader
            return
        try:
            write("/proc/self/oom_score_adj", "0")
            os.dup2(writer, 1)
            os.dup2(writer, 2)
            os.execve(command[0], command, _ENVIRONMENT)
        except OSError as error:
            os.write(2, f"{command[0]}: {error.strerror}\n".encode())
        finally:
            os._exit(127)

    def _wait_until_ready(self) -> None:
        """Wait for the line by which the companion reports it; it may as well have ended."""
        end = time.monotonic() + _PATIENCE_S
        while self.guest["ready"] and not self.ready and time.monotonic() < end:
            select.select([self.output], [], [], 1.0)
            if not self.hear(self.output):
                return
        if self.guest["ready"] and not self.ready:
            self.report.say("unready", round(_PATIENCE_S))

    def _said(self, line: str) -> None:
        self.report.say("daemon", line)
        self.ready = self.ready or self.guest["ready"] in line

    def _trace(self) -> None:
        """Trace sender and receiver of each SIGTERM and SIGKILL, if there is tracefs."""
        if not os.path.isdir(os.path.dirname(_INSTANCE)):
            return
        os.mkdir(_INSTANCE)
        write(f"{_INSTANCE}/trace_clock", "mono")
        write(f"{_INSTANCE}/buffer_size_kb", "64")
        write(f"{_INSTANCE}/buffer_percent", "0")
        write(f"{_SIGNALS}/filter", "sig==9||sig==15")
        write(f"{_SIGNALS}/enable", "1")
        pipe = os.open(f"{_INSTANCE}/trace_pipe", os.O_RDONLY | os.O_CLOEXEC)
        self._listen(pipe, self.note_signal)

    def note_signal(self, line: str) -> None:
        """Report time, number, code, target and sender of one traced signal."""
        head, mark, fields = line.partition(": signal_generate: ")
        if not mark:
            return
        values = dict(word.split("=", 1) for word in fields.split() if "=" in word)
        words = head.split()  # name-pid, where the name may hold spaces; CPU; flags; time
        self.report.say("signal", words[-1], values["sig"], values["code"], values["pid"],
                        words[-4].rpartition("-")[2])  # fmt: skip
