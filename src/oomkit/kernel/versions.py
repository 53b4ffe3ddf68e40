"""Which rules a kernel version follows. The one place that compares version numbers."""

import re
from functools import cache, lru_cache

from oomkit.errors import OomkitError
from oomkit.kernel import changes_2_6, changes_3_4, changes_5_7
from oomkit.kernel.rules import Change, RuleSet
from oomkit.kernel.vendors import VARIANTS, Variant
from oomkit.records import Record, as_dict

CHANGES: tuple[Change, ...] = (
    *changes_2_6.CHANGES,
    *changes_3_4.CHANGES,
    *changes_5_7.CHANGES,
)

LAST_KNOWN = "7.3"
"""Newest version whose source was read; later ones are judged by its rules."""


Version = tuple[int, ...]

_RELEASE = re.compile(r"(?P<version>\d+(?:\.\d+){1,3})(?P<rest>.*)", re.ASCII | re.DOTALL)
_BUILD = re.compile(r"-(\d+(?:\.\d+)*)", re.ASCII)
_BACKPORTED = re.compile(r"(?:\+\d+\.\d+)+", re.ASCII)
_UBUNTU = (
    "generic|lowlatency|server|virtual|aws|azure|gcp|gke|gkeop|oracle|kvm|ibm|raspi|raspi2|oem|"
    "intel|nvidia|hwe|cloud|fips|bluefield|powerpc|pae|starfive|laptop|iot|xilinx|realtime"
)
_DEBIAN = (
    r"(?:(?:cloud|rt)-)?(?:amd64|arm64|armmp|686|rpi|marvell|powerpc|ppc64el|s390x|riscv64|"
    r"mips64el|4kc-malta|5kc-malta|loongson-3|octeon)"
)
_HIDDEN_SUBLEVEL = re.compile(
    rf"-(?:kali|rpi)?\d+(?:-(?:{_UBUNTU})\b.*|(?:\.(?:bpo|deb\d+)\.\d+)?-{_DEBIAN}\b.*)?$", re.ASCII
)

_UNREAD = {
    r"uek\b": "Oracle's UEK",
    r"\.vz\d": "Virtuozzo",
    r"\.oe\d": "openEuler",
    r"\.a[ln][78]\b": "Alibaba Cloud Linux and Anolis",
    r"tlinux": "TencentOS",
    r"-next-\d{8}\b": "linux-next",
}
"""Markers of vendors whose kernels differ from the version in their name in unknown ways, and of
linux-next, which has patches of the next version and some that were never merged."""


class UnknownKernelError(OomkitError, ValueError):
    """A version or rule set that no rules are known for; the text says what was expected."""


class RuleRange(Record, frozen=True, kw_only=True):
    """One row of the history: a rule set and what made it differ from the one before.

    Attributes:
        rules: the rule set.
        changes: the changes that its first version brought; empty for a variant.
        variant: the vendor variant it is; None for mainline.
    """

    rules: RuleSet
    changes: tuple[Change, ...] = ()
    variant: Variant | None = None


def parse_version(text: str) -> Version:
    """Return ``"5.15"`` as ``(5, 15)``.

    Raises:
        UnknownKernelError: ``text`` is not made of numbers and dots.
    """
    try:
        return tuple(int(part) for part in text.split("."))
    except ValueError:
        raise UnknownKernelError(f"{text!r} is not a version like 5.15 or 2.6.32") from None


@lru_cache(maxsize=256)
def rules_for(release: str) -> RuleSet:
    """Return the rule set of a kernel release or of a rule set's own name.

    Args:
        release: what ``uname -r`` prints (``4.18.0-553.el8_10.x86_64``), a version (``5.9``)
            or the name of a variant (``2.6.32-article``).

    Raises:
        UnknownKernelError: not a version, or older than 2.6.11.
    """
    release = release.strip()
    for variant in VARIANTS:
        if release == variant.name:
            return _variant_rules(variant)
    match = _RELEASE.match(release)
    if match is None:
        raise UnknownKernelError(
            f"unknown kernel {release!r}: expected a version from {CHANGES[0].since} on, "
            "such as 5.15 or 2.6.32-754.el6.x86_64, or a rule set's name"
        )
    version = _renumbered(parse_version(match["version"]))
    if version < parse_version(CHANGES[0].since):
        raise UnknownKernelError(
            f"kernel {match['version']} is older than {CHANGES[0].since}, "
            "the first one whose rules are known"
        )
    variant_found = _find_variant(version, match["rest"])
    if variant_found is not None:
        return _variant_rules(variant_found)
    return _mainline_rules(
        version,
        hidden_sublevel=_hides_sublevel(version, match["rest"]),
        named=_named_backports(match["rest"]),
    )


def range_of(release: str) -> RuleRange:
    """Return the row of :func:`history` for a release; with its backports where it has some.

    Raises:
        UnknownKernelError: as :func:`rules_for`.
    """
    rules = rules_for(release)
    for row in history():
        if row.rules == rules:
            return row
    _, *backported = rules.name.split("+")
    changes = [c for c in CHANGES if c.since == rules.since or c.since in backported]
    return RuleRange(rules=rules, changes=tuple(changes))


