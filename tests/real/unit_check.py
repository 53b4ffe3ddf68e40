"""What a guest under systemd finds out about the guard's unit; a fact a line, in JSON."""

import os
import signal
import sys
import time
from functools import partial

from tests.real.in_guest import UNIT, finish, journal, main_pid, run, say, shown, until

HOG = """
import time
held = []
while True:
    held.append(b"x" * (4 << 20))
    time.sleep(0.02)
"""

FILLER = """
import time
with open("/run/filled", "wb", buffering=0) as file:
    while True:
        file.write(bytes(4 << 20))
        time.sleep(0.05)
"""


def tells(text: str) -> bool:
    return text in journal()


def restarted_since(before: int) -> bool:
    return restarts() > before


def restarts() -> int:
    return int(shown(UNIT, "NRestarts")["NRestarts"])


def started() -> None:
    until(lambda: shown(UNIT, "ActiveState")["ActiveState"] == "active")
    say("state", shown(UNIT, "ActiveState", "SubState", "StatusText", "Result"))
    with open(f"/proc/{main_pid()}/status") as file:
        status = {name: rest.strip() for name, _, rest in (line.partition(":") for line in file)}
    sizes = ("RssAnon", "RssFile", "RssShmem")
    say("process", {k: status[k] for k in ("NoNewPrivs", "Seccomp", *sizes)})
    say("locked_kb", int(status["VmLck"].split()[0]))
    say("capabilities", int(status["CapBnd"], 16))
    with open(f"/proc/{main_pid()}/oom_score_adj") as file:
        say("adj", int(file.read()))
    say("files", {
        path: oct(os.stat(path).st_mode & 0o777)
        for path in (
            "/var/lib/oomkit/journal.jsonl", "/var/lib/oomkit/recording",
            "/run/oomkit/status.json", "/run/oomkit/guard.state",
        )
    })  # fmt: skip


def victims() -> None:
    for name, code, path in (("hog", HOG, ""), ("filler", FILLER, "/run/filled")):
        run("systemd-run", "-q", f"--unit={name}", sys.executable, "-c", code)
        gone = f"[{shown(name, 'MainPID')['MainPID']}] exited"
        say(name, until(partial(tells, gone)))
        if path:
            os.unlink(path)
        time.sleep(1.0)
    with open("/proc/vmstat") as file:
        say("oom_kill", next(int(line.split()[1]) for line in file if line.startswith("oom_kill ")))


def restarted() -> None:
    for name, number in (("watchdog", signal.SIGSTOP), ("killed", signal.SIGKILL)):
        before = restarts()
        os.kill(main_pid(), number)
        until(partial(restarted_since, before))
        say(name, until(lambda: shown(UNIT, "ActiveState")["ActiveState"] == "active"))


def check() -> None:
    os.makedirs(f"/run/systemd/system/{UNIT}.d")
    with open(f"/run/systemd/system/{UNIT}.d/sooner.conf", "w") as file:
        file.write("[Service]\nWatchdogSec=6\n")
    run("mount", "-o", "remount,size=90%", "/run")
    os.makedirs("/run/user/1000", mode=0o700)
    with open("/run/user/1000/bus", "w"):
        os.chown("/run/user/1000", 1000, 1000)
    started()
    security = run("systemd-analyze", "security", "--offline=true", "--no-pager",
                   f"/usr/lib/systemd/system/{UNIT}")  # fmt: skip
    say("exposure", security.strip().splitlines()[-1:])
    run("systemctl", "daemon-reload")
    say("reload", run("systemctl", "reload", UNIT))
    say("reread", until(lambda: "policy reloaded" in journal()))
    run("systemctl", "restart", UNIT)
    victims()
    restarted()
    say(
        "history",
        run("/usr/local/bin/oomkit", "history", "--journal", "/var/lib/oomkit/journal.jsonl"),
    )


if __name__ == "__main__":
    finish(check)
