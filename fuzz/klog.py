"""Fuzz the reading and explaining of kernel logs with what a log from anywhere may hold.

Usage: python fuzz/klog.py [--seconds 120] [libFuzzer's own options]

Starts from the real logs of tests/data. An exception, an input that takes over ten seconds, a
process over 512 MB, or a control character in what a terminal would be given, ends the run with
exit status 1 or more and leaves the input in a file of the current directory.
"""

import argparse
import re
import sys
import tempfile
from pathlib import Path

import atheris
import msgspec

with atheris.instrument_imports(include=["oomkit.klog", "oomkit.explain"]):
    from oomkit.explain.explanation import explain
    from oomkit.klog import read_bytes, replay_all
    from oomkit.klog.reader import read_evidence
    from oomkit.views.explain_json import report_object
    from oomkit.views.explain_text import explanation_lines

LOGS = Path(__file__).parents[1] / "tests" / "data" / "oom-logs"
MAX_BYTES = 16384
CONTROL = re.compile(r"[\x00-\x08\x0a-\x1f\x7f-\x9f\u202a-\u202e\u2066-\u2069]")
WORDS = (
    "oom-killer: gfp_mask=0x", "Out of memory: Kill process ", "Killed process ",
    "oom-kill:constraint=", "tgid total_vm", "Mem-Info:", "Memory cgroup stats for ",
    "memory: usage ", "Task in /", "Call Trace:", "oom_reaper: reaped process ",
    "Kernel panic - not syncing: Out of memory", "[    1.000000] ", "<4>", "kernel: ", "#012",
    "=3D", "__CURSOR=", "MESSAGE=", "{\"MESSAGE\":\"", "4,1,1,-;", "CPU: 0 PID: 1 Comm: ", "[T1]",
    "9" * 30, "18446744073709551615", "-1", "order=", "kB", "free:",
)  # fmt: skip


def one_input(data: bytes) -> None:
    """Read, replay and explain; nothing of it may fail."""
    for report in replay_all(read_bytes(data)):
        explanation = explain(report)
        msgspec.json.encode(report_object(explanation))
        for line in explanation_lines(explanation, 1, ascii_only=False):
            found = CONTROL.search(line.text)
            if found is not None:
                raise RuntimeError(f"the control character {found.group()!r} reaches a terminal")
    for evidence in read_evidence(data):
        if CONTROL.search(evidence.text):
            raise RuntimeError("a control character in evidence")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--seconds", type=int, default=120)
    arguments, others = parser.parse_known_args()
    with tempfile.TemporaryDirectory() as directory:
        corpus, words = Path(directory) / "corpus", Path(directory) / "words"
        corpus.mkdir()
        for log in sorted(LOGS.glob("*.log")):
            (corpus / log.name).write_bytes(log.read_bytes()[:MAX_BYTES])
        quoted = (word.replace("\\", "\\\\").replace('"', '\\"') for word in WORDS)
        words.write_text("".join(f'"{word}"\n' for word in quoted))
        options = [
            f"-max_total_time={arguments.seconds}",
            f"-max_len={MAX_BYTES}",
            f"-dict={words}",
            "-timeout=10",
            "-rss_limit_mb=512",
            "-print_final_stats=1",
        ]
        atheris.Setup([sys.argv[0], *options, *others, str(corpus)], one_input)
        atheris.Fuzz()


if __name__ == "__main__":
    main()
