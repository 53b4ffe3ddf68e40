"""How fast 20,000 memory cgroups are read, and how little `oomkit exec` delays a command.

    python benchmarks/cgroups.py [--groups N,N,...] [--rounds N]

As root: it makes the groups, most of them empty, one in ten with a limit, and removes them. Each
contestant is run in turn, round after round; the tables have medians, as Markdown, of CPU time,
which neighbours disturb least. The bare walk is os.walk() and a plain read of each group's files.
"""

import argparse
import os
import resource
import statistics
import subprocess
import sys
import tracemalloc
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from oomkit.host.cgroups import Hierarchy, find_hierarchy, read_memcgs

OOMKIT = os.path.join(os.path.dirname(sys.executable), "oomkit")
PAGE = os.sysconf("SC_PAGE_SIZE")
_PER_POD = 4
_V1 = (
    "cgroup.procs", "memory.usage_in_bytes", "memory.memsw.usage_in_bytes", "memory.oom_control",
    "memory.limit_in_bytes", "memory.memsw.limit_in_bytes", "memory.swappiness",
)  # fmt: skip
_V2 = (
    "cgroup.procs", "memory.current", "memory.max", "memory.swap.max", "memory.high", "memory.min",
    "memory.low", "memory.swap.current", "memory.oom.group",
)  # fmt: skip


@contextmanager
def many_groups(hierarchy: Hierarchy, count: int) -> Iterator[str]:
    """So many cgroups, in pods of four."""
    top = f"{hierarchy.directory}/oomkit-benchmark-{os.getpid()}"
    limit = "memory.limit_in_bytes" if hierarchy.version == 1 else "memory.max"
    made = [top]
    os.mkdir(top)
    try:
        for pod in range(count // (_PER_POD + 1)):
            if hierarchy.version == 2 and not pod:
                _write(f"{top}/cgroup.subtree_control", "+memory")
            made.append(f"{top}/pod{pod}")
            os.mkdir(made[-1])
            if hierarchy.version == 2:
                _write(f"{made[-1]}/cgroup.subtree_control", "+memory")
            inside = made[-1]
            for container in range(_PER_POD):
                made.append(f"{inside}/{container}")
                os.mkdir(made[-1])
            if pod % 2 == 0:
                _write(f"{made[-1]}/{limit}", str(64 << 20))
        yield top
    finally:
        for directory in reversed(made):
            os.rmdir(directory)


def _write(path: str, value: str) -> None:
    with open(path, "w") as file:
        file.write(value)


def bare_walk(hierarchy: Hierarchy) -> int:
    """os.walk(), and a read of each file that oomkit reads."""
    names = _V1 if hierarchy.version == 1 else _V2
    read = 0
    for directory, _, _ in os.walk(hierarchy.directory):
        for name in names:
            try:
                with open(f"{directory}/{name}", "rb") as file:
                    read += len(file.read())
            except OSError:
                continue
    return read


def _cpu_s() -> float:
    used = [resource.getrusage(of) for of in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN)]
    return sum(one.ru_utime + one.ru_stime for one in used)


def median_s(contest: dict[str, Callable[[], object]], rounds: int) -> dict[str, float]:
    """Median CPU time of each and of the processes that it starts, in turn."""
    times: dict[str, list[float]] = {name: [] for name in contest}
    for _ in range(rounds):
        for name, run in contest.items():
            began = _cpu_s()
            run()
            times[name].append(_cpu_s() - began)
    return {name: statistics.median(found) for name, found in times.items()}


def peak_kib(run: Callable[[], object]) -> float:
    """The most that Python holds while it runs."""
    tracemalloc.start()
    run()
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    return peak / 1024


def command_rss_mib() -> float:
    """Peak resident memory of the whole command, in a process of its own."""
    code = (
        "import resource, subprocess, sys; subprocess.run(sys.argv[1:], stdout=subprocess.DEVNULL);"
        "print(resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss)"
    )
    argv = [sys.executable, "-c", code, OOMKIT, "cgroup", "--json", "--top", "20"]
    return int(subprocess.check_output(argv)) / 1024


def groups_table(hierarchy: Hierarchy, counts: list[int], rounds: int) -> None:
    print(f"cgroup version {hierarchy.version}, medians of {rounds} rounds\n")
    print("| cgroups | walk | bare walk | ratio | peak of the walk | `oomkit cgroup` | its peak |")
    print("|---|---|---|---|---|---|---|")
    for count in counts:
        with many_groups(hierarchy, count):
            found = median_s(
                {
                    "walk": lambda: read_memcgs(hierarchy, PAGE),
                    "bare": lambda: bare_walk(hierarchy),
                    "command": lambda: subprocess.run(
                        [OOMKIT, "cgroup", "--json", "--top", "20"],
                        stdout=subprocess.DEVNULL, check=True,
                    ),
                },
                rounds,
            )  # fmt: skip
            peak = peak_kib(lambda: read_memcgs(hierarchy, PAGE))
            rss = command_rss_mib()
        ratio = found["walk"] / found["bare"]
        print(
            f"| {count} | {found['walk']:.2f} s | {found['bare']:.2f} s | {ratio:.2f} "
            f"| {peak / 1024:.1f} MiB | {found['command']:.2f} s | {rss:.0f} MiB |",
            flush=True,
        )


def exec_table(rounds: int) -> None:
    """Of a command that ends at once, so that all there is is the start."""
    found = median_s(
        {
            "bare": lambda: subprocess.run(["/bin/true"], check=True),
            "exec": lambda: subprocess.run([OOMKIT, "exec", "-q", "--", "/bin/true"], check=True),
            "limit": lambda: subprocess.run(
                [OOMKIT, "exec", "-q", "--limit", "1G", "--", "/bin/true"], check=True
            ),
            "python": lambda: subprocess.run([sys.executable, "-c", ""], check=True),
        },
        rounds,
    )
    print(f"\n`/bin/true`, medians of {rounds} rounds\n")
    print("| | whole | more than bare |")
    print("|---|---|---|")
    for name, text in (
        ("bare", "bare"), ("python", "a bare `python -c ''`"), ("exec", "`oomkit exec`"),
        ("limit", "`oomkit exec --limit 1G`"),
    ):  # fmt: skip
        more = 1e3 * (found[name] - found["bare"])
        print(f"| {text} | {1e3 * found[name]:.1f} ms | {more:.1f} ms |")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--groups", default="1000,20000")
    parser.add_argument("--rounds", type=int, default=7)
    options = parser.parse_args()
    hierarchy = find_hierarchy("/proc")
    if hierarchy is None or os.geteuid() != 0:
        sys.exit("needs root and a memory hierarchy")
    groups_table(hierarchy, [int(one) for one in options.groups.split(",")], options.rounds)
    exec_table(max(options.rounds * 4, 20))


if __name__ == "__main__":
    main()
