"""The image run by Podman, and its pod by a kubelet, or by Podman; a fact a line, in JSON."""

import contextlib
import glob
import json
import os
import shutil
import subprocess
import sys
import time
import traceback
import urllib.request
from collections.abc import Callable, Iterator
from typing import Any

IMAGE = "localhost/oomkit:latest"
PAUSE = "localhost/pause:1"
CONTAINERS = f"""[engine]
# Nothing can be pivoted away from a guest's first file system.
no_pivot_root = true
infra_image = "{PAUSE}"
"""
STATE = "/var/lib/oomkit"
PODS = "/etc/kubernetes/manifests"
KUBELET = "/usr/bin/kubelet"
NODE = "node1"
NETWORK = {"cniVersion": "0.4.0", "name": "pods", "plugins": [{
    "type": "ptp", "ipMasq": False,
    "ipam": {"type": "host-local", "subnet": "10.88.0.0/16", "routes": [{"dst": "0.0.0.0/0"}]},
}]}  # fmt: skip
CONTAINERD = f"""version = 2
[plugins."io.containerd.grpc.v1.cri"]
sandbox_image = "{PAUSE}"
[plugins."io.containerd.grpc.v1.cri".cni]
bin_dir = "/usr/lib/cni"
[plugins."io.containerd.grpc.v1.cri".containerd.runtimes.runc]
runtime_type = "io.containerd.runc.v2"
[plugins."io.containerd.grpc.v1.cri".containerd.runtimes.runc.options]
NoPivotRoot = true
"""
HOG = """
import mmap, time
held = []
def read(name):
    with open("/proc/meminfo") as file:
        return next(int(line.split()[1]) for line in file if line.startswith(name))
total = read("MemTotal")
while read("MemAvailable") > {left} * total:
    block = mmap.mmap(-1, 4 << 20)
    block.write(b"x" * (4 << 20))
    held.append(block)
print("filled", flush=True)
time.sleep(100000)
"""
LOW = 0.015
"""Below the 2 % at which the default policy acts where there is no swap."""
PATIENCE_S = 900.0


def say(name: str, fact: object) -> None:
    sys.stdout.write(json.dumps([name, fact]) + "\n")
    sys.stdout.flush()


def run(*argv: str, said: bool = False) -> str:
    """What a command prints, with what it says on standard error where asked for.

    Raises:
        RuntimeError: it failed; oomkit's exit status 1 is an answer.
    """
    done = subprocess.run(
        argv, capture_output=True, text=True, check=False, stdin=subprocess.DEVNULL,
        env={**os.environ, "HOME": "/root"},
    )  # fmt: skip
    if done.returncode > (IMAGE in argv):
        raise RuntimeError(f"{argv}: {done.returncode}: {done.stdout[-500:]}{done.stderr[-1500:]}")
    return done.stdout + (done.stderr if said else "")


def until(what: str, true: Callable[[], bool]) -> None:
    end = time.monotonic() + PATIENCE_S
    while not true():
        if time.monotonic() > end:
            raise TimeoutError(what)
        time.sleep(0.2)


def read(path: str) -> str:
    try:
        with open(path) as file:
            return file.read()
    except OSError:
        return ""


def records() -> list[dict[str, object]]:
    """What the guard's journal on the node holds in whole lines."""
    lines = read(f"{STATE}/journal.jsonl").split("\n")[:-1]
    return [json.loads(line) for line in lines]


def acts(before: int) -> list[dict[str, object]]:
    """Those that are over, after so many records."""
    return [one for one in records()[before:] if one["kind"] == "act" and one.get("outcome")]


@contextlib.contextmanager
def hog(left: float) -> Iterator[int]:
    """A process of the node that fills its memory, but for that share."""
    code = HOG.format(left=left)
    with subprocess.Popen(["/usr/bin/python3", "-c", code], stdout=subprocess.PIPE) as process:
        with open(f"/proc/{process.pid}/oom_score_adj", "w") as file:
            file.write("500")
        try:
            yield process.pid
        finally:
            process.kill()


