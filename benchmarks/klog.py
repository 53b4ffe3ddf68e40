"""How fast logs are read: small ones, a big one beside grep, and reports beside OOMAnalyser.

Usage: python benchmarks/klog.py [--mb 1000] [--reports 200] [--runs 5] [--first] [--whole]
                                [--build NAME=FOLDER]... [--oomanalyser CHECKOUT] [--search]

The log is made of the real /var/log/messages lines and reports of tests/data, in a temporary
directory; runs take turns. grep's output goes through a pipe: with /dev/null it would stop at its
first match. CPU seconds are those of the whole process, start included; Python's modules are
compiled beforehand, as they are where a package is installed. With --first (root) the runs come
before everything else on the machine, so that seconds on the clock count where it is busy.
With --build the whole command takes turns with that of other builds, each a folder that holds the
package (build/compiled/lib); with --whole that is all that is run beside grep. With --search only
the searchers of words that are installed are run, in turns, on ordinary lines in memory.
"""

import argparse
import gzip
import io
import lzma
import math
import os
import re
import statistics
import subprocess
import sys
import tempfile
import time
import types
from collections.abc import Callable, Iterable, Sequence
from contextlib import suppress
from functools import partial
from importlib import import_module
from pathlib import Path
from typing import NamedTuple

COMMAND = "from oomkit.__main__ import main; main()"
LOGS = Path(__file__).parents[1] / "tests" / "data" / "oom-logs"
PATTERN = "invoked oom-killer"
HOW = ("reports", "records", "replay")
"""Read the reports; what others tell, too, as `oomkit explain` does; replay each decision."""
COMMANDS = ((), ("--summary",), ("--summary", "--workers", "1"), ("--json",))
"""Options of the whole command, `oomkit explain`."""
SMALL_BYTES = 40_000
SEARCHED_BYTES = 16_000_000
CLOCK = re.compile(rb"(?m)^(\w{3} +\d+ )\d\d:\d\d:\d\d")
ROW = re.compile(rb"\[ *(\d+)\]" + rb" +(-?\d+)" * 7 + rb" +(\S+)")
"""A row of the task table, and nothing but that: the least that Python can do with a table."""
CHILD = """
import sys
from oomkit.klog import read_log, read_records, replay_all
if sys.argv[2] == "records":
    print(sum(1 for record in read_records(sys.argv[1])))
elif sys.argv[2] == "replay":
    print(sum(1 for report in replay_all(read_log(sys.argv[1]))))
else:
    print(sum(1 for report in read_log(sys.argv[1])))
"""


def lines_and_reports() -> tuple[list[bytes], list[bytes]]:
    """Ordinary lines, and whole reports, of two real logs."""
    data = gzip.decompress((LOGS / "w-3.10.0-514-el7-24-reports.log.gz").read_bytes())
    lines = data.split(b"\n")
    reports, ordinary = [], []
    inside: list[bytes] | None = None
    for line in lines:
        if PATTERN.encode() in line:
            inside = []
        if inside is None:
            ordinary.append(line)
            continue
        inside.append(line)
        if b"Killed process" in line:
            reports.append(b"\n".join(inside) + b"\n")
            inside = None
    data = lzma.decompress((LOGS / "w-2.6.32-642-el6-php-fpm-20-reports.log.xz").read_bytes())
    ordinary += data[: data.index(PATTERN.encode())].split(b"\n")[:-1]
    return ordinary, reports


def make_log(path: Path, size: int, count: int) -> int:
    """Write a log of so many bytes with its reports spread evenly; returns bytes of reports.

    Each has a time of its own: the very same report again would count once.
    """
    ordinary, reports = lines_and_reports()
    block = b"\n".join(ordinary) + b"\n"
    gap, inside = size // count, 0
    with path.open("wb") as file:
        for i in range(count):
            clock = b"%02d:%02d:00" % divmod(i, 60)
            report = CLOCK.sub(rb"\g<1>" + clock, reports[i % len(reports)])
            left = gap - len(report)
            while left > 0:
                part = block[: block.rfind(b"\n", 0, left) + 1]
                if not part:
                    break
                file.write(part)
                left -= len(part)
            file.write(report)
            inside += len(report)
    return inside


