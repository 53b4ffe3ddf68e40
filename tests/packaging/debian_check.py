"""What a guest with Debian finds out about oomkit's package; a fact a line, in JSON."""

import json
import os
import shutil
import subprocess
import sys
import time
from collections.abc import Callable

UNIT = "oomkit-guard.service"
SETTINGS = "/etc/default/oomkit-guard"
JOURNAL = "/var/lib/oomkit/journal.jsonl"
MINE = '# mine\nOOMKIT_GUARD_OPTIONS="--dry-run --policy earlyoom"\n'
DATABASE = "/usr/local/bin/postgres"
DATABASE_UNIT = "/etc/systemd/system/db.service"
DATABASE_RUNS = """#!/bin/sh
python3 -c 'import time; held = "x" * (50 << 20); open("/run/db.ready", "w"); time.sleep(100000)' &
wait
"""
PATIENCE_S = 60.0


def say(name: str, fact: object) -> None:
    sys.stdout.write(json.dumps([name, fact]) + "\n")
    sys.stdout.flush()


def run(*argv: str) -> tuple[int, str]:
    done = subprocess.run(
        argv, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, check=False,
        env={**os.environ, "DEBIAN_FRONTEND": "noninteractive", "HOME": "/root"},
    )  # fmt: skip
    return done.returncode, done.stdout


def shown(name: str) -> str:
    return run("systemctl", "show", UNIT, "-p", name)[1].strip().partition("=")[2]


def within_patience(true: Callable[[], bool]) -> bool:
    end = time.monotonic() + PATIENCE_S
    while not true():
        if time.monotonic() > end:
            return False
        time.sleep(0.5)
    return True


def active() -> bool:
    return within_patience(lambda: shown("ActiveState") == "active")


def left() -> list[str]:
    """What is named after oomkit, but for the packages themselves and the system's log."""
    found = []
    for top in ("etc", "usr", "var", "run", "root", "lib"):
        for above, directories, files in os.walk(f"/{top}"):
            found += [f"{above}/{n}" for n in (*directories, *files) if "oomkit" in n]
    return sorted(found)


def lines() -> int:
    with open(JOURNAL) as file:
        return len(file.readlines())


def installed() -> None:
    say("install", run("dpkg", "-i", "/old.deb"))
    say("active", active())
    say("enabled", run("systemctl", "is-enabled", UNIT)[1].strip())
    say("status", shown("StatusText"))
    say("version", run("oomkit", "--version")[1].strip())
    say("preset", run("systemctl", "preset", UNIT)[0])
    for name in ("command", "service"):
        say(f"autopkgtest {name}", run(f"/autopkgtest/{name}"))
    say("bytecode", os.path.isdir("/usr/lib/oomkit/oomkit/__pycache__"))


def doctored() -> None:
    """A service with systemd's own settings is looked at before and after the proposed drop-ins."""
    with open(DATABASE, "w") as file:
        file.write(DATABASE_RUNS)
    os.chmod(DATABASE, 0o755)
    with open(DATABASE_UNIT, "w") as file:
        file.write(f"[Service]\nExecStart={DATABASE}\n")
    run("systemctl", "daemon-reload")
    run("systemctl", "start", "db.service")
    say("database", within_patience(lambda: os.path.exists("/run/db.ready")))
    say("doctor", run("oomkit", "doctor", "--json", "--fix-dir", "/fixes"))
    shutil.copytree(f"/fixes{DATABASE_UNIT}.d", f"{DATABASE_UNIT}.d")
    run("systemctl", "daemon-reload")
    say("doctor again", run("oomkit", "doctor", "--json"))
    run("systemctl", "stop", "db.service")
    shutil.rmtree("/fixes")
    shutil.rmtree(f"{DATABASE_UNIT}.d")
    os.unlink(DATABASE_UNIT)


def upgraded() -> None:
    with open(SETTINGS, "w") as file:
        file.write(MINE)
    before, pid = lines(), shown("MainPID")
    say("upgrade", run("dpkg", "-i", "/new.deb"))
    say("active again", active())
    say("another process", shown("MainPID") != pid)
    say("status by my settings", shown("StatusText"))
    with open(SETTINGS) as file:
        say("settings kept", file.read() == MINE)
    say("history kept", lines() > before > 0)


def removed() -> None:
    say("remove", run("dpkg", "-r", "oomkit"))
    say("stopped", shown("ActiveState"))
    say("kept", [p for p in left() if p.startswith(("/etc/default", "/var/lib/oomkit", "/usr"))])


def purged() -> None:
    say("purge", run("dpkg", "-P", "oomkit"))
    say("left", left())


def by_single_file() -> None:
    """No package any more: the single file makes itself a service, and takes that away again."""
    say("installs itself", run("/opt/oomkit.pyz", "guard", "--install", "--act"))
    say("itself active", active())
    say("itself enabled", run("systemctl", "is-enabled", UNIT)[1].strip())
    say("itself status", shown("StatusText"))
    say("itself again", run("/opt/oomkit.pyz", "guard", "--install"))
    say("uninstalls itself", run("/opt/oomkit.pyz", "guard", "--uninstall"))
    say("itself stopped", shown("ActiveState"))
    say("itself left", [path for path in left() if not path.startswith("/root/.shiv")])


def main() -> None:
    try:
        for step in (installed, doctored, upgraded, removed, purged, by_single_file):
            step()
    except Exception as error:
        say("error", repr(error))
    say("log", run("journalctl", "--no-pager", "-u", UNIT, "-o", "cat")[1])
    with open("/proc/sysrq-trigger", "w") as file:
        file.write("o")


if __name__ == "__main__":
    main()