def guards() -> list[int]:
    """Processes that are one, whichever way they were started."""
    paths = glob.glob("/proc/[0-9]*/cmdline")
    return [int(p.split("/")[2]) for p in paths if "oomkit/guard/bootstrap.py" in read(p)]


def running() -> dict[str, Any] | None:
    """The status that a guard wrote about itself, as a whole, in its own mounts."""
    for pid in guards():
        try:
            found: dict[str, Any] = json.loads(read(f"/proc/{pid}/root/run/oomkit/status.json"))
        except ValueError:
            continue  # none yet, or half of one
        if found["pid"] == pid and found["n"] == found["end"]:
            return found
    return None


def watched(name: str) -> None:
    """Say what a guard that was just started is, and what it does once memory is low."""
    found: dict[str, Any] = {}

    def runs() -> bool:
        found.update(running() or {})
        return found != {}

    until(f"{name}: a guard runs and writes its status", runs)
    pid = found["pid"]
    fields = dict(
        line.split(":", 1) for line in read(f"/proc/{pid}/status").splitlines() if ":" in line
    )
    cgroup = read(f"/proc/{pid}/cgroup").strip().rpartition(":")[2]
    above = [cgroup.rsplit("/", i)[0] for i in range(cgroup.count("/"))]
    limits = {read(f"/sys/fs/cgroup{path}/memory.max").strip() for path in above}
    say(name, {
        "status": found,
        "limits": sorted(limits - {"max"}),
        "capabilities": fields["CapEff"].strip(),
        "new privileges": fields["NoNewPrivs"].strip(),
        "seccomp": fields["Seccomp"].strip(),
        "adj": int(read(f"/proc/{pid}/oom_score_adj")),
        "mounts": [line.split()[4:6] for line in read(f"/proc/{pid}/mountinfo").splitlines()],
    })  # fmt: skip
    before = len(records())
    with hog(LOW) as victim:
        until(f"{name}: it acts", lambda: acts(before) != [])
        say(f"{name} acts", {"victim": victim, "acts": acts(before)})


def image() -> None:
    """What needs no privileges, and no cluster."""
    with open("/etc/containers/containers.conf", "w") as file:
        file.write(CONTAINERS)
    os.makedirs("/pause/bin")
    shutil.copy("/bin/busybox", "/pause/bin/busybox")
    run("tar", "-C", "/pause", "-cf", "/pause.tar", ".")
    run("podman", "import", "--change", 'CMD ["/bin/busybox","sleep","100000"]', "/pause.tar",
        PAUSE)  # fmt: skip
    run("podman", "load", "-q", "-i", "/oomkit.oci")
    (loaded,) = {*run("podman", "images", "-q", "--no-trunc").split()} - {
        *run("podman", "images", "-q", "--no-trunc", PAUSE).split()
    }
    run("podman", "tag", loaded, IMAGE)
    plain = ("podman", "run", "--rm", "--network", "none", "--read-only")
    say("version", run(*plain, IMAGE, "--version"))
    user = ("import os; print(os.getuid(), os.getgid())",)
    say("user", run(*plain, "--entrypoint", "/usr/bin/python3", IMAGE, "-c", *user))
    scenario = "/usr/share/oomkit/scenarios/leak-among-innocents.toml"
    say("run", run(*plain, IMAGE, "run", scenario))
    with hog(0.5) as pid:
        seen = (*plain, "--pid", "host", IMAGE, "rank", "--json")
        say("rank", {"hog": pid, **json.loads(run(*seen))})


def podman() -> None:
    for name in ("manifest", "chart"):
        run("podman", "kube", "play", "--network", "none", f"/{name}.yaml")
        watched(name)
        ran = run("podman", "ps", "-q").split()
        say(f"{name} log", "".join(run("podman", "logs", one, said=True) for one in ran))
        run("podman", "kube", "down", f"/{name}.yaml")
        until("no guard is left", lambda: not guards())


