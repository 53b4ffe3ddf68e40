"""For what runs as a service of a guest: facts to the serial line, and systemd asked."""

import json
import subprocess
import sys
import time
from collections.abc import Callable

UNIT = "oomkit-guard.service"
PATIENCE_S = 60.0


def say(name: str, fact: object) -> None:
    sys.stdout.write(json.dumps([name, fact]) + "\n")
    sys.stdout.flush()


def run(*argv: str) -> str:
    done = subprocess.run(argv, capture_output=True, text=True, check=False)
    return done.stdout if not done.returncode else f"{argv}: {done}"


def shown(unit: str, *properties: str) -> dict[str, str]:
    lines = run("systemctl", "show", unit, "-p", ",".join(properties)).splitlines()
    return dict(line.split("=", 1) for line in lines)


def journal() -> str:
    return run("journalctl", "--no-pager", "-u", UNIT, "-o", "cat")


def until(true: Callable[[], bool], every_s: float = 0.2) -> bool:
    """Wait for something; asking takes a quarter of the guest's only CPU at most."""
    end = time.monotonic() + PATIENCE_S
    while (began := time.monotonic()) < end:
        if true():
            return True
        time.sleep(max(every_s, 3 * (time.monotonic() - began)))
    return False


def main_pid() -> int:
    return int(shown(UNIT, "MainPID")["MainPID"])


def finish(check: Callable[[], None]) -> None:
    """Run a check, say what it raised and what the guard logged, and power off."""
    try:
        check()
    except Exception as error:
        say("error", repr(error))
    say("journal", journal())
    with open("/proc/sysrq-trigger", "w") as file:
        file.write("o")
