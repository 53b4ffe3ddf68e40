"""What a guest under systemd finds out about attacks on its guard: a verdict each.

The guard is the service as installed, armed, in its sandbox. How short memory is, it reads from
files, so that each attack has the time that it needs.
"""

import contextlib
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterable
from typing import Any

from tests.guard import actors
from tests.guard.installed_full import full_table
from tests.guard.installed_stage import (
    ATTACK,
    ATTACKER,
    CGROUPS,
    COMMON,
    FROZEN,
    GROUPED,
    HARD,
    HELD_MIB,
    JOURNAL,
    METRICS,
    OWN_UNIT,
    POLICY,
    SETTINGS,
    SHELTERED,
    SOFT,
    TOTAL_KB,
    Actor,
    acts,
    end_all,
    enter,
    living,
    memory,
    records,
    recovered,
    reload,
    started,
    verdict,
    warned,
)  # fmt: skip
from tests.real.in_guest import UNIT, finish, journal, main_pid, run, say, shown, until

FIRST = "/var/attack/policy"
LATE = 4321
FAR = ("x" * 100_000, "y" * 20_000, "--precious")


def spared_whatever_they_do() -> None:
    """All of these are larger than who may be chosen, and become protected in time."""
    python = os.path.realpath(sys.executable)
    spared: dict[str, Actor] = {}
    moved = spared["it moves into a protected cgroup"] = Actor("plain", "moved", HELD_MIB)
    lowered = spared["its adjustment becomes -1000"] = Actor("plain", "lowered", HELD_MIB)
    drops = spared["it becomes a protected user"] = Actor("drops", "drops", HELD_MIB, 1)
    spared["its user is named later"] = Actor("plain", "late", HELD_MIB, uid=LATE)
    becomes = spared["it becomes a protected program of its name"] = Actor(
        "becomes", "prog", "/opt/safe/prog", "-IS", actors.__file__, "plain", "prog", HELD_MIB
    )
    far = spared["its cgroup is too deep to be told"] = Actor("plain", "far", HELD_MIB)
    spared["a word behind 120 kB of arguments protects it"] = Actor(
        "padded", "long", HELD_MIB, *FAR, program=python
    )
    spared["it may have that word in 16 MiB of arguments"] = Actor("forged", "forged", 24, 16)
    spared["its leading thread has exited"] = Actor(
        "leaderless", "leaderless", HELD_MIB, cgroup=SHELTERED
    )
    spared["its threads come and go"] = Actor("relay", "relay", HELD_MIB, cgroup=SHELTERED)
    spared["its program was deleted by an upgrade"] = Actor(
        "plain", "gone", HELD_MIB, program="/opt/safe/gone"
    )
    os.unlink("/opt/safe/gone")
    shares = spared["a protected one shares its memory"] = Actor(
        "sharing", "shares", HELD_MIB, "precious"
    )
    inits = {
        "an init takes a protected one along": Actor(
            "container", "init", HELD_MIB, "precious-1", 1
        ),
        "an init without its leading thread takes a protected one along": Actor(
            "container", "init", HELD_MIB, "precious-2", 1, "leaderless"
        ),
    }
    beside = Actor("plain", "precious", 1, cgroup=GROUPED)
    decoy = Actor("plain", "decoy", HELD_MIB // 2)
    warned()
    enter(SHELTERED, moved.pid)
    actors.write(f"/proc/{lowered.pid}/oom_score_adj", "-1000")
    os.kill(drops.pid, signal.SIGUSR1)
    until(lambda: "\nUid:\t1\t" in actors.read(f"/proc/{drops.pid}/status"), 0.02)
    with open("/etc/passwd", "a") as file:
        file.write(f"late:x:{LATE}:{LATE}::/:/bin/false\n")
    os.kill(becomes.pid, signal.SIGUSR1)
    becomes.ready()
    enter_far_below(SHELTERED, far.pid)
    memory(HARD)
    until(lambda: not decoy.lives(), 0.02)
    held = {name: actor.lives() for name, actor in spared.items()}
    held |= {name: all(map(living, actor.said)) for name, actor in inits.items()}
    held["a protected one shares its memory"] &= living(shares.said)
    held["a protected one is in a cgroup that dies as one"] = beside.lives()
    for name, lives in held.items():
        verdict(name, held=lives and not decoy.lives(), why=f"decoy lives: {decoy.lives()}")
    recovered()


def enter_far_below(cgroup: str, pid: int) -> None:
    """Work where the path of a cgroup is longer than the kernel shows."""
    os.chdir(cgroup)
    for _ in range(24):
        os.mkdir("d" * 200)
        os.chdir("d" * 200)
    actors.write("cgroup.procs", str(pid))
    os.chdir("/")


HOOK = f"""
case "$OOMKIT_COMM" in
due-moved) echo "$OOMKIT_PID" > {SHELTERED}/cgroup.procs;;
due-lowered) echo -1000 > "/proc/$OOMKIT_PID/oom_score_adj";;
*) exit 0;;
esac
read -r up idle < /proc/uptime
echo "$OOMKIT_PID $up" >> /run/oomkit/before
"""
TRIES = 5


def protected_as_the_signal_is_due() -> None:
    """The policy's own command protects the chosen one, between choice and signal."""
    for name, what in (
        ("due-moved", "it enters a protected cgroup as the signal is due"),
        ("due-lowered", "its adjustment becomes -1000 as the signal is due"),
    ):
        for _ in range(TRIES):
            since = len(acts())
            chosen = Actor("plain", name, HELD_MIB)
            decoy = Actor("plain", "decoy", HELD_MIB // 2)
            memory(SOFT)
            until_one_dies(chosen, decoy)
            first = next(a for a in acts(since) if a["victim"]["pid"] == chosen.pid)
            lives = chosen.lives()
            recovered()
            if changed_in_time(first):
                verdict(what, held=lives and first["outcome"] == "protected", why=first)
                break
        else:
            verdict(what, held=False, why=f"the command was late {TRIES} times")


def until_one_dies(*some: Actor) -> None:
    until(lambda: not all(one.lives() for one in some), 0.02)


def changed_in_time(act: dict[str, Any]) -> bool:
    """The command had done its work before the signal; a busy host may make it late."""
    with contextlib.suppress(OSError):
        for line in actors.read("/run/oomkit/before").splitlines():
            pid, up = line.split()
            if int(pid) == act["victim"]["pid"]:
                return any(one["t_s"] > float(up) for one in act["signals"])
    return False


def protecting(name: str) -> str:
    """The policy that it began with, and one more whom it must never choose."""
    return actors.read(FIRST).replace("never = [", f'never = [{{ comm = "{name}" }}, ')


def between_the_two_signals() -> None:
    """A policy that is a FIFO first, and then protects who has had SIGTERM."""
    deaf, decoy = Actor("deaf", "deaf", HELD_MIB), Actor("plain", "decoy", HELD_MIB // 2)
    since = len(acts())
    memory(SOFT)
    until(lambda: len(acts()) > since, 0.02)
    os.unlink(POLICY)
    os.mkfifo(POLICY)
    before = len(records("reload"))
    run("systemctl", "reload", UNIT)
    until(lambda: len(records("reload")) > before, 0.05)
    refused = records("reload")[-1]
    held = not refused["ok"] and "FIFO" in refused["text"]
    verdict("a policy that is a FIFO is refused", held=held, why=refused)
    os.unlink(POLICY)
    reload(protecting("deaf"))
    memory(HARD)
    until_one_dies(decoy, deaf)
    act = acts(since)[0]
    names = [one["name"] for one in act["signals"] if not one["error"]]
    verdict("a policy protects between SIGTERM and SIGKILL", held=deaf.lives(), why=act)
    verdict("no signal follows the first", held=names == ["TERM"], why=names)
    recovered()
    reload(actors.read(FIRST))


def number_used_again() -> None:
    deaf, second = Actor("deaf", "deaf", 2 * HELD_MIB), Actor("plain", "second", HELD_MIB)
    since = len(acts())
    guard = main_pid()
    memory(SOFT)
    until(lambda: len(acts()) > since, 0.02)
    os.kill(guard, signal.SIGSTOP)
    deaf.end()
    for _ in range(50):
        actors.write("/proc/sys/kernel/ns_last_pid", str(deaf.pid - 1))
        other = Actor("plain", "other", 1)
        if other.pid == deaf.pid:
            break
        other.end()
    memory(HARD)
    os.kill(guard, signal.SIGCONT)
    until(lambda: not second.lives() and len(acts(since)) > 1, 0.02)
    first, after = acts(since)[:2]
    names = [one["name"] for one in first["signals"] if not one["error"]]
    held = other.pid == deaf.pid and names == ["TERM"] and after["victim"]["pid"] == second.pid
    verdict("another process has the victim's number", held=held, why=[first, after])
    recovered()


TRAP = """
with open("/var/lib/oomkit/ran", "a") as file:
    file.write(__name__ + "\\n")
raise ImportError("from the wrong place")
"""
TRAPS = ("json", "argparse", "marshal", "msgspec", "sitecustomize", "usercustomize", "oomkit")
HOME = "/home/attacker"


def trapped() -> None:
    """Modules of a user where the service works from now on, and in the manager's environment."""
    version = f"python{sys.version_info.major}.{sys.version_info.minor}"
    for place in (HOME, f"{HOME}/lib/{version}/site-packages"):
        os.makedirs(place, exist_ok=True)
        for name in TRAPS:
            actors.write(f"{place}/{name}.py", TRAP)
    for above, directories, files in os.walk("/home"):
        for name in (*directories, *files):
            os.chown(f"{above}/{name}", ATTACKER, ATTACKER)
    os.makedirs(f"/run/systemd/system/{UNIT}.d")
    actors.write(f"/run/systemd/system/{UNIT}.d/home.conf", f"[Service]\nWorkingDirectory={HOME}\n")
    names = ("PYTHONPATH", "PYTHONHOME", "PYTHONUSERBASE", "LD_LIBRARY_PATH")
    run("systemctl", "set-environment", *(f"{name}={HOME}" for name in names),
        *(f"{name}={HOME}/json.py" for name in ("PYTHONSTARTUP", "BASH_ENV")))  # fmt: skip
    run("systemctl", "daemon-reload")
    settings = actors.read(SETTINGS)
    actors.write(SETTINGS, settings.replace("--act", f"--act --metrics unix:{METRICS}"))


def killed_and_started_again() -> None:
    """The guard is killed between SIGTERM and SIGKILL; the next one has a policy that protects."""
    trapped()
    deaf, decoy = Actor("deaf", "deaf", HELD_MIB), Actor("plain", "decoy", HELD_MIB // 2)
    since, starts = len(acts()), len(records("start"))
    memory(SOFT)
    until(lambda: len(acts()) > since, 0.02)
    actors.write(POLICY, protecting("deaf"))
    os.kill(main_pid(), signal.SIGKILL)
    verdict("it comes back", held=started(starts))
    memory(HARD)
    until_one_dies(decoy, deaf)
    resumed = records("start")[-1]["resumed"]
    verdict("a victim that is taken over is looked at again", why=resumed,
            held=deaf.lives() and not decoy.lives() and resumed == 1)  # fmt: skip
    recovered()
    reload(actors.read(FIRST))
    ran = "/var/lib/oomkit/ran"
    verdict("users' modules are not run", held=not os.path.exists(ran),
            why=os.path.exists(ran) and actors.read(ran))  # fmt: skip


def scraped() -> bool:
    """A request is answered; while the queue of the socket is full, connecting fails at once."""
    answer = b""
    with contextlib.suppress(OSError), socket.socket(socket.AF_UNIX) as client:
        client.settimeout(20)
        client.connect(METRICS)
        client.sendall(b"GET /metrics HTTP/1.0\r\n\r\n")
        answer = client.recv(100)
    return b"200 OK" in answer


def clients_that_never_finish() -> None:
    until(lambda: os.path.exists(METRICS))
    mode = os.stat(METRICS).st_mode & 0o777
    verdict("the socket of metrics is not for all", held=mode == 0o660, why=oct(mode))
    held = []
    for _ in range(100):
        client = socket.socket(socket.AF_UNIX)
        client.settimeout(5)
        with contextlib.suppress(OSError):
            client.connect(METRICS)
            client.sendall(b"GET /metrics HTTP/1.0\r\nX: " + b"x" * 4096)
        held.append(client)
    verdict("a scrape gets through among 100 that never end", held=until(scraped, 0.5))
    for client in held:
        client.close()


def killed_whatever_they_do() -> None:
    """All of these are larger than the innocent ones, and can be chosen; commands never end."""
    since = len(acts())
    python = os.path.realpath(sys.executable)
    killed: dict[str, Actor] = {}
    killed["it is in 2,000 groups"] = Actor("in_groups", "groups", HELD_MIB, 2000)
    killed["its leading thread has exited, no rule means it"] = Actor(
        "leaderless", "headless", HELD_MIB
    )
    was = killed["it is no longer the protected program"] = Actor(
        "becomes", "prog", python, "-IS", actors.__file__, "plain", "prog", HELD_MIB,
        program="/opt/safe/prog",
    )  # fmt: skip
    left = killed["it has left the protected cgroup"] = Actor(
        "plain", "left", HELD_MIB, cgroup=SHELTERED
    )
    killed["a user calls itself sshd"] = Actor("plain", "sshd", HELD_MIB, uid=ATTACKER)
    killed["a user's unit is called sshd.service"] = Actor(
        "plain", "own-unit", HELD_MIB, uid=0, cgroup=OWN_UNIT
    )
    killed["it has 1,000 threads"] = Actor("threads", "threads", HELD_MIB, 1000)
    killed["its name is a placeholder"] = Actor("plain", "a-{cgroup}", HELD_MIB)
    killed["its name holds escapes"] = Actor("plain", "\x1b[31mred", HELD_MIB)
    killed["its name looks like a state"] = Actor("plain", ") Z 1 (", HELD_MIB)
    for kind in ("mapped", "memfd", "segment"):
        killed[f"all of its memory is shared: {kind}"] = Actor(
            kind, kind, 2 * HELD_MIB, f"{COMMON}/cgroup.procs"
        )
    killed["it is in a frozen cgroup"] = Actor(
        "plain", "frozen", HELD_MIB, uid=ATTACKER, cgroup=FROZEN
    )
    stopped = killed["it is stopped"] = Actor("plain", "stopped", HELD_MIB, uid=ATTACKER)
    innocent = [Actor("plain", "innocent", 4) for _ in range(3)]
    storm = Actor("storm", "storm")
    share = 6 * HELD_MIB / (TOTAL_KB >> 10)
    warned(shmem=share)
    os.kill(was.pid, signal.SIGUSR1)
    was.ready()
    enter(COMMON, left.pid)
    actors.write(f"{FROZEN}/cgroup.freeze", "1")
    until(lambda: "\nfrozen 1\n" in actors.read(f"{FROZEN}/cgroup.events"), 0.02)
    os.kill(stopped.pid, signal.SIGSTOP)
    memory(HARD, share)
    until(lambda: not any(actor.lives() for actor in killed.values()), 0.05)
    order = [act["victim"]["pid"] for act in acts(since)]
    first = min((order.index(one.pid) for one in innocent if one.pid in order), default=len(order))
    hanging = sum(living(pid) for pid in running("sleep"))
    names = actors.read("/run/oomkit/after").splitlines()
    for name, actor in killed.items():
        chosen = actor.pid in order[:first]
        verdict(name, held=chosen and not actor.lives(), why=f"chosen {chosen}, of {order}")
    verdict("forks go on without end beside it", held=storm.lives())
    verdict("a name is no placeholder in a command", held="a-{cgroup}" in names, why=names)
    verdict("commands that never end are bounded", held=0 < hanging <= 8, why=hanging)
    recovered()


def running(name: str) -> Iterable[int]:
    for pid in filter(str.isdigit, os.listdir("/proc")):
        with contextlib.suppress(OSError):
            if actors.read(f"/proc/{pid}/comm").strip() == name:
                yield int(pid)


def it_acts(name: str, during: Callable[[], None] = lambda: None) -> None:
    """The largest of some dies, and nobody else does before it."""
    since = len(acts())
    large = Actor("plain", "large", HELD_MIB)
    small = [Actor("plain", "small", 4) for _ in range(4)]
    during()
    memory(HARD)
    until(lambda: not large.lives(), 0.02)
    until(lambda: len(acts(since)) > 0, 0.02)
    victims = [act["victim"]["pid"] for act in acts(since)]
    verdict(name, held=not large.lives() and victims[0] == large.pid, why=victims)
    recovered()
    del small


def few_descriptors() -> None:
    """The guard itself may open few files from now on."""
    guard = main_pid()
    run("prlimit", f"--pid={guard}", "--nofile=20:4096")
    it_acts("the guard may open 20 files")
    run("prlimit", f"--pid={guard}", "--nofile=4096:4096")
    verdict("it is the same guard", held=main_pid() == guard)


def nobody_reads_its_log() -> None:
    daemon = int(shown("systemd-journald.service", "MainPID")["MainPID"])
    os.kill(daemon, signal.SIGSTOP)
    it_acts("nobody reads its log")
    since = time.monotonic()
    subprocess.run(["systemctl", "stop", UNIT], check=False, timeout=60)
    took = time.monotonic() - since
    verdict("it ends though nobody reads its log", held=took < 30, why=took)
    os.kill(daemon, signal.SIGCONT)
    verdict("what it did is recorded", held=bool(records("stop")))


def others_files() -> None:
    """What waits where root writes, though the kernel protects no links."""
    for name in ("symlinks", "hardlinks", "fifos", "regular"):
        actors.write(f"/proc/sys/fs/protected_{name}", "0")
    precious = {name: f"/var/precious-{name}" for name in ("journal", "recording", "kmsg")}
    for path in precious.values():
        actors.write(path, "precious\n")
    os.makedirs("/run/oomkit", exist_ok=True)
    actors.write(METRICS, "precious\n")
    run("systemctl", "start", UNIT)
    ended = until(lambda: shown(UNIT, "ExecMainStatus")["ExecMainStatus"] == "2")
    kept = os.path.isfile(METRICS) and actors.read(METRICS) == "precious\n"
    verdict("a file stands where the socket shall be", held=kept and ended)
    run("systemctl", "stop", UNIT)
    os.makedirs("/run/oomkit", exist_ok=True)
    actors.write(SETTINGS, actors.read(SETTINGS).replace(f"--metrics unix:{METRICS}", ""))
    os.rename(JOURNAL, "/var/kept")
    os.symlink(precious["journal"], JOURNAL)
    with contextlib.suppress(FileNotFoundError):
        os.unlink("/var/lib/oomkit/recording")
    os.link(precious["recording"], "/var/lib/oomkit/recording")
    os.mkfifo("/run/oomkit/status.json", 0o666)
    actors.write("/run/oomkit/guard.state", "made up")
    os.chown("/run/oomkit/guard.state", ATTACKER, ATTACKER)
    os.symlink(precious["kmsg"], "/run/oomkit/guard.state.kmsg")
    run("systemctl", "start", UNIT)
    active = until(lambda: shown(UNIT, "ActiveState")["ActiveState"] == "active", 0.1)
    large = Actor("plain", "large", HELD_MIB)
    memory(HARD)
    died = until(lambda: not large.lives(), 0.05)
    memory(0.9)
    verdict("it acts without any file of its own", held=active and died, why=active)
    untouched = {name: actors.read(path) for name, path in precious.items()}
    verdict("links are not followed", held=set(untouched.values()) == {"precious\n"}, why=untouched)
    verdict("another user's state is not believed",
            held=actors.read("/run/oomkit/guard.state") == "made up")  # fmt: skip
    said = journal()
    for word in ("journal /", "recording /", "status /", "guard.state: ", "guard.state.kmsg: "):
        verdict(f"{word.strip(' /:')} is named as refused", held=word in said)
    end_all()


def prepare() -> None:
    for path in (COMMON, SHELTERED, GROUPED, FROZEN, OWN_UNIT, "/var/attack"):
        os.makedirs(path, exist_ok=True)
    for path in (CGROUPS, ATTACK):
        actors.write(f"{path}/cgroup.subtree_control", "+memory")
    actors.write(f"{GROUPED}/memory.oom.group", "1")
    actors.write(FIRST, actors.read(POLICY))
    actors.write("/var/attack/before", HOOK)
    after = 'printf "%s\\n" "$1" >> /run/oomkit/after\nexec sleep 600\n'
    actors.write("/var/attack/after", after)


def check() -> None:
    began = time.monotonic()
    prepare()
    say("started", started(0))
    say("status", shown(UNIT, "StatusText", "ActiveState"))
    for step in (
        spared_whatever_they_do,
        protected_as_the_signal_is_due,
        between_the_two_signals,
        number_used_again,
        few_descriptors,
        full_table,
        killed_and_started_again,
        clients_that_never_finish,
        killed_whatever_they_do,
        nobody_reads_its_log,
        others_files,
    ):
        say(f"began: {step.__name__}", round(time.monotonic() - began, 1))
        try:
            step()
        except Exception as error:
            verdict(step.__name__, held=False, why=repr(error))
            end_all()
    killed = actors.read("/proc/vmstat").partition("\noom_kill ")[2].split()[0]
    say("oom_kill", int(killed))


if __name__ == "__main__":
    finish(check)