def timed(run: Callable[[], object]) -> float:
    start = time.process_time()
    run()
    return time.process_time() - start


class Cost(NamedTuple):
    """What a command took: seconds on the clock, seconds of CPU, peak memory."""

    wall_s: float
    cpu_s: float
    peak_kb: int


def run_first() -> None:
    """Run, and have all that is started run, before every ordinary process (SCHED_RR)."""
    os.sched_setscheduler(0, os.SCHED_RR, os.sched_param(1))


def cost(command: list[str], env: dict[str, str], found: Callable[[bytes], bool]) -> Cost:
    """Run a command; its output tells how many reports it found."""
    start = time.perf_counter()
    process = subprocess.Popen(command, stdout=subprocess.PIPE, env=env)
    assert process.stdout is not None
    output = process.stdout.read()
    _, status, usage = os.wait4(process.pid, 0)
    wall_s = time.perf_counter() - start
    assert os.waitstatus_to_exitcode(status) in (0, 1)
    assert found(output), output[:200]
    return Cost(wall_s, usage.ru_utime + usage.ru_stime, usage.ru_maxrss)


def first_number(output: bytes) -> int:
    match = re.search(rb"\d+", output)
    return int(match.group()) if match else 0


class Runs:
    """What is timed, under the names that are printed."""

    def __init__(
        self,
        path: Path,
        bytecode: Path,
        reports: int,
        builds: Sequence[tuple[str, Path]],
        *,
        whole: bool,
    ) -> None:
        self._path = str(path)
        self._reports = reports
        self._env = dict(os.environ, PYTHONPYCACHEPREFIX=str(bytecode))
        self._env.pop("PYTHONDONTWRITEBYTECODE", None)
        self.by_name: dict[str, Callable[[], Cost]] = {"grep -c": self._grep}
        if whole:
            self.by_name["explain"] = partial(self._explain, ())
        else:
            for how in HOW:
                self.by_name[how] = partial(self._read, how)
            for options in COMMANDS:
                self.by_name[" ".join(("explain", *options))] = partial(self._explain, options)
        for name, folder in builds:
            self.by_name[f"explain, {name}"] = partial(self._explain, (), folder)

    def _grep(self) -> Cost:
        return self._cost(["grep", "-c", PATTERN, self._path], first_number)

    def _read(self, how: str) -> Cost:
        return self._cost([sys.executable, "-c", CHILD, self._path, how], first_number)

    def _explain(self, options: tuple[str, ...], build: Path | None = None) -> Cost:
        command = [sys.executable, "-c", COMMAND, "explain", *options, self._path]
        lines = "--json" in options
        return self._cost(command, (lambda o: o.count(b"\n")) if lines else reports_told, build)

    def _cost(
        self, command: list[str], found: Callable[[bytes], int], build: Path | None = None
    ) -> Cost:
        env = self._env if build is None else self._env | {"PYTHONPATH": str(build.absolute())}
        return cost(command, env, lambda output: found(output) >= self._reports)


def reports_told(output: bytes) -> int:
    match = re.search(rb"(\d+) (?:OOM )?reports?\b", output)
    return int(match[1]) if match else 0


