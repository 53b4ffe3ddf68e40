"""Releases as distributions and clouds write them follow the rules of what they ship."""

from itertools import pairwise
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from oomkit.kernel.vendors import VARIANTS
from oomkit.kernel.versions import CHANGES, history, parse_version, rules_for

RHEL = [
    ("2.6.32-71.el6.x86_64", "2.6.32-el6-ga"),
    ("2.6.32-131.21.1.el6.x86_64", "2.6.32-el6-ga"),
    ("2.6.32-220.el6.x86_64", "2.6.32-el6-217"),
    ("2.6.32-431.29.2.el6.x86_64", "2.6.32-el6-370"),
    ("2.6.32-504.el6.i686", "2.6.32-el6-449"),
    ("2.6.32-573.26.1.el6.x86_64", "2.6.32-el6-528"),
    ("2.6.32-754.35.1.el6.x86_64", "2.6.32-el6"),
    ("2.6.32-042stab145.3", "2.6.32-openvz"),
    ("3.10.0-123.el7.x86_64", "3.10-el7"),
    ("3.10.0-229.20.1.el7.x86_64", "3.10-el7"),
    ("3.10.0-327.36.3.el7.x86_64", "3.10-el7-245"),
    ("3.10.0-514.21.2.el7.centos.plus.i686", "3.10-el7-514"),
    ("3.10.0-957.27.2.el7.x86_64", "3.10-el7-514"),
    ("3.10.0-1127.19.1.el7.x86_64", "3.10-el7-1127"),
    ("3.10.0-1160.119.1.el7.x86_64", "3.10-el7-1160"),
    ("3.10.0-1160.90.1.rt56.1236.el7.x86_64", "3.10-el7-1160"),
    ("4.18.0-80.11.2.el8_0.x86_64", "4.18-el8"),
    ("4.18.0-139.el8.ppc64le+debug", "4.18-el8"),
    ("4.18.0-147.5.1.el8_1.x86_64", "4.18-el8-147"),
    ("4.18.0-193.28.1.el8_2.x86_64", "4.18-el8-147"),
    ("4.18.0-240.22.1.el8_3.aarch64", "4.18-el8-240"),
    ("4.18.0-305.25.1.el8_4.x86_64", "4.18-el8-305"),
    ("4.18.0-372.32.1.el8_6.x86_64", "4.18-el8-348"),
    ("4.18.0-425.19.2.el8_7.x86_64", "4.18-el8-394"),
    ("4.18.0-553.el8_10.x86_64", "4.18-el8-477"),
    ("4.18.0-553.66.1.el8_10.x86_64", "4.18-el8-477"),
    ("5.14.0-70.30.1.el9_0.x86_64", "5.14-el9"),
    ("5.14.0-162.23.1.el9_1.x86_64", "5.14-el9-88"),
    ("5.14.0-570.32.1.el9_6.x86_64", "5.14-el9-198"),
    ("6.12.0-55.24.1.el10_0.x86_64", "6.10"),
    ("6.12.0-211.el10.ppc64le", "6.10"),
]

