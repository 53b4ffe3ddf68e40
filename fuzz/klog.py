"""Fuzz the reading and explaining of kernel logs with what a log from anywhere may hold.

Usage: python -m fuzz.klog [--seconds 120] [libFuzzer's own options]

Starts from the real logs of tests/data. An exception, an input that takes over ten seconds, a
process over 512 MB, or a control character in what a terminal would be given, ends the run with
exit status 1 or more and leaves the input in a file of the current directory.
"""

import atheris
import msgspec
from fuzz.harness import ROOT, check_shown, fuzz

with atheris.instrument_imports(include=["oomkit.klog", "oomkit.explain"]):
    from oomkit.explain.explanation import explain
    from oomkit.klog import read_bytes, replay_all
    from oomkit.klog.reader import read_evidence
    from oomkit.render.layout import Terminal
    from oomkit.render.terminal import plain_lines
    from oomkit.views.explain_json import report_object
    from oomkit.views.explain_report import explanation_report

LOGS = ROOT / "tests" / "data" / "oom-logs"
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
        for line in plain_lines(explanation_report(explanation, 1), Terminal()):
            check_shown(line)
    for evidence in read_evidence(data):
        check_shown(evidence.text)


if __name__ == "__main__":
    fuzz(
        __doc__,
        one_input,
        seeds=((log.name, log.read_bytes()) for log in sorted(LOGS.glob("*.log"))),
        words=WORDS,
    )