def beside_grep(
    megabytes: int, runs: int, reports: int, builds: Sequence[tuple[str, Path]], *, whole: bool
) -> None:
    with tempfile.TemporaryDirectory() as directory:
        path = Path(directory) / "messages"
        bytecode = Path(directory) / "bytecode"
        timed_runs = Runs(path, bytecode, reports, builds, whole=whole).by_name
        for size in [megabytes] if whole else sorted({min(100, megabytes), megabytes}):
            inside = make_log(path, size * 1_000_000, reports)
            for run in timed_runs.values():
                run()  # brings the file into the page cache, and compiles the modules
            print(f"{size} MB with {reports} reports ({inside / 1e6:.1f} MB of them):")
            results: dict[str, list[Cost]] = {name: [] for name in timed_runs}
            for _ in range(runs):
                for name, run in timed_runs.items():
                    results[name].append(run())
            wall_s = statistics.median(r.wall_s for r in results["grep -c"])
            cpu_s = statistics.median(r.cpu_s for r in results["grep -c"])
            for name, costs in results.items():
                wall = statistics.median(r.wall_s for r in costs)
                cpu = statistics.median(r.cpu_s for r in costs)
                print(
                    f"  {name:17} {wall:6.3f} s = {wall / wall_s:4.1f} x grep; "
                    f"CPU {cpu:6.3f} s = {cpu / cpu_s:4.1f} x; "
                    f"peak {max(r.peak_kb for r in costs) / 1024:.1f} MiB"
                )


def small_logs(rounds: int) -> None:
    """What people paste: each text of the test data by itself, with what others say."""
    from oomkit.klog.reader import scan_records

    paths = [path for path in sorted(LOGS.rglob("*")) if path.suffix in (".log", ".txt")]
    texts = [text for text in (path.read_bytes() for path in paths) if len(text) < SMALL_BYTES]
    least_s = [math.inf] * len(texts)
    for _ in range(rounds):
        for i, text in enumerate(texts):
            records = scan_records(io.BytesIO(text), "log", evidence=True)
            least_s[i] = min(least_s[i], timed(partial(list, records)))
    total_ms = sum(least_s) * 1e3
    print(f"{len(texts)} small logs: {total_ms:.0f} ms, {total_ms / len(texts):.2f} ms each")


