"""``oomkit kernels --of`` says which rules are in force, in words that hold."""

import json

import pytest

from oomkit.kernel.versions import history
from tests.conftest import Command, fits


@pytest.mark.parametrize(
    ("release", "heading", "words"),
    [
        ("5.15.0-91-generic", "badness", "resident memory + swap + page tables"),
        ("5.15", "victim", "the process with the highest badness itself, no child"),
        ("5.15", "oom_score", "0 to 2000"),
        ("5.15", "protected", "oom_score_adj -1000"),
        ("5.15", "units", "65 page faults a thread"),
        ("6.12", "units", "a CPU and counter"),
        ("7.3", "units", "exact sums"),
        ("5.15", "of equals", "created last"),
        ("6.12.111+deb12-cloud-amd64", "dies with it", "memory.oom.group its whole cgroup"),
        ("6.12", "oom_reaper", "2 s after the kill"),
        ("4.18", "dies with it", "memory.oom.group is not known"),
        ("4.16", "badness", "CAP_SYS_ADMIN has 3 % less"),
        ("4.17", "victim", "the worst child"),
        ("3.10.0-1160.el7.x86_64", "oom_score", "1000 for all of RAM and swap"),
        ("2.6.36", "units", "thousandths"),
        ("2.6.36", "oom_score", "0 to 1000"),
        ("2.6.32", "badness", "size of the address space"),
        ("2.6.32", "adjustment", "oom_adj, -17 to 15"),
        ("2.6.32", "protected", "oom_adj -17"),
        ("2.6.32-754.el6.x86_64", "units", "thousandths"),
        ("2.6.11", "protected", "oom_adj -17 only shifts badness"),
    ],
)
def test_what_is_in_force(oomkit: Command, release: str, heading: str, words: str) -> None:
    (row,) = json.loads(oomkit("kernels", "--of", release, "--json").stdout)
    assert words in row["in_words"][heading]
    out = " ".join(oomkit("kernels", "--of", release).stdout.split())
    assert f"{heading} {row['in_words'][heading]}" in out


def test_every_rule_set_can_be_put_into_words(oomkit: Command) -> None:
    rows = json.loads(oomkit("kernels", "--json").stdout)
    assert len(rows) == len(history())
    for row in rows:
        rules, words = row["rules"], row["in_words"]
        assert ("memory.oom.group its whole" in words["dies with it"]) == rules["oom_group"]
        assert ("no child" in words["victim"]) == (rules["children"] == "none")
        assert ("measured against" in words) == (rules["badness"] != "classic")
        assert ("negative" in words["adjustment"]) == (rules["result"] == "signed")
        assert all(words.values())


@pytest.mark.parametrize("width", [40, 60, 80, 200])
def test_the_words_fit_the_window(oomkit: Command, width: int) -> None:
    done = oomkit("kernels", "--of", "5.15", env={"COLUMNS": str(width)})
    assert all(fits(line, width) for line in done.stdout.splitlines())
