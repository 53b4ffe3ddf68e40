"""Who was killed, by whom, for which limit; and texts about OOM that hold no event at all."""

import re
from pathlib import Path

import pytest

from oomkit.explain.evidence_text import no_kill_text
from oomkit.explain.incidents import incidents
from oomkit.explain.memory_breakdown import machine_kb
from oomkit.explain.recurring import tables
from oomkit.klog import read_bytes, read_evidence
from tests.recorded_texts import texts

GROUP = "more-kinds"
RIGHT = Path(__file__).parents[1] / "data" / "answers" / f"{GROUP}.txt"


def right_answers() -> dict[str, tuple[str, list[str]]]:
    """By the texts' numbers: their kind, and the answers."""
    parts = re.split(r"(?m)^=== (\d+) (\S+):.*\n", RIGHT.read_text())
    return {
        number: (kind, [line for line in lines.split("\n") if line])
        for number, kind, lines in zip(parts[1::3], parts[2::3], parts[3::3], strict=True)
    }


def answers(text: str) -> list[str]:
    """The incidents, one line each; where there are none, what failed or was low."""
    data = text.encode()
    evidence = list(read_evidence(data))
    deaths = tuple(item for item in evidence if item.kind not in ("failure", "pressure"))
    found = [item.summary for item in incidents(tuple(read_bytes(data)), deaths)]
    others = [item for item in evidence if item.kind in ("failure", "pressure")]
    return found or ([no_kill_text(others, len(others))] if others else [])


@pytest.mark.parametrize("number", texts(GROUP))
def test_each_kind_of_text_has_its_answer(number: str) -> None:
    assert answers(texts(GROUP)[number]) == right_answers()[number][1]


def test_every_answer_is_that_of_a_text() -> None:
    assert set(right_answers()) == set(texts(GROUP))


def test_reserved_pages_beyond_ram_are_none() -> None:
    (report,) = read_bytes(texts(GROUP)["80"].encode())
    assert report.memory is not None
    assert report.memory.reserved_pages is None
    assert machine_kb(report) == 131072 * 4


def test_a_signal_that_was_only_sent_is_no_death_in_the_tables() -> None:
    sent = (
        b"low memory! at or below SIGTERM limits: mem 10.00%, swap 15.00%\n"
        b'sending SIGTERM to process 397 uid 61876 "ipfs": badness 0, VmRSS 1 MiB\n'
    )
    for text, killed in ((sent, 0), (sent + b"process 397 exited after 0.1 seconds\n", 1)):
        evidence = [item for item in read_evidence(text) if item.kind == "kill"]
        (row,) = tables((), evidence, incidents((), tuple(evidence))).comm
        assert (row.name, row.killed) == ("ipfs", killed)


def test_a_panic_is_of_the_task_that_it_names() -> None:
    ((number, _),) = [item for item in right_answers().items() if "two-cpus" in item[1][0]]
    first, second = read_bytes(texts(GROUP)[number].encode())
    assert (first.invoker, first.panic) == (
        "bash",
        "Out of memory: compulsory panic_on_oom is enabled",
    )
    assert (second.invoker, second.panic) == ("sshd", None)
