"""How many of one name have to go together, so that memory lasts until the next choice."""

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Sequence

    from oomkit.policy.core.ranked import Ranked


def take_along(
    choice: "Ranked",
    ranked: "Sequence[Ranked]",
    *,
    left_kb: float,
    falls_kb_s: float,
    lasts_s: float,
    share: float,
    most: int,
) -> None:
    """Widen a choice to others of its name who grow as well, in the order of their ranks.

    One of many that grow gives back little and hardly slows the fall; so many go that what is
    left, with what they give back, lasts ``lasts_s`` against the growth of those who stay. A single
    culprit has all the growth, and goes alone.

    Args:
        choice: who was chosen; its ``members``, ``level`` and sums are changed.
        ranked: everybody, in order.
        left_kb: available memory and free swap, with what is on its way.
        falls_kb_s: how fast that falls.
        lasts_s: how long it shall last.
        share: what deaths really give back, of what they should.
        most: no more than so many members.
    """
    grown_kb = {id(one): one.candidate.grown_kb() for one in ranked}
    all_kb = sum(grown_kb.values())
    if choice.level != "process" or all_kb <= 0.0:
        return
    members = {m.pid for m in choice.members}
    stays_kb = sum(
        grown_kb[id(one)]
        for one in ranked
        if not one.candidate.dying and one.candidate.pid not in members
    )
    needed_kb = falls_kb_s * lasts_s / all_kb
    taken = list(choice.members)
    for one in ranked:
        if left_kb + share * choice.freed_kb >= needed_kb * stays_kb or len(taken) >= most:
            break
        if one.verdict or one.candidate.pid in members or not _is_alike(one, choice):
            continue
        taken.append(one.candidate)
        choice.freed_kb += one.freed_kb
        choice.gain_kb += one.gain_kb
        choice.level = "namesakes"
        stays_kb -= grown_kb[id(one)]
    choice.members = tuple(taken)


def _is_alike(one: "Ranked", choice: "Ranked") -> bool:
    return (
        one.level == "process"
        and len(one.members) == 1
        and one.candidate.comm == choice.candidate.comm
        and one.candidate.grown_kb() > 0.0
    )
