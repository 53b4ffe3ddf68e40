"""versions: releases as distributions write them find their rule set."""

import pytest

from oomkit.kernel.versions import (
    LAST_KNOWN,
    UnknownKernelError,
    doubt,
    history,
    parse_version,
    range_of,
    rules_for,
)


@pytest.mark.parametrize(
    ("release", "name"),
    [
        ("2.6.32-754.el6.x86_64", "2.6.32-el6"),
        ("2.6.32-article", "2.6.32-article"),
        ("2.6.32-042stab120.5", "2.6.32-openvz"),
        ("2.6.32", "2.6.32"),
        ("2.6.32.71", "2.6.32"),
        ("6.12.111+deb12-cloud-amd64", "6.10"),
        ("5.15.0-1056-aws", "5.15+5.16+5.17+5.18"),
        ("5.15.16", "5.15+5.16"),
        ("5.15.2", "5.15"),
        ("6.18.44", "6.14"),
        ("6.19.14+deb13-cloud-amd64", "6.19"),
        ("7.0.0-38-generic", "7.0"),
        ("7.1.13", "7.1"),
        ("7.2.5", "7.2"),
        ("7.2.12+deb13-cloud-amd64", "7.2+7.3"),
        ("7.3.4+deb13-cloud-amd64", "7.3"),
        ("7.4.0", "7.3"),
        # As distributions write them.
        ("2.6.32-131.0.15.el6.x86_64", "2.6.32-el6-ga"),
        ("2.6.32-220.el6.i686", "2.6.32-el6-217"),
        ("2.6.32-754.el6.centos.plus.x86_64", "2.6.32-el6"),
        ("2.6.32-openvz-042stab094.7-amd64", "2.6.32-openvz"),
        ("2.6.18-419.el5", "2.6.18"),
        ("2.6.16.60-0.54.5-smp", "2.6.16"),
        ("2.6.40.4-5.fc15.x86_64", "3.0"),
        ("2.6.42.9-1.fc15.x86_64", "3.2"),
        ("2.6.39-400.17.1.el6uek.x86_64", "2.6.39"),
        ("3.10.0-123.el7.x86_64", "3.10-el7"),
        ("3.10.0-957.27.2.el7.x86_64", "3.10-el7-514"),
        ("3.10.0-1127.19.1.rt56.1116.el7.x86_64", "3.10-el7-1127"),
        ("3.10.0-1160.119.1.el7.x86_64.debug", "3.10-el7-1160"),
        ("3.10.0-862.11.6.vz7.64.7", "3.10"),
        ("3.10.108-1.el7.elrepo.x86_64", "3.10+3.12+3.14"),
        ("4.18.0-80.el8.x86_64", "4.18-el8"),
        ("4.18.0-553.22.1.el8_10.aarch64+64k", "4.18-el8-477"),
        ("4.18.0-477.rt7.1.el8", "4.18-el8-477"),
        ("5.14.0-70.13.1.el9_0.x86_64", "5.14-el9"),
        ("5.14.0-570.22.1.el9_6.x86_64", "5.14-el9-198"),
        ("6.12.0-124.8.1.el10_1.x86_64", "6.10"),
        ("6.9.7-1.el9.elrepo.x86_64", "6.8"),
        ("5.4.17-2136.300.7.el8uek.x86_64", "5.4"),
        ("5.15.0-205.149.5.1.el9uek.x86_64", "5.15"),
        ("4.12.14-122.159-default", "4.12"),
        ("5.14.21-150500.55.44-default", "5.14+5.16"),
        ("6.4.0-150600.23.7-default", "6.2"),
        ("3.13.0-170-generic", "3.12+3.14"),
        ("4.15.0-213-generic", "4.15+5.16"),
        ("5.4.0-1103-azure-fde", "5.4+5.9+5.16+5.18"),
        ("6.8.0-45-generic", "6.8"),
        ("6.11.0-1013-gcp", "6.10"),
        ("5.10.0-33-cloud-amd64", "5.10+5.16+5.18"),
        ("6.1.0-0.deb11.21-cloud-amd64", "6.1"),
        ("5.10.0-kali9-amd64", "5.10+5.16+5.18"),
        ("6.12.25+rpt-rpi-v7l", "6.10"),
        ("5.10.103-v7l+", "5.10+5.16"),
        ("4.14.355-275.570.amzn2.x86_64", "4.13+5.4+5.16"),
        ("6.1.112-124.190.amzn2023.x86_64", "6.1"),
        ("5.10.198-android13-4-00050-g12f3388846c3-ab11467996", "5.10+5.16+5.18"),
        ("5.15.167.4-microsoft-standard-WSL2", "5.15+5.16+5.17+5.18"),
        ("4.4.0-19041-Microsoft", "4.3"),
        ("6.8.12-4-pve", "6.8"),
        ("5.15.137-lockdown-chromeos", "5.15+5.16+5.17+5.18"),
        ("6.6.30-04949-g7c5b7d8e9f0a", "6.2"),
        ("6.12.0-rc4-next-20241025", "6.10"),
        ("6.18.0-rc1+", "6.14"),
    ],
)
def test_release_finds_its_rules(release: str, name: str) -> None:
    assert rules_for(release).name == name


