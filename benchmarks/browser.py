"""Measure the lab in a browser: what it loads, when it can be seen and asked, how fast it answers.

Needs the built site (``make site``) and Debian's chromium. Wall-clock times say what a visitor
waits where nothing else runs; CPU time, that of all of the browser's processes, holds beside
other work as well::

    python benchmarks/browser.py [--loads N] [--log MB] [SCENARIO ...]
"""

import argparse
import gzip
import os
import statistics
import sys
import threading
import time
from collections.abc import Sequence
from pathlib import Path

ROOT = Path(__file__).parents[1]
sys.path.insert(0, str(ROOT))

from tests.lab.pages import Lab  # noqa: E402 - the root is not installed

from oomkit.lab.server import LabServer, built  # noqa: E402 - the root is not installed

_PARTS = {
    "HTML, styles, scripts": ("*.html", "*.css", "*.js", "icon.svg", "lab.json"),
    "Pyodide": ("pyodide/*.mjs", "pyodide/*.wasm", "pyodide/*.json"),
    "Python's standard library": ("pyodide/*.zip",),
    "oomkit": ("oomkit.zip",),
}
_PAINT = "performance.getEntriesByName('first-contentful-paint')[0]?.startTime"
_READY = "document.documentElement.dataset.python === 'ready'"
_SHOWN = "document.documentElement.dataset.played?.startsWith('oomkit run scenarios/%s')"
_MOVED = """(async () => {
  const knob = document.getElementById("knob-vm.overcommit_ratio");
  const played = document.documentElement.dataset;
  const found = [];
  for (let i = 0; i < %d; i += 1) {
    knob.focus();
    knob.value = 40 + (Number(knob.value) + 1) %% 50;
    const before = played.played;
    const began = performance.now();
    knob.dispatchEvent(new Event("input", { bubbles: true }));
    const drawn = new Promise((seen) => {
      new MutationObserver((_, watcher) => {
        watcher.disconnect();
        requestAnimationFrame(() => setTimeout(() => seen(performance.now())));
      }).observe(document.getElementById("runs"), { childList: true });
    });
    found.push(await drawn - began);
    while (played.played === before) await new Promise((again) => setTimeout(again, 5));
  }
  return found;
})()"""
_EXPLAINED = """(async () => {
  const { ask } = await import("/python.js");
  const one = await (await fetch("/examples/logs/s-5.13-ubuntu-sysrq-order-1.log")).text();
  const line = "Jun  1 10:00:00 web sshd[1]: Accepted publickey for root from 10.0.0.1\\n";
  const piece = line.repeat(10_000) + one + "\\n";
  const file = new File(Array(Math.ceil(%d * 1e6 / piece.length)).fill(piece), "big.log");
  const began = performance.now();
  const found = await ask("explain", {}, file);
  return [performance.now() - began, file.size, found.reports];
})()"""


def cpu_s(leader: int) -> float:
    """CPU time of all processes of a session, and of those that have ended below them."""
    ticks = 0
    for path in Path("/proc").glob("[0-9]*/stat"):
        try:
            fields = path.read_text().rpartition(")")[2].split()
        except OSError:
            continue
        if int(fields[3]) == leader:
            ticks += sum(map(int, fields[11:15]))
    return ticks / os.sysconf("SC_CLK_TCK")


def sizes(site: Path) -> None:
    """Print what a visitor loads."""
    whole = [0, 0]
    for name, patterns in _PARTS.items():
        data = [path.read_bytes() for pattern in patterns for path in sorted(site.glob(pattern))]
        plain, packed = sum(map(len, data)), sum(len(gzip.compress(one)) for one in data)
        whole = [whole[0] + plain, whole[1] + packed]
        print(f"  {name:28} {plain / 1e6:7.3f} MB  {packed / 1e6:7.3f} MB with gzip")
    print(f"  {'together':28} {whole[0] / 1e6:7.3f} MB  {whole[1] / 1e6:7.3f} MB with gzip")


def loaded(tab: Lab, url: str) -> tuple[float, float, float]:
    """Load the lab into a new browser: seconds until it is seen, until it is ready, of CPU."""
    pid: int = tab._process.pid  # noqa: SLF001 - a session of its own
    before = cpu_s(pid)
    began = time.perf_counter()
    tab.call("Page.navigate", url=url)
    while not tab.value(f"Boolean(document.documentElement) && {_READY}"):
        time.sleep(0.01)
    ready = time.perf_counter() - began
    return tab.value(_PAINT) / 1000, ready, cpu_s(pid) - before


def _mean(rows: Sequence[Sequence[float]], at: int) -> str:
    values = [row[at] for row in rows]
    return f"{statistics.median(values):.2f} ({min(values):.2f} to {max(values):.2f})"


def main() -> None:
    """Read the arguments, and print."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else "")
    parser.add_argument("--loads", type=int, default=3, help="of the page, each from nothing")
    parser.add_argument("--log", type=int, default=96, help="MB of the log that is explained")
    parser.add_argument("--site", help="the directory of one that was built elsewhere")
    parser.add_argument("scenario", nargs="*", help="names of shipped ones; none: all")
    arguments = parser.parse_args()
    site = built(arguments.site)
    print("size of what a visitor loads:")
    sizes(site)
    server = LabServer(site, 0, lambda: b"{}")
    threading.Thread(target=server.serve_forever, daemon=True).start()
    rows = []
    for _ in range(arguments.loads):
        with Lab() as tab:
            rows.append(loaded(tab, server.url))
    print(f"from an empty cache, {len(rows)} times, median (least to most):")
    for at, name in enumerate(("s to the first paint", "s until it is ready", "s of CPU time")):
        print(f"  {_mean(rows, at)} {name}")
    with Lab() as tab:
        loaded(tab, server.url)
        tab.until("document.documentElement.dataset.warm")
        print(f"the model is {tab.value('document.documentElement.dataset.model')}")
        _play(tab, server.url, arguments.scenario)
        pid: int = tab._process.pid  # noqa: SLF001 - a session of its own
        before = cpu_s(pid)
        ms, size, reports = tab.value(_EXPLAINED % arguments.log)
        print(f"a log of {size / 1e6:.0f} MB, {reports} reports: {ms / 1000:.1f} s, "
              f"{cpu_s(pid) - before:.1f} s of CPU time")  # fmt: skip
    server.shutdown()


def _play(tab: Lab, url: str, names: Sequence[str]) -> None:
    print("ms from a slider that is moved to the picture on the screen, median of seven and "
          "least, ms of CPU time:")  # fmt: skip
    pid: int = tab._process.pid  # noqa: SLF001 - a session of its own
    for name in names or [path.stem for path in sorted((ROOT / "scenarios").glob("*.toml"))]:
        tab.call("Page.navigate", url=f"{url}#machine?file={name}.toml")
        tab.until(_SHOWN % f"{name}.toml")
        tab.value(_MOVED % 2)
        before = cpu_s(pid)
        rows = tab.value(_MOVED % 7)
        cpu = (cpu_s(pid) - before) / 7 * 1000
        print(f"  {name:24} {statistics.median(rows):7.0f} {min(rows):7.0f} {cpu:7.0f}")


if __name__ == "__main__":
    main()