MAINLINE_AND_STABLE = [
    # Amazon Linux 1, 2 and 2023 keep the stable sublevel
    ("4.14.355-195.603.amzn1.x86_64", "4.13+5.4+5.16"),
    ("4.14.355-275.572.amzn2.x86_64", "4.13+5.4+5.16"),
    ("4.14.77-81.59.amzn2.x86_64", "4.13"),
    ("5.10.230-223.885.amzn2.x86_64", "5.10+5.16+5.18"),
    ("6.1.119-129.201.amzn2023.x86_64", "6.1"),
    # Ubuntu and its clouds, Debian: the sublevel is hidden
    ("4.15.0-213-generic", "4.15+5.16"),
    ("5.4.0-150-generic", "5.4+5.9+5.16+5.18"),
    ("5.4.0-1103-aws", "5.4+5.9+5.16+5.18"),
    ("5.15.0-1056-aws", "5.15+5.16+5.17+5.18"),
    ("5.15.0-1064-azure-fde", "5.15+5.16+5.17+5.18"),
    ("5.15.0-119-lowlatency-64k", "5.15+5.16+5.17+5.18"),
    ("6.8.0-1015-gcp", "6.8"),
    ("6.8.0-1013-raspi", "6.8"),
    ("4.19.0-27-amd64", "4.19+5.4+5.16"),
    ("5.10.0-33-cloud-amd64", "5.10+5.16+5.18"),
    ("5.10.0-0.deb10.30-rt-amd64", "5.10+5.16+5.18"),
    ("4.9.0-0.bpo.12-686-pae", "4.9+5.16"),
    ("6.1.0-18-arm64", "6.1"),
    ("6.12.111+deb12-cloud-amd64", "6.10"),
    # Android, Proxmox, WSL, Raspberry Pi OS, COS, Alpine, Arch, Fedora, SUSE, unchanged upstream
    ("5.10.149-android13-4-00003-g05231a35ff43-ab9850636", "5.10+5.16+5.18"),
    ("5.15.3-android13-8", "5.15+5.16"),
    ("5.4.203-1-pve", "5.4+5.9+5.16+5.18"),
    ("6.8.12-4-pve", "6.8"),
    ("4.19.128-microsoft-standard", "4.19+5.4"),
    ("5.15.153.1-microsoft-standard-WSL2", "5.15+5.16+5.17+5.18"),
    ("6.1.21-v8+", "6.1"),
    ("5.15.133+", "5.15+5.16+5.17+5.18"),
    ("6.6.72-0-lts", "6.2"),
    ("6.9.7-arch1-1", "6.8"),
    ("6.8.5-301.fc40.x86_64", "6.8"),
    ("4.12.14-122.37-default", "4.12"),
    ("5.14.21-150400.24.100-default", "5.14+5.16"),
    ("6.4.0-150600.23.25-default", "6.2"),
    ("6.9.0-rc1", "6.8"),
    ("6.8.0-rc6-next-20240228", "6.8"),
    ("5.10.0-rc3-next-20201116-00001-g0123456789ab", "5.10"),
]

NOT_RED_HATS_OWN = [
    # packages for a Red Hat system that are built from a stable release
    ("3.10.108-1.el7.elrepo.x86_64", "3.10.108"),
    ("6.1.119-1.el9.elrepo.x86_64", "6.1.119"),
    ("5.4.17-2136.338.4.2.el8uek.x86_64", "5.4.17"),
    ("4.14.0-115.21.2.el7a.aarch64", "4.14.0"),
]


@pytest.mark.parametrize(("release", "name"), RHEL + MAINLINE_AND_STABLE)
def test_release_finds_its_rules(release: str, name: str) -> None:
    """The rules follow from ``uname -r`` as distributions write it."""
    assert rules_for(release).name == name


@pytest.mark.parametrize(("release", "stable"), NOT_RED_HATS_OWN)
def test_a_marker_alone_does_not_make_a_vendor_kernel(release: str, stable: str) -> None:
    assert rules_for(release) == rules_for(stable)


@pytest.mark.parametrize(
    ("release", "fields"),
    [
        ("2.6.32-642.6.2.el6.x86_64", {"origin": "adj", "low_zone": False, "badness": "permille"}),
        ("2.6.32-131.el6.x86_64", {"badness": "classic", "children": "first"}),
        ("2.6.32-358.el6.x86_64", {"badness": "permille", "memcg_at_fault_end": False}),
        ("3.10.0-229.el7.x86_64", {"memcg_at_fault_end": False, "root_bonus": "3_percent"}),
        ("3.10.0-327.el7.x86_64", {"memcg_at_fault_end": True, "memcg_total": "bytes_swappiness"}),
        ("3.10.0-514.6.1.el7.x86_64", {"log_kill": "4.5", "min_free_cap_kb": 65536}),
        ("3.10.0-1160.el7.x86_64", {"log_kill": "el7", "dying": "will_free"}),
        ("4.18.0-80.el8.x86_64", {"children": "worst", "oom_group": False, "ties": "first"}),
        ("4.18.0-147.el8.x86_64", {"children": "none", "oom_group": True, "ties": "first"}),
        ("4.18.0-240.el8.x86_64", {"ties": "last", "guess": "ram_swap", "log_summary": "5.2"}),
        ("4.18.0-305.el8.x86_64", {"oom_score": "per_1000", "guess": "ram_swap"}),
        ("4.18.0-348.el8.x86_64", {"oom_score": "two_thirds", "guess": "admin_reserve"}),
        ("4.18.0-553.el8_10.x86_64", {"pagefault": "retry", "memcg_total": "swap_max"}),
        ("5.14.0-70.13.1.el9_0.x86_64", {"pagefault": "out_of_memory", "oom_reaper_delay_s": 0}),
        ("5.14.0-503.el9.x86_64", {"pagefault": "retry", "log_table": "4.19"}),
        ("3.10.65", {"root_bonus": "3_percent", "overcommit_kbytes": False}),
        ("4.14.177", {"fs_memcg_exempt": True, "node_pages": "spanned", "log_kill": "4.5"}),
        ("4.19.304", {"fs_memcg_exempt": True, "log_kill": "4.5", "oom_reaper_delay_s": 0}),
        ("5.10.89", {"pagefault": "retry", "oom_reaper_delay_s": 0}),
        ("5.10.134", {"pagefault": "retry", "oom_reaper_delay_s": 2}),
    ],
)
def test_fields_read_in_the_source_of_that_release(release: str, fields: dict[str, Any]) -> None:
    """What the source of each release does; docs/kernels.md names the trees."""
    rules = rules_for(release)
    assert {field: getattr(rules, field) for field in fields} == fields