def doubt(release: str) -> str | None:
    """Say why the rules found for a release may not be all of its rules; None: no reason known.

    Args:
        release: as for :func:`rules_for`.
    """
    match = _RELEASE.match(release.strip())
    if match is None:
        return None
    last = parse_version(LAST_KNOWN)
    if parse_version(match["version"])[: len(last)] > last:
        return f"kernel {release} is newer than any whose rules are known; the newest are used"
    for marker, vendor in _UNREAD.items():
        if re.search(marker, match["rest"]):
            return f"kernel {release}: the sources of {vendor} were not read; its version decides"
    return None


@cache
def history() -> tuple[RuleRange, ...]:
    """Every rule set, mainline ones in order of version, then the vendor variants."""
    rows = []
    for since in dict.fromkeys(change.since for change in CHANGES):
        rules = _mainline_rules(parse_version(since))
        rows.append(RuleRange(rules=rules, changes=tuple(c for c in CHANGES if c.since == since)))
    rows.extend(RuleRange(rules=_variant_rules(v), variant=v) for v in VARIANTS)
    return tuple(rows)


def _renumbered(version: Version) -> Version:
    """Fedora 15 called 3.0 to 3.3 2.6.40 to 2.6.43."""
    if version[:2] == (2, 6) and len(version) > 2 and version[2] >= 40:
        return (3, version[2] - 40, *version[3:])
    return version


def _find_variant(version: Version, rest: str) -> Variant | None:
    """The vendor's rule set, by the marker in the release and the newest build reached.

    Rebuilds of stable kernels for the same distribution (3.10.108-1.el7.elrepo) carry the
    marker too; the vendor's own keep the sublevel 0.
    """
    numbers = _BUILD.match(rest)
    build = parse_version(numbers[1]) if numbers else ()
    found = None
    for variant in VARIANTS:
        base = parse_version(variant.base)
        if not variant.marker or variant.marker not in rest or version not in (base, (*base, 0)):
            continue
        if variant.build <= build and (found is None or variant.build >= found.build):
            found = variant
    return found


def _named_backports(rest: str) -> frozenset[str]:
    """The changes that a rule set's own name adds to its version, as in 5.14+5.16+5.18."""
    return frozenset(rest[1:].split("+")) if _BACKPORTED.fullmatch(rest) else frozenset()


def _hides_sublevel(version: Version, rest: str) -> bool:
    """Ubuntu and Debian print 5.15.0-1056-aws, 6.1.0-18-amd64 for kernels with stable fixes.

    The number is their own count of interfaces, not of the stable release inside.
    """
    return version[-1] == 0 and len(version) == 3 and bool(_HIDDEN_SUBLEVEL.match(rest))


@lru_cache(maxsize=64)
def _mainline_rules(
    version: Version, *, hidden_sublevel: bool = False, named: frozenset[str] = frozenset()
) -> RuleSet:
    applied = [
        c
        for c in CHANGES
        if _applies(c, version, hidden_sublevel)
        or (c.since in named and _applies(c, version, hidden_sublevel=True))
    ]
    since = max((parse_version(c.since) for c in CHANGES if _reached(c, version)), default=())
    later = [c.since for c in CHANGES if parse_version(c.since) > since]
    sets = {field: value for change in applied for field, value in change.sets.items()}
    name = ".".join(map(str, since))
    backported = [c for c in applied if not _reached(c, version)]
    if backported:
        name = "+".join((name, *dict.fromkeys(c.since for c in backported)))
    until = _before(later[0]) if later else f"{LAST_KNOWN} and later"
    return RuleSet(name=name, since=".".join(map(str, since)), until=until, **sets)


def _variant_rules(variant: Variant) -> RuleSet:
    base = _mainline_rules(parse_version(variant.base))
    fields = as_dict(base)
    fields.update(variant.sets, name=variant.name, until=variant.releases)
    return RuleSet(**fields)


def is_from(release: str, since: str) -> bool:
    """Whether a kernel is of a version or later, for rules that are not about OOM.

    Args:
        release: as :func:`rules_for` takes it; a variant counts as the version in its name.
        since: a version such as ``6.12``.
    """
    match = _RELEASE.match(release.strip())
    return match is not None and _renumbered(parse_version(match["version"])) >= parse_version(
        since
    )


def _reached(change: Change, version: Version) -> bool:
    return version >= parse_version(change.since)


def _applies(change: Change, version: Version, hidden_sublevel: bool) -> bool:
    if _reached(change, version):
        return True
    for branch, sublevel in change.backports:
        stem = parse_version(branch)
        if version[: len(stem)] != stem:
            continue
        if hidden_sublevel or (len(version) > len(stem) and version[len(stem)] >= sublevel):
            return True
    return False


def _before(since: str) -> str:
    """The version just before ``since``, as the end of a range; series ends are not counted."""
    last_of_series = {"3.0": "2.6.39", "4.0": "3.19", "5.0": "4.20", "6.0": "5.19", "7.0": "6.19"}
    if since in last_of_series:
        return last_of_series[since]
    *head, tail = parse_version(since)
    return ".".join(map(str, (*head, tail - 1)))