@pytest.mark.parametrize(
    ("release", "word"),
    [
        ("7.4.0-rc1", "newer"),
        ("5.4.17-2136.300.7.el8uek.x86_64", "UEK"),
        ("3.10.0-862.11.6.vz7.64.7", "Virtuozzo"),
        ("5.10.0-60.18.0.50.oe2203.aarch64", "openEuler"),
        ("5.8.0-rc4-next-20200710", "linux-next"),
        ("5.10.134-16.al8.x86_64", "Alibaba"),
        ("5.4.119-19-0009.11-tlinux4", "TencentOS"),
    ],
)
def test_doubt_about_a_release_is_reported(release: str, word: str) -> None:
    assert word in (doubt(release) or "")


@pytest.mark.parametrize(
    "release",
    [
        "6.18.44",
        "4.18.0-553.el8_10.x86_64",
        "2.6.32-article",
        "7.0.0-38-generic",
        "7.3.4+deb13-cloud-amd64",
    ],
)
def test_no_doubt_where_sources_were_read(release: str) -> None:
    assert doubt(release) is None


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
    "release",
    ["5.15.0-1056-aws", "5.4.144", "4.18.0-553.el8_10.x86_64", "2.6.32", "6.18.1", "7.2.12"],
)
def test_a_rule_set_is_found_by_its_own_name(release: str) -> None:
    rules = rules_for(release)
    assert rules_for(rules.name) == rules
    assert range_of(release).rules == rules
    assert range_of(release).changes or range_of(release).variant


def test_the_row_of_a_release_shows_its_backports() -> None:
    since = [change.since for change in range_of("5.15.0-1056-aws").changes]
    assert since == ["5.15", "5.16", "5.17", "5.18"]


@pytest.mark.parametrize("text", ["", "5.", "five", "5.x", "5..1"])
def test_what_is_no_version_is_refused(text: str) -> None:
    with pytest.raises(UnknownKernelError) as error:
        parse_version(text)
    assert str(error.value) == f"{text!r} is not a version like 5.15 or 2.6.32"


@pytest.mark.parametrize(("release", "said"), [
    ("2.6.32-article", None), ("mine", None), ("6.12.3", None),
    (LAST_KNOWN, None), (f"{LAST_KNOWN}.9", None),
    ("99.1", "kernel 99.1 is newer than any whose rules are known; the newest are used"),
    ("5.15.0-200.el9uek.x86_64",
     ("kernel 5.15.0-200.el9uek.x86_64: the sources of Oracle's UEK were not read; its version "
     "decides")),
    ("6.12.0-next-20241010",
     "kernel 6.12.0-next-20241010: the sources of linux-next were not read; its version decides"),
])  # fmt: skip
def test_what_makes_rules_doubtful(release: str, said: str | None) -> None:
    assert doubt(release) == said