@pytest.mark.parametrize(
    ("change", "branch", "sublevel"),
    [(c, branch, sublevel) for c in CHANGES for branch, sublevel in c.backports],
)
def test_a_backport_holds_from_its_sublevel_on(change: Any, branch: str, sublevel: int) -> None:
    at = rules_for(f"{branch}.{sublevel}")
    before = rules_for(f"{branch}.{sublevel - 1}")
    assert {field: getattr(at, field) for field in change.sets} == change.sets
    assert at.name != before.name
    assert before.since == at.since


def test_a_variant_differs_from_the_build_before_it() -> None:
    for marker in {v.marker for v in VARIANTS if v.marker}:
        builds = [v for v in VARIANTS if v.marker == marker]
        for older, newer in pairwise(builds):
            assert older.build < newer.build
            assert older.sets != newer.sets


@given(
    build=st.lists(st.integers(0, 2000), min_size=1, max_size=3),
    kernel=st.sampled_from([("3.10.0", "el7"), ("4.18.0", "el8_6"), ("5.14.0", "el9_2")]),
)
def test_any_build_of_a_known_series_has_one_variant(
    build: list[int], kernel: tuple[str, str]
) -> None:
    version, tag = kernel
    number = ".".join(map(str, build))
    rules = rules_for(f"{version}-{number}.{tag}.x86_64")
    variant = next(v for v in VARIANTS if v.name == rules.name)
    assert variant.build <= tuple(build)
    assert variant.marker is not None
    newer = [v for v in VARIANTS if v.marker == variant.marker and v.build > variant.build]
    assert all(v.build > tuple(build) for v in newer)


def test_names_are_unique_and_lead_back_to_their_rules() -> None:
    names = [row.rules.name for row in history()]
    assert len(names) == len(set(names))
    for variant in VARIANTS:
        rules = rules_for(variant.name)
        assert rules.name == variant.name
        assert parse_version(rules.since) <= parse_version(variant.base)


FIRST_BUILDS = {
    ("2.6.32", ".el6"): {174: "2.6.32-el6-174", 217: "2.6.32-el6-217", 370: "2.6.32-el6-370",
                         449: "2.6.32-el6-449", 528: "2.6.32-el6-528", 600: "2.6.32-el6"},
    ("3.10", ".el7"): {245: "3.10-el7-245", 482: "3.10-el7-482", 514: "3.10-el7-514",
                       1127: "3.10-el7-1127", 1160: "3.10-el7-1160"},
    ("4.18", ".el8"): {147: "4.18-el8-147", 240: "4.18-el8-240", 305: "4.18-el8-305",
                       348: "4.18-el8-348", 394: "4.18-el8-394", 477: "4.18-el8-477"},
    ("5.14", ".el9"): {88: "5.14-el9-88", 198: "5.14-el9-198"},
}  # fmt: skip
"""The builds that docs/kernels.md names: of RHEL's minor releases, or of the changelog's entry."""


@pytest.mark.parametrize(("base", "marker"), FIRST_BUILDS)
def test_a_vendors_change_holds_from_its_build_on(base: str, marker: str) -> None:
    full = base if base.count(".") == 2 else f"{base}.0"
    before = f"{base}{'-el' + marker[-1]}{'-ga' if base == '2.6.32' else ''}"
    for build, name in FIRST_BUILDS[base, marker].items():
        assert rules_for(f"{full}-{build - 1}{marker}.x86_64").name == before
        assert rules_for(f"{full}-{build}{marker}.x86_64").name == name
        before = name
