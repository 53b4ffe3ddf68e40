"""What ``oomkit exec`` does for an ordinary user whose service systemd delegates a cgroup to."""

import json
import os
import subprocess
import sys
from pathlib import Path

FILL = "import sys; bytearray(int(sys.argv[1]) << 20)"
UNIT = """
[Service]
Type=oneshot
User=worker
Group=worker
Delegate={delegate}
RemainAfterExit=yes
WorkingDirectory=/tmp
ExecStart=/usr/local/bin/oomkit exec --json /tmp/{name}.json {command}
StandardOutput=file:/tmp/{name}.out
StandardError=file:/tmp/{name}.err
"""


def say(name: str, fact: object) -> None:
    sys.stdout.write(json.dumps([name, fact]) + "\n")
    sys.stdout.flush()


def run(*argv: str) -> str:
    done = subprocess.run(argv, capture_output=True, text=True, check=False)
    return done.stdout + done.stderr


def play(name: str, command: str, *, delegate: str = "yes") -> None:
    """Run a command as a service of its own, and report what came of it."""
    unit = Path(f"/run/systemd/system/{name}.service")
    unit.parent.mkdir(parents=True, exist_ok=True)
    unit.write_text(UNIT.format(name=name, command=command, delegate=delegate))
    run("systemctl", "daemon-reload")
    run("systemctl", "start", f"{name}.service")
    record = Path(f"/tmp/{name}.json")
    shown = run("systemctl", "show", f"{name}.service", "-p", "ExecMainStatus,ExecMainCode")
    say(name, {
        "record": json.loads(record.read_text()) if record.exists() else None,
        "shown": dict(line.split("=", 1) for line in shown.splitlines() if "=" in line),
        "out": Path(f"/tmp/{name}.out").read_text() if os.path.exists(f"/tmp/{name}.out") else "",
        "err": Path(f"/tmp/{name}.err").read_text() if os.path.exists(f"/tmp/{name}.err") else "",
    })  # fmt: skip


def main() -> None:
    with open("/etc/passwd", "a") as file:
        file.write("worker:x:1000:1000:worker:/tmp:/bin/false\n")
    with open("/etc/group", "a") as file:
        file.write("worker:x:1000:\n")
    os.chmod("/tmp", 0o1777)
    run("systemctl", "stop", "oomkit-guard.service")
    python = os.path.realpath(sys.executable)
    fill = f"-- {python} -IS -c '{FILL}'"
    play("fits", f"--limit 100M {fill} 40")
    play("over", f"--limit 40M --swap 0 {fill} 100")
    child = (
        "import subprocess, sys; "
        "subprocess.run([sys.executable, '-IS', '-c', 'bytearray(100 << 20)']); sys.exit(3)"
    )
    play("grandchild", f'--limit 60M --swap 0 --adj 300 -- {python} -IS -c "{child}"')
    play("undelegated", f"--limit 40M {fill} 10", delegate="no")
    run("systemctl", "poweroff", "--force", "--force")


if __name__ == "__main__":
    try:
        main()
    except BaseException as error:
        say("error", repr(error))
        run("systemctl", "poweroff", "--force", "--force")
        raise
