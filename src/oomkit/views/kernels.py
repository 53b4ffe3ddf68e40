"""The history of the rules as a table."""

from collections.abc import Iterator, Sequence

from oomkit.kernel.versions import RuleRange
from oomkit.printable import printable
from oomkit.render.document import Document, Table, Text
from oomkit.render.layout import Column, Look
from oomkit.render.terminal import has_room
from oomkit.views.rules import rules_in_words

_MARGIN = 18


def kernels_table(rows: Sequence[RuleRange], look: Look) -> Table:
    """Rule sets: name, the versions they hold for, what changed, what it means."""
    texts = [_texts(row) for row in rows]
    names = [
        Column(heading="rules", cells=[row.rules.name for row in rows]),
        Column(heading="kernels", cells=[_range(row) for row in rows], words=True),
    ]
    beside = [
        Column(heading="what changed", cells=[what for what, _ in texts], words=True),
        Column(heading="what it means", cells=[meaning for _, meaning in texts], words=True),
    ]
    if has_room((*names, *beside), look):
        return Table(columns=(*names, *beside))
    cells = [": ".join(filter(None, text)) for text in texts]
    both = Column(heading="what changed: meaning", cells=cells, words=True)
    return Table(columns=[*names, both])


def rules_report(release: str, row: RuleRange) -> Document:
    """The rules a kernel follows: what is in force, and what brought them."""
    rules = row.rules
    heading = f"kernel {release.strip()} follows the rules of {rules.name}"
    page = Document(Text(printable(heading), "bold"))
    page.text(f"  in force in {_range(row)}")
    page.line()
    for heading, text in rules_in_words(rules):
        first = heading.ljust(_MARGIN)
        page.text(text, first=first, rest=" " * _MARGIN)
    page.line()
    what, meaning = _texts(row)
    page.text(what, first="new in them".ljust(_MARGIN), rest=" " * _MARGIN)
    if meaning:
        page.text(meaning, first="which means".ljust(_MARGIN), rest=" " * _MARGIN)
    return page


def _range(row: RuleRange) -> str:
    rules = row.rules
    if row.variant is not None or rules.until.removesuffix(" and later") == rules.since:
        return rules.until
    return f"{rules.since} to {rules.until}"


def _texts(row: RuleRange) -> tuple[str, str]:
    if row.variant is not None:
        return row.variant.what, row.variant.meaning
    what = "; ".join(change.what for change in row.changes)
    meaning = "; ".join(change.meaning for change in row.changes if change.meaning)
    return what, meaning


def bootable_lines(rows: Sequence[tuple[str, str, str | None]]) -> Iterator[str]:
    """Kernels that can be booted: release, image, directory of modules if it has any.

    Paths stand in lines of their own, whole, so that they can be copied.
    """
    for release, image, modules in rows:
        yield printable(release)
        yield f"  image    {printable(image)}"
        yield f"  modules  {printable(modules or 'none')}"
