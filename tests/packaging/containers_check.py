"""What oomkit says of containers of a real Podman and containerd; a fact a line, in JSON."""

import json
import os
import re
import subprocess
import sys
import time
import traceback
from collections.abc import Callable

CGROUPS = "/sys/fs/cgroup"
BIG_MIB, SMALL_MIB, LIMIT_MIB = 60, 5, 96
IMAGE = "localhost/shop:1"
SCRIPT = """
mkfifo /go /never
awk 'BEGIN { s = "x"; for (i = 0; i < 20; i++) s = s s; for (i = 0; i < BIG; i++) a[i] = s i;
    getline < "/never" }' &
awk 'BEGIN { s = "x"; for (i = 0; i < 20; i++) s = s s; for (i = 0; i < SMALL; i++) a[i] = s i;
    getline < "/go"; for (;;) a[i++] = s i }' &
sleep 100000
""".replace("BIG", str(BIG_MIB)).replace("SMALL", str(SMALL_MIB))
"""One holds much. Another holds little, and grows without end once it may."""
PATIENCE_S = 300.0


def say(name: str, fact: object) -> None:
    sys.stdout.write(json.dumps([name, fact]) + "\n")
    sys.stdout.flush()


def run(*argv: str) -> str:
    """What a command prints.

    Raises:
        RuntimeError: it failed; oomkit's exit status 1 is an answer.
    """
    done = subprocess.run(
        argv, capture_output=True, text=True, check=False, stdin=subprocess.DEVNULL,
        env={**os.environ, "HOME": "/root", "DEBIAN_FRONTEND": "noninteractive"},
    )  # fmt: skip
    if done.returncode > (argv[0] == "oomkit"):
        raise RuntimeError(f"{argv}: {done.returncode}: {done.stdout[-500:]}{done.stderr[-1500:]}")
    return done.stdout


def until(true: Callable[[], bool]) -> None:
    end = time.monotonic() + PATIENCE_S
    while not true():
        if time.monotonic() > end:
            raise TimeoutError(true.__doc__)
        time.sleep(0.2)


def number(path: str) -> int:
    with open(path) as file:
        return int(file.read())


def limit_of(group: str) -> str:
    with open(f"{CGROUPS}{group}/memory.max") as file:
        return file.read().strip()


def first_kill(group: str) -> tuple[str, str, str] | None:
    """The group that ran out, the victim's, and the victim, once the kernel's log has it all."""
    log = run("dmesg")
    for found in re.finditer(r"oom_memcg=(\S+?),task_memcg=(\S+?),\S*?,pid=(\d+)", log):
        if found[1] == group and f"Killed process {found[3]} " in log[found.end() :]:
            return found[1], found[2], found[3]
    return None


def image() -> None:
    """An image of a static busybox, from a directory; no registry is asked."""
    os.makedirs("/image/bin")
    os.makedirs("/image/tmp")
    run("cp", "/usr/bin/busybox", "/image/bin/busybox")
    for name in ("sh", "awk", "mkfifo", "sleep"):
        os.symlink("busybox", f"/image/bin/{name}")
    run("tar", "-C", "/image", "-cf", "/image.tar", ".")
    # Nothing can be pivoted away from a guest's first file system.
    with open("/etc/containers/containers.conf", "w") as file:
        file.write("[engine]\nno_pivot_root = true\n")
    run("podman", "import", "/image.tar", IMAGE)


def played(name: str, pid: int) -> None:
    """Say what oomkit says of a container before and after the kernel kills in it."""
    with open(f"/proc/{pid}/cgroup") as file:
        group = file.read().strip().rpartition(":")[2]
    above = [group.rsplit("/", i)[0] for i in range(group.count("/"))]
    # Its runtime may limit a group inside of it as well; that of the container is the outermost.
    limited = [one for one in above if limit_of(one) != "max"][-1]
    directory = f"{CGROUPS}{limited}"

    def filled() -> bool:
        """Both processes hold what they hold."""
        return number(f"{directory}/memory.current") >= (BIG_MIB + SMALL_MIB) << 20

    def killed() -> bool:
        """The kernel has killed."""
        return first_kill(limited) is not None

    until(filled)
    facts: dict[str, object] = {"group": group, "limited": limited}
    facts["table"] = json.loads(run("oomkit", "cgroup", "--json"))
    facts["shown"] = run("oomkit", "cgroup")
    facts["cgroup"] = json.loads(run("oomkit", "cgroup", name, "--json"))
    facts["rank"] = json.loads(run("oomkit", "rank", "--cgroup", name, "--json"))
    facts["rank shown"] = run("oomkit", "rank", "--top", "0")
    with open(f"/proc/{pid}/root/go", "w") as file:
        file.write("\n")
    until(killed)
    facts["kernel"] = first_kill(limited)
    lines = run("oomkit", "explain", "--json").splitlines()
    reports = [json.loads(line) for line in lines]
    facts["explain"] = next((one for one in reports if one.get("cgroup") == limited), reports)
    facts["explained"] = run("oomkit", "explain", "--last", "0")
    facts["why"] = json.loads(run("oomkit", "why", name, "--json"))
    facts["why shown"] = run("oomkit", "why", name)
    say(name, facts)


def podman() -> None:
    run("podman", "run", "-d", "--name", "web", "--network", "none", "--memory", f"{LIMIT_MIB}m",
        "--memory-swap", f"{LIMIT_MIB}m", IMAGE, "sh", "-c", SCRIPT)  # fmt: skip
    say("podman id", run("podman", "inspect", "-f", "{{.Id}}", "web").strip())
    played("web", int(run("podman", "inspect", "-f", "{{.State.Pid}}", "web")))
    run("podman", "rm", "-f", "-t", "0", "web")


def containerd() -> None:
    run("podman", "save", "--format", "oci-archive", "-o", "/image.oci", IMAGE)
    run("systemctl", "start", "containerd")
    run("ctr", "images", "import", "/image.oci")
    run("ctr", "run", "-d", "--no-pivot", "--memory-limit", str(LIMIT_MIB << 20), IMAGE, "cart",
        "sh", "-c", SCRIPT)  # fmt: skip
    tasks = [line.split() for line in run("ctr", "tasks", "ls").splitlines()]
    played("cart", next(int(words[1]) for words in tasks if words[0] == "cart"))


def main() -> None:
    try:
        for module in sorted(os.listdir("/modules")):
            run("insmod", f"/modules/{module}")
        say("versions", [run("podman", "--version"), run("containerd", "--version")])
        image()
        podman()
        containerd()
    except Exception:
        say("error", traceback.format_exc())
    with open("/proc/sysrq-trigger", "w") as file:
        file.write("o")


if __name__ == "__main__":
    main()
