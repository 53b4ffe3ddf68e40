"""How fast logs are read: beside grep on a big log, and per report beside OOMAnalyser.

Usage: python benchmarks/klog.py [--mb 1000] [--runs 5] [--oomanalyser CHECKOUT]

The log is made of the real /var/log/messages lines and reports of tests/data, in a temporary
directory. grep's output goes through a pipe: with /dev/null it would stop at its first match.
"""

import argparse
import gzip
import lzma
import re
import statistics
import subprocess
import sys
import tempfile
import time
import types
from collections.abc import Callable
from pathlib import Path

LOGS = Path(__file__).parents[1] / "tests" / "data" / "oom-logs"
REPORTS = 200
PATTERN = "invoked oom-killer"
CHILD = """
import resource, sys, time
from oomkit.klog import read_log, read_records, replay_all
start = time.perf_counter()
if sys.argv[2] == "records":
    found = sum(1 for record in read_records(sys.argv[1]))
elif sys.argv[2] == "replay":
    found = sum(1 for report in replay_all(read_log(sys.argv[1])))
else:
    found = sum(1 for report in read_log(sys.argv[1]))
print(found, time.perf_counter() - start, resource.getrusage(resource.RUSAGE_SELF).ru_maxrss)
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


def make_log(path: Path, size: int) -> int:
    """Write a log of so many bytes with its reports spread evenly; returns bytes of reports."""
    ordinary, reports = lines_and_reports()
    block = b"\n".join(ordinary) + b"\n"
    gap, inside = size // REPORTS, 0
    with path.open("wb") as file:
        for i in range(REPORTS):
            report = reports[i % len(reports)]
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
    start = time.perf_counter()
    run()
    return time.perf_counter() - start


def grep(path: Path) -> None:
    with subprocess.Popen(["grep", "-c", PATTERN, str(path)], stdout=subprocess.PIPE) as process:
        assert process.stdout is not None
        assert int(process.stdout.read()) == REPORTS


def read(path: Path, how: str) -> tuple[float, float, int]:
    """Wall seconds of the whole process, seconds of reading, peak memory in KiB."""
    start = time.perf_counter()
    command = [sys.executable, "-c", CHILD, str(path), how]
    output = subprocess.run(command, capture_output=True, check=True, text=True).stdout.split()
    wall = time.perf_counter() - start
    assert int(output[0]) >= REPORTS
    return wall, float(output[1]), int(output[2])


def beside_grep(megabytes: int, runs: int) -> None:
    with tempfile.TemporaryDirectory() as directory:
        path = Path(directory) / "messages"
        for size in sorted({min(100, megabytes), megabytes}):
            inside = make_log(path, size * 1_000_000)
            grep(path)
            print(f"{size} MB with {REPORTS} reports ({inside / 1e6:.1f} MB of them):")
            greps = [timed(lambda: grep(path)) for _ in range(runs)]
            base = statistics.median(greps)
            print(f"  grep -c             {base:6.3f} s")
            for how in ("reports", "records", "replay"):
                results = [read(path, how) for _ in range(runs)]
                wall = statistics.median(r[0] for r in results)
                peak = max(r[2] for r in results)
                print(
                    f"  oomkit, {how:8}    {wall:6.3f} s wall = {wall / base:4.1f} x grep, "
                    f"peak {peak / 1024:.1f} MiB"
                )


def load_oomanalyser(checkout: Path) -> types.ModuleType:
    """Run its Python under CPython: the browser's objects are empty stand-ins."""
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


def beside_oomanalyser(checkout: Path, runs: int) -> None:
    from oomkit.klog import read_bytes

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

        results = []
        for run in (theirs, ours, ours_joined):
            run()
            results.append(statistics.median(timed(run) for _ in range(runs * 3)) / len(texts))
        size = sum(map(len, texts)) / len(texts)
        print(
            f"{name}: {size / 1000:.1f} kB a report: OOMAnalyser {results[0] * 1e3:.3f} ms, "
            f"oomkit {results[1] * 1e3:.3f} ms each ({results[0] / results[1]:.1f} x), "
            f"{results[2] * 1e3:.3f} ms in one log ({results[0] / results[2]:.1f} x)"
        )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--mb", type=int, default=1000)
    parser.add_argument("--runs", type=int, default=5)
    parser.add_argument("--oomanalyser", type=Path, help="a checkout of OOMAnalyser")
    arguments = parser.parse_args()
    beside_grep(arguments.mb, arguments.runs)
    if arguments.oomanalyser is not None:
        beside_oomanalyser(arguments.oomanalyser, arguments.runs)


if __name__ == "__main__":
    main()
