"""A pid namespace with a guard and victims in it, and made figures of how short memory is.

Nothing outside can be signalled from in there, and nothing is really short: the guard is in a
drill, reading meminfo and pressure from files of the test.
"""

import json
import os
import shutil
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

STAGE = Path(__file__).with_name("stage.py")
ACTORS = Path(__file__).with_name("actors.py")
TOTAL_KB = 1 << 20
PATIENCE_S = 20.0


def unshare() -> list[str]:
    """The command that makes the namespace, or a skip."""
    if shutil.which("unshare") is None:
        pytest.skip("needs unshare (util-linux)")
    words = ["unshare", "--pid", "--fork", "--mount-proc", "--kill-child"]
    if os.geteuid() != 0:
        words[1:1] = ["--user", "--map-root-user"]
    probe = subprocess.run([*words, "true"], capture_output=True, check=False)
    if probe.returncode:
        pytest.skip(f"needs a pid namespace: {probe.stderr.decode().strip()}")
    return words


class Arena:
    """The namespace; everything in it dies with it."""

    def __init__(self, directory: Path) -> None:
        self.directory = directory
        self.signals = directory / "signals"
        (self.signals / "pressure").mkdir(parents=True)
        self.memory(available=0.9)
        self.pressure(0)
        (self.signals / "vmstat").write_text("nr_free_pages 1\noom_kill 0\n")
        self.journal = directory / "journal.jsonl"
        self.log = directory / "log"
        self.state = directory / "state"
        self._stage = subprocess.Popen(
            [*unshare(), sys.executable, str(STAGE)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )
        assert self._stage.stdout is not None
        assert "ready" in self._stage.stdout.readline()
        self.guard_pid = 0

    def ask(self, command: str, *arguments: Any, **named: Any) -> Any:
        assert self._stage.stdin is not None
        assert self._stage.stdout is not None
        self._stage.stdin.write(json.dumps([command, arguments, named]) + "\n")
        self._stage.stdin.flush()
        outcome, value = json.loads(self._stage.stdout.readline())
        if outcome == "error":
            raise OSError(value)
        return value

    def victim(self, name: str, mib: int, **named: Any) -> int:
        return int(self.ask("victim", name, mib, **named))

    def play(self, actor: str, *arguments: object) -> tuple[int, Any]:
        """Start a process of :mod:`tests.guard.actors`; returns its pid and what it says."""
        argv = [sys.executable, "-I", str(ACTORS), actor, *map(str, arguments)]
        pid, said = self.ask("play", argv)
        return pid, said

    def living(self, pid: int) -> bool:
        """Some thread of a process lives, be it the leading one or another."""
        return bool(self.ask("living", pid))

    def guard(
        self,
        policy: str = "",
        *options: str,
        act: bool = True,
        begin: tuple[str, ...] = (),
        **named: Any,
    ) -> int:
        """Start a guard and wait until it is ready; ``begin``: what runs the command."""
        if policy:
            self.policy(policy)
        starts = self.log.read_text().count("started with policy") if self.log.exists() else 0
        argv = [
            *begin, str(Path(sys.executable).with_name("oomkit")), "guard",
            "--policy", str(self.directory / "policy.toml"),
            "--drill", str(self.signals), "--journal", str(self.journal),
            "--state", str(self.state), "--act" if act else "--dry-run", *options,
        ]  # fmt: skip
        self.guard_pid = int(self.ask("start", argv, out=str(self.log), **named))
        self.until(
            lambda: (
                self.log.read_text().count("started with policy") > starts
                or not self.alive(self.guard_pid)
            ),
            "the guard starts",
        )
        assert self.alive(self.guard_pid), self.log.read_text()
        return self.guard_pid

    def policy(self, text: str) -> None:
        (self.directory / "policy.toml").write_text(text)

    def memory(self, *, available: float, swap_free: float = 0.0, shmem: float = 0.0) -> None:
        """Say how much memory is left, as shares of 1 GiB, and of 1 GiB of swap."""
        text = "".join(
            f"{name + ':':<16}{kb:>8} kB\n"
            for name, kb in (
                ("MemTotal", TOTAL_KB),
                ("MemAvailable", int(TOTAL_KB * available)),
                ("AnonPages", int(TOTAL_KB * (1 - available))),
                ("Shmem", int(TOTAL_KB * shmem)),
                ("SwapTotal", TOTAL_KB if swap_free else 0),
                ("SwapFree", int(TOTAL_KB * swap_free)),
            )
        )
        _overwrite(self.signals / "meminfo", text)

    def pressure(self, total_us: int) -> None:
        line = "avg10=0.00 avg60=0.00 avg300=0.00"
        _overwrite(
            self.signals / "pressure/memory",
            f"some {line} total={total_us:012}\nfull {line} total={total_us:012}\n",
        )

    def alive(self, pid: int) -> bool:
        return bool(self.ask("alive", pid))

    def until_ranked(self, pid: int) -> None:
        """Wait until the guard has looked at a process closely, and noted its size."""
        self.until(lambda: self.ask("holds", self.guard_pid, pid), f"{pid} is ranked")

    def records(self, kind: str = "") -> list[dict[str, Any]]:
        text = self.journal.read_text() if self.journal.exists() else ""
        lines = text.split("\n")[:-1]  # the last one may be only half written
        records = [json.loads(line) for line in lines]
        return [r for r in records if kind in ("", r["kind"]) and r["kind"] != "kernel_kill"]

    def acts(self) -> list[dict[str, Any]]:
        """What is known of each act at last."""
        return list({record["id"]: record for record in self.records("act")}.values())

    def ended_acts(self, count: int = 1) -> list[dict[str, Any]]:
        self.until(
            lambda: sum("outcome" in act for act in self.acts()) >= count, f"{count} acts end"
        )
        return self.acts()

    def until(self, true: Callable[[], bool], what: str) -> None:
        end = time.monotonic() + PATIENCE_S
        while not true():
            assert time.monotonic() < end, (
                f"{what}: not within {PATIENCE_S} s; the guard said:\n"
                + (self.log.read_text() if self.log.exists() else "")
            )
            time.sleep(0.02)

    def until_said(self, text: str, count: int = 1) -> None:
        self.until(lambda: self.log.read_text().count(text) >= count, f"it says {text!r}")

    def close(self) -> None:
        self._stage.kill()
        self._stage.wait()
        for pipe in (self._stage.stdin, self._stage.stdout):
            if pipe is not None:
                pipe.close()


def _overwrite(path: Path, text: str) -> None:
    """Replace what a file says, in place and in one write, as its readers keep it open."""
    fd = os.open(path, os.O_WRONLY | os.O_CREAT, 0o644)
    try:
        os.pwrite(fd, text.encode(), 0)
        os.ftruncate(fd, len(text))
    finally:
        os.close(fd)
