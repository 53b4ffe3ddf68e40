"""The image, run by Podman on a node; a fact a line, in JSON."""

import contextlib
import json
import os
import subprocess
import sys
import traceback
from collections.abc import Iterator

IMAGE = "localhost/oomkit:latest"
# Nothing can be pivoted away from a guest's first file system.
CONTAINERS = "[engine]\nno_pivot_root = true\n"


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
        env={**os.environ, "HOME": "/root"},
    )  # fmt: skip
    if done.returncode > (IMAGE in argv):
        raise RuntimeError(f"{argv}: {done.returncode}: {done.stdout[-500:]}{done.stderr[-1500:]}")
    return done.stdout


@contextlib.contextmanager
def offered() -> Iterator[int]:
    """A process of the node that is offered to the killer."""
    with subprocess.Popen(["/usr/bin/sleep", "100000"]) as process:
        with open(f"/proc/{process.pid}/oom_score_adj", "w") as file:
            file.write("500")
        try:
            yield process.pid
        finally:
            process.kill()


def image() -> None:
    """What needs no privileges, and no cluster."""
    with open("/etc/containers/containers.conf", "w") as file:
        file.write(CONTAINERS)
    run("podman", "load", "-q", "-i", "/oomkit.oci")
    (loaded,) = run("podman", "images", "-q", "--no-trunc").split()
    run("podman", "tag", loaded, IMAGE)
    plain = ("podman", "run", "--rm", "--network", "none", "--read-only")
    say("version", run(*plain, IMAGE, "--version"))
    user = ("import os; print(os.getuid(), os.getgid())",)
    say("user", run(*plain, "--entrypoint", "/usr/bin/python3", IMAGE, "-c", *user))
    scenario = "/usr/share/oomkit/scenarios/leak-among-innocents.toml"
    say("run", run(*plain, IMAGE, "run", scenario))
    with offered() as pid:
        ranked = run(*plain, "--pid", "host", IMAGE, "rank", "--json")
        say("rank", {"offered": pid, **json.loads(ranked)})


def main() -> None:
    for module in sorted(os.listdir("/modules")):
        run("insmod", f"/modules/{module}")
    try:
        image()
    except Exception:
        say("error", traceback.format_exc())
    with open("/proc/sysrq-trigger", "w") as file:
        file.write("o")


if __name__ == "__main__":
    main()
