"""Redacted records hold no name of host, user, cgroup or command, and stay consistent."""

import re

import msgspec
import pytest

from oomkit.klog import read_bytes, read_evidence, replay_all
from oomkit.klog.redact import Redactor
from tests.klog.logs import bytes_of

NAMES = [
    "m-6.7.4-arch-rsync-adj200.log",
    "g-3.10.0-514-el7-sed-mysqld.log",
    "m-5.4-k8s-pause-all-minus998-quoted.log",
    "g-4.4-ubuntu1604-rsync-head-missing-child.log",
    "w-3.10.0-514-el7-24-reports.log",
]


@pytest.mark.parametrize("name", NAMES)
def test_no_name_is_left(name: str) -> None:
    redactor = Redactor()
    for report in replay_all(read_bytes(bytes_of(name))):
        redacted = redactor.report(report)
        text = msgspec.json.encode(redacted).decode()
        secrets = {row.comm for row in report.tasks} | {k.comm for k in report.killed}
        secrets |= {part for part in (report.cgroup or "").split("/") if len(part) > 12}
        secrets -= {"system.slice", "user.slice", "sh"}
        for secret in secrets:
            assert f'"{secret}"' not in text
            assert f"{secret}[" not in text
            assert f"/{secret}" not in text
        assert len(redacted.tasks) == len(report.tasks)
        assert redacted.host in (None, "host-1")
        uids = {row.uid for row in redacted.tasks}
        assert uids <= set(range(len({row.uid for row in report.tasks}) + 20))
        assert {r.uid == 0 for r in redacted.tasks} == {r.uid == 0 for r in report.tasks}


def test_the_same_name_has_the_same_token() -> None:
    redactor = Redactor()
    data = bytes_of("w-3.10.0-514-el7-24-reports.log")
    tokens: dict[str, str] = {}
    for report in read_bytes(data):
        redacted = redactor.report(report)
        for before, after in zip(report.killed, redacted.killed, strict=True):
            assert re.fullmatch(r"comm-\d+", after.comm)
            assert tokens.setdefault(before.comm, after.comm) == after.comm


def test_lines_of_others_are_redacted_too() -> None:
    line = (
        b"Jan  4 10:00:00 web-01 earlyoom[7]: sending SIGTERM to process 30 uid 1000 "
        b'"secret-app": badness 9\n'
    )
    (found,) = read_evidence(line)
    redacted = Redactor().evidence(found)
    assert "secret-app" not in redacted.text
    assert (redacted.host, redacted.comm) == ("host-1", "comm-1")
