"""versions: releases as distributions write them find their rule set."""

import pytest

from oomkit.kernel.versions import UnknownKernelError, history, range_of, rules_for


@pytest.mark.parametrize(
    ("release", "name"),
    [
        ("2.6.32-754.el6.x86_64", "2.6.32-el6"),
        ("2.6.32-article", "2.6.32-article"),
        ("2.6.32-042stab120.5", "2.6.32-openvz"),
        ("2.6.32", "2.6.32"),
        ("2.6.32.71", "2.6.32"),
        ("6.12.111+deb12-cloud-amd64", "6.10"),
        ("5.15.0-1056-aws", "5.15+5.16+5.18"),
        ("5.15.16", "5.15+5.16"),
        ("5.15.2", "5.15"),
        ("6.18.44", "6.14"),
        ("7.3", "6.14"),
    ],
)
def test_release_finds_its_rules(release: str, name: str) -> None:
    assert rules_for(release).name == name


@pytest.mark.parametrize("release", ["2.6.10", "2.4.37", "banana", "", "el6"])
def test_unknown_release_is_refused(release: str) -> None:
    with pytest.raises(UnknownKernelError, match=r"2\.6\.11"):
        rules_for(release)


def test_every_range_is_found_by_its_first_version() -> None:
    for row in history():
        if row.variant is None:
            assert rules_for(row.rules.since) == row.rules
            assert row.changes


@pytest.mark.parametrize(
    "release", ["5.15.0-1056-aws", "5.4.144", "4.18.0-553.el8_10.x86_64", "2.6.32", "6.18.1"]
)
def test_a_rule_set_is_found_by_its_own_name(release: str) -> None:
    rules = rules_for(release)
    assert rules_for(rules.name) == rules
    assert range_of(release).rules == rules
    assert range_of(release).changes or range_of(release).variant


def test_the_row_of_a_release_shows_its_backports() -> None:
    since = [change.since for change in range_of("5.15.0-1056-aws").changes]
    assert since == ["5.15", "5.16", "5.18"]