def search_in_memory(runs: int) -> None:
    """Look for all words of `explain` by each searcher there is; the gigabyte is arithmetic."""
    from oomkit.klog.lines.scan import KERNEL_NEEDLES
    from oomkit.klog.userspace.needles import NEEDLES

    ordinary, _ = lines_and_reports()
    text = b"\n".join(ordinary)
    data = bytearray(text * (SEARCHED_BYTES // len(text) + 1))
    words = tuple(dict.fromkeys((*KERNEL_NEEDLES, *NEEDLES)))
    ways: dict[str, Callable[[], Iterable[object]]] = {}
    for module in ("aho", "search"):
        with suppress(ImportError):
            needles = import_module(f"oomkit.klog.lines.{module}").Needles(words)
            ways[module] = partial(needles.find, data, 0, len(data))
    with suppress(ImportError):
        searcher = import_module("oomkit.klog.lines._needles").Searcher(words)
        for width, name in enumerate(("C, byte by byte", "C, 16 bytes", "C, 32 bytes")):
            ways[name] = partial(searcher.find, data, 0, len(data), width)
    taken: dict[str, list[float]] = {name: [] for name in ways}
    for _ in range(runs):
        for name, find in ways.items():
            taken[name].append(timed(partial(_found, find)))
    for name, seconds in taken.items():
        print(f"  {name:16} {statistics.median(seconds) / len(data) * 1e9:7.3f} s a gigabyte")


def _found(find: Callable[[], Iterable[object]]) -> int:
    return sum(1 for _ in find())


def load_oomanalyser(checkout: Path) -> types.ModuleType:
    """Run its Python under CPython: the browser's objects are empty stand-ins.

    What is timed is its analysis: all it extracts and derives, without showing it.
    """
    module = types.ModuleType("OOMAnalyser")

    class Stub:
        def __getattr__(self, name: str) -> "Stub":
            return self

        def __call__(self, *args: object, **kwargs: object) -> "Stub":
            return self

        def __iter__(self) -> object:
            return iter(())

        def __getitem__(self, key: object) -> "Stub":
            return self

    source = (checkout / "OOMAnalyser.py").read_text()
    source = source.replace("OOMDisplayInstance = OOMDisplay()", "")
    module.__dict__.update(document=Stub(), window=Stub(), console=Stub(), js_undefined=None)
    exec(compile(source, "OOMAnalyser.py", "exec"), module.__dict__)
    for name in ("document", "window", "console"):
        module.__dict__[name] = Stub()
    for name in ("debug", "error", "warning", "internal_error", "show_notifybox"):
        module.__dict__[name] = lambda *_: None
    return module


def find_rows(texts: list[bytes]) -> None:
    for text in texts:
        assert ROW.findall(text)


def beside_oomanalyser(checkout: Path, runs: int) -> None:
    from oomkit.klog import read_bytes, replay_all

    module = load_oomanalyser(checkout)
    reports = {
        "el7, 3.10": lines_and_reports()[1],
        "el7 sample": [(LOGS / "g-3.10.0-514-el7-sed-mysqld.log").read_bytes()],
        "Ubuntu sample": [(LOGS / "s-5.13-ubuntu-sysrq-order-1.log").read_bytes()],
    }
    for name, texts in reports.items():

        def theirs(texts: list[bytes] = texts) -> None:
            for text in texts:
                clean = re.sub(rb"(?m)^\w{3} +\d+ [\d:]+ \S+ kernel: ", b"", text).decode()
                module.OOMAnalyser(module.OOMEntity(clean)).analyse()

        def ours(texts: list[bytes] = texts) -> None:
            for text in texts:
                assert len(list(read_bytes(text))) == 1

        def ours_joined(texts: list[bytes] = texts) -> None:
            assert len(list(read_bytes(b"".join(texts)))) == len(texts)

        def ours_replayed(texts: list[bytes] = texts) -> None:
            assert len(list(replay_all(read_bytes(b"".join(texts))))) == len(texts)

        runners: tuple[Callable[[], None], ...] = (
            theirs, ours, ours_joined, ours_replayed, partial(find_rows, texts),
        )  # fmt: skip
        for run in runners:
            run()
        times: list[list[float]] = [[] for _ in runners]
        for _ in range(runs * 5):
            for taken, run in zip(times, runners, strict=True):
                taken.append(timed(run) / len(texts))
        results = [statistics.median(taken) for taken in times]
        size = sum(map(len, texts)) / len(texts)
        print(
            f"{name}: {size / 1000:.1f} kB a report: OOMAnalyser {results[0] * 1e3:.3f} ms, "
            f"oomkit {results[1] * 1e3:.3f} ms each ({results[0] / results[1]:.1f} x), "
            f"{results[2] * 1e3:.3f} ms in one log ({results[0] / results[2]:.1f} x), "
            f"{results[3] * 1e3:.3f} ms with replay ({results[0] / results[3]:.1f} x); "
            f"one expression over its table {results[4] * 1e3:.3f} ms"
        )


def named_folder(text: str) -> tuple[str, Path]:
    """A name and a folder that holds the package."""
    name, _, folder = text.partition("=")
    if not name or not (Path(folder) / "oomkit").is_dir():
        raise argparse.ArgumentTypeError(f"{text}: expected NAME=FOLDER, which holds oomkit")
    return name, Path(folder)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--mb", type=int, default=1000)
    parser.add_argument("--reports", type=int, default=200, help="in the log")
    parser.add_argument("--runs", type=int, default=5)
    parser.add_argument("--first", action="store_true", help="before all others (root)")
    parser.add_argument("--whole", action="store_true", help="beside grep only the whole command")
    parser.add_argument(
        "--build", action="append", default=[], type=named_folder, metavar="NAME=FOLDER",
        help="another build of the package, whose whole command takes turns with this",
    )  # fmt: skip
    parser.add_argument("--search", action="store_true", help="only the searchers of words")
    parser.add_argument("--oomanalyser", type=Path, help="a checkout of OOMAnalyser")
    arguments = parser.parse_args()
    if arguments.first:
        run_first()
    if arguments.search:
        search_in_memory(arguments.runs)
        return
    if not arguments.whole:
        small_logs(arguments.runs + 2)
    beside_grep(
        arguments.mb, arguments.runs, arguments.reports, arguments.build, whole=arguments.whole
    )
    if arguments.oomanalyser is not None:
        beside_oomanalyser(arguments.oomanalyser, arguments.runs)


if __name__ == "__main__":
    main()
