"""A policy's decision as the plain values of a record: why now, whom of whom, with what."""

from __future__ import annotations

from oomkit.policy.engine.conditions import NAMES

TYPE_CHECKING = False

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from oomkit.policy.engine.candidate import Candidate, Ranked
    from oomkit.policy.engine.decider import Act
    from oomkit.policy.engine.trigger import State

CMDLINE = 4096
"""How much of a command line a record holds."""
CANDIDATES = 20
"""How many of the ranking a record holds."""


def act(decided: Act) -> dict[str, object]:
    """Return what is known of an act when it begins, but for its clocks and its outcome."""
    choice = decided.choice
    return {
        "kind": "act",
        "level": NAMES[decided.state.level],
        **why_now(decided.state),
        "victim": victim(choice),
        "reason": reason(decided.ranked),
        "candidates": candidates(decided.ranked),
        "considered": len(decided.ranked),
        "command": decided.command,
    }


def why_now(state: State) -> dict[str, object]:
    """Return the rule that holds and the evidence for each of its conditions."""
    return {
        "rule": state.rule,
        "cgroup": state.cgroup,
        "evidence": [
            {
                "name": one.kind.name,
                "measured": _rounded(one.measured),
                "threshold": _rounded(one.threshold),
                "unit": one.kind.unit,
                "holds": one.holds,
                "held_s": _rounded(one.held_s),
                "over_s": one.over_s,
                "cgroup": one.cgroup,
            }
            for one in state.evidence
        ],
    }


def victim(choice: Ranked) -> dict[str, object]:
    """Return whom a choice takes."""
    one = choice.candidate
    return {
        "pid": one.pid,
        "start_time": one.start_time,
        "comm": one.comm,
        "uid": one.uid,
        "user": one.user,
        "exe": one.exe,
        "cmdline": _short(one.cmdline),
        "cgroup": one.cgroup,
        "unit": one.unit,
        "container": one.container,
        "cpu_s": _rounded(one.cpu_s),
        "level": choice.level,
        "note": choice.note,
        "expected_kb": _rounded(choice.freed_kb),
        "members": [{"pid": c.pid, "comm": c.comm} for c in choice.members],
    }


def candidates(ranked: Iterable[Ranked]) -> list[dict[str, object]]:
    """Return the head of the ranking, with what the scores are made of."""
    rows: list[dict[str, object]] = []
    for one in ranked:
        if len(rows) >= CANDIDATES:
            break
        rows.append(
            {
                **_sizes(one.candidate),
                "dies_with": len(one.members) - 1,
                "freed_kb": _rounded(one.freed_kb),
                "score": _rounded(one.score),
                "factors": {name: _rounded(value) for name, value in one.factors},
                "verdict": one.verdict,
            }
        )
    return rows


def reason(ranked: Iterable[Ranked]) -> str:
    """Return in a sentence why the first that can be chosen is, by the factor that decided."""
    first, second = None, None
    for one in ranked:
        if not one.verdict:
            if first is not None:
                second = one
                break
            first = one
    if first is None:
        return "nobody can be chosen"
    if second is None:
        return "nobody else can be chosen"
    lead = f"ahead of {second.candidate.comm}[{second.candidate.pid}]"
    if second.score <= 0.0 or first.score <= 0.0:
        return f"first, {lead}"
    ratio = first.score / second.score
    theirs = dict(second.factors)
    factor, best = "", 1.0
    for name, value in first.factors:
        other = theirs.get(name, 1.0)
        if other > 0.0 and value / other > best:
            factor, best = name, value / other
    by = f", most by {factor}" if factor else ""
    return f"score {ratio:.3g} times that of {second.candidate.comm}[{second.candidate.pid}]{by}"


def _short(cmdline: str | None) -> str | None:
    if cmdline is None or len(cmdline) <= CMDLINE:
        return cmdline
    return f"{cmdline[:CMDLINE]}\u2026"


def _sizes(one: Candidate) -> dict[str, object]:
    return {
        "pid": one.pid,
        "comm": one.comm,
        "uid": one.uid,
        "anon_kb": _rounded(one.anon_kb),
        "shmem_kb": _rounded(one.shmem_kb),
        "swap_kb": _rounded(one.swap_kb),
        "pgtables_kb": _rounded(one.pgtables_kb),
        "oom_score_adj": one.oom_score_adj,
        "growth_kb": _rounded(one.growth_kb),
        "cpu_s": _rounded(one.cpu_s),
    }


def _rounded(value: float | None) -> float | int | None:
    """Keep what matters of a number; whole ones without a point, None for an infinity."""
    if value is None or value - value != 0.0:
        return None
    short = round(value, 3) if abs(value) < 1000.0 else round(value)
    return int(short) if short == short // 1 else short


_ESCAPES: dict[int, str] = {
    **{code: f"\\u{code:04x}" for code in (*range(0x20), *range(0x7F, 0xA0), 0x2028, 0x2029)},
    **{0xDC00 + byte: f"\\\\x{byte:02x}" for byte in range(0x80, 0x100)},
    ord('"'): '\\"',
    ord("\\"): "\\\\",
    ord("\n"): "\\n",
    ord("\t"): "\\t",
}
"""Besides what JSON demands: bytes of a name that were not UTF-8 become readable ``\\xff``."""


def encode(record: Mapping[str, object]) -> bytes:
    r"""Return a record as one line of UTF-8 JSON that ends in a newline.

    Names that are no UTF-8 (surrogate escapes) are written as the text ``\xff``, numbers that
    JSON has no word for (NaN, infinities) as null, bytes as text, tuples as arrays, and
    anything of a type JSON lacks as its ``str()``.
    """
    return (_value(record) + "\n").encode("utf-8", "replace")


def _value(value: object) -> str:
    if value is None:
        return "null"
    if value is True:
        return "true"
    if value is False:
        return "false"
    if isinstance(value, int):
        return int.__repr__(value)
    if isinstance(value, float):
        # An infinity, and only that or NaN, differs from itself after subtraction.
        return float.__repr__(value) if value - value == 0.0 else "null"
    if isinstance(value, (list, tuple)):
        return "[" + ",".join([_value(item) for item in value]) + "]"
    if isinstance(value, dict):
        return "{" + ",".join([f"{_text(str(k))}:{_value(v)}" for k, v in value.items()]) + "}"
    if isinstance(value, (bytes, bytearray)):
        return _text(value.decode("utf-8", "surrogateescape"))
    return _text(value if isinstance(value, str) else str(value))


def _text(text: str) -> str:
    return '"' + text.translate(_ESCAPES) + '"'