def kubelet() -> None:
    # A node has an address that it is reached by.
    run("ip", "link", "set", "lo", "up")
    run("ip", "address", "add", "192.0.2.1/24", "dev", "lo")
    run("ip", "route", "add", "default", "dev", "lo")
    os.makedirs("/etc/cni/net.d", exist_ok=True)
    with open("/etc/cni/net.d/10-pods.conflist", "w") as file:
        json.dump(NETWORK, file)
    with open("/etc/containerd/config.toml", "w") as file:
        file.write(CONTAINERD)
    run("podman", "save", "--format", "oci-archive", "-o", "/pause.oci", PAUSE)
    run("systemctl", "start", "containerd")
    into = ("ctr", "-n", "k8s.io", "images", "import")
    run(*into, "/pause.oci")
    run(*into, "--base-name", "docker.io/library/oomkit", "/oomkit.oci")
    os.makedirs(PODS)
    with open("/kubelet.log", "w") as log, subprocess.Popen(
        [KUBELET, "--pod-manifest-path", PODS, "--fail-swap-on=false",
         "--container-runtime=remote",
         "--container-runtime-endpoint=unix:///run/containerd/containerd.sock",
         "--cgroup-driver=cgroupfs", "--read-only-port=10255", f"--hostname-override={NODE}",
         "--eviction-hard=memory.available<1Mi", "--file-check-frequency=1s",
         "--resolv-conf="],
        stdout=log, stderr=log,
    ) as process:  # fmt: skip
        try:
            for name in ("manifest", "chart"):
                on_kubelet(name)
        finally:
            process.terminate()


def on_kubelet(name: str) -> None:
    """Have it start a pod, and end it."""
    with open(f"/{name}.json") as file:
        metadata = json.load(file)["metadata"]
    known = (metadata["namespace"], f"{metadata['name']}-{NODE}")
    shutil.copy(f"/{name}.json", f"{PODS}/{name}.json")
    watched(name)
    until(f"{name}: the kubelet says that it runs", lambda: status(*known)["phase"] == "Running")
    pod = status(*known)
    say(f"{name} pod", pod)
    logs = glob.glob(f"/var/log/pods/{'_'.join(known)}_*/guard/*.log")
    say(f"{name} log", "".join(read(path) for path in logs))
    if name == "chart":
        address = f"http://{pod['podIP']}:9798/metrics"
        until("metrics are served", lambda: "oomkit_guard_up" in fetched(address))
        say("metrics", fetched(address))
    os.unlink(f"{PODS}/{name}.json")
    until("no guard is left", lambda: not guards())


def fetched(address: str) -> str:
    """What is served there; empty: nothing yet."""
    try:
        with urllib.request.urlopen(address, timeout=60) as answer:
            text: str = answer.read().decode()
    except OSError:
        return ""
    return text


def status(namespace: str, name: str) -> dict[str, str]:
    """What the kubelet says of a pod."""
    pods = json.loads(fetched("http://127.0.0.1:10255/pods") or "{}").get("items") or []
    found: list[dict[str, str]] = [
        pod["status"] for pod in pods
        if (pod["metadata"]["namespace"], pod["metadata"]["name"]) == (namespace, name)
    ]  # fmt: skip
    return found[0] if found else {"phase": "unknown"}


def main() -> None:
    for module in sorted(os.listdir("/modules")):
        run("insmod", f"/modules/{module}")
    for name in ("pods", "containers"):
        os.makedirs(f"/var/log/{name}", exist_ok=True)  # the kubelet makes them
    try:
        image()
        if os.path.exists(KUBELET):
            kubelet()
        else:
            podman()
        say("over", None)
    except Exception:
        say("error", traceback.format_exc() + "".join(
            read(path)[-2000:]
            for path in ("/proc/meminfo", f"{STATE}/journal.jsonl", "/kubelet.log",
                         *glob.glob("/var/log/pods/*/guard/*.log"))
        ))  # fmt: skip
    with open("/proc/sysrq-trigger", "w") as file:
        file.write("o")


if __name__ == "__main__":
    main()
