"""Small changes of a file's meaning: where they can be made, and what each makes of the file.

A change replaces a few characters, so that the rest of the file keeps its lines. Text, docstrings,
annotations and what only type checkers read are left alone.
"""

import ast
import difflib
import random
import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

_COMPARED: dict[type[ast.cmpop], tuple[str, tuple[str, ...]]] = {
    ast.Lt: ("<", ("<=", ">=")),
    ast.LtE: ("<=", ("<", ">")),
    ast.Gt: (">", (">=", "<=")),
    ast.GtE: (">=", (">", "<")),
    ast.Eq: ("==", ("!=",)),
    ast.NotEq: ("!=", ("==",)),
    ast.Is: ("is", ("is not",)),
    ast.IsNot: (r"is\s+not", ("is",)),
    ast.In: ("in", ("not in",)),
    ast.NotIn: (r"not\s+in", ("in",)),
}
_COMPUTED: dict[type[ast.operator], tuple[str, str]] = {
    ast.Add: ("+", "-"),
    ast.Sub: ("-", "+"),
    ast.Mult: ("*", "//"),
    ast.Div: ("/", "*"),
    ast.FloorDiv: ("//", "*"),
    ast.Mod: ("%", "*"),
    ast.BitAnd: ("&", "|"),
    ast.BitOr: ("|", "&"),
    ast.LShift: ("<<", ">>"),
    ast.RShift: (">>", "<<"),
}


@dataclass(frozen=True)
class Mutant:
    """A change of one file: the text from ``start`` to ``end`` (characters) becomes ``text``."""

    path: str
    line: int
    start: int
    end: int
    text: str
    change: str
    """What was done, in a few words: ``< becomes <=``."""

    def apply(self, source: str) -> str:
        """Returns the file's text with the change in it."""
        return source[: self.start] + self.text + source[self.end :]

    def diff(self, source: str) -> str:
        """Returns the change as a unified diff without context."""
        lines = difflib.unified_diff(
            source.splitlines(),
            self.apply(source).splitlines(),
            self.path,
            self.path,
            "",
            "",
            0,
            "",
        )
        return "\n".join(lines)


@dataclass(frozen=True)
class Site:
    """A place where the meaning can be changed, in one or several ways."""

    mutants: tuple[Mutant, ...]


class _Finder(ast.NodeVisitor):
    def __init__(self, path: str, source: str) -> None:
        self.path = path
        self.source = source
        self.sites: list[Site] = []
        lines = source.splitlines(keepends=True)
        self._lines = lines
        self._begins = [0]
        for line in lines:
            self._begins.append(self._begins[-1] + len(line))

    def _offset(self, line: int, column: int) -> int:
        """``ast`` counts columns in bytes of UTF-8."""
        before = self._lines[line - 1].encode()[:column].decode()
        return self._begins[line - 1] + len(before)

    def _start(self, node: ast.expr | ast.stmt) -> int:
        return self._offset(node.lineno, node.col_offset)

    def _end(self, node: ast.expr | ast.stmt) -> int:
        assert node.end_lineno is not None
        assert node.end_col_offset is not None
        return self._offset(node.end_lineno, node.end_col_offset)

    def _line(self, offset: int) -> int:
        return self.source.count("\n", 0, offset) + 1

    def _site(self, start: int, end: int, *changes: tuple[str, str]) -> None:
        self.sites.append(Site(tuple(
            Mutant(self.path, self._line(start), start, end, self._filled(start, end, text), change)
            for text, change in changes
        )))  # fmt: skip

    def _filled(self, start: int, end: int, text: str) -> str:
        """The new text on as many lines as the old one."""
        lost = self.source.count("\n", start, end) - text.count("\n")
        if lost <= 0:
            return text
        return text + "\n" * lost if text == "pass" else f"({text}" + "\n" * lost + ")"

    def _operator(self, start: int, end: int, pattern: str, texts: tuple[str, ...]) -> None:
        """Note that the operator between two operands can be another one."""
        between = re.sub(r"#[^\n]*", lambda found: " " * len(found[0]), self.source[start:end])
        found = re.search(rf"(?<!\w){pattern}(?!\w)" if pattern[0].isalpha() else pattern, between)
        if found is None:
            return
        changes = [(text, f"{found[0]} becomes {text}") for text in texts]
        self._site(start + found.start(), start + found.end(), *changes)

    def visit_Compare(self, node: ast.Compare) -> None:
        operands = [node.left, *node.comparators]
        for left, operator, right in zip(operands, node.ops, operands[1:], strict=False):
            pattern, texts = _COMPARED[type(operator)]
            self._operator(self._end(left), self._start(right), pattern, texts)
        self.generic_visit(node)

    def visit_BoolOp(self, node: ast.BoolOp) -> None:
        word, other = ("and", "or") if isinstance(node.op, ast.And) else ("or", "and")
        if len(node.values) == 2:
            left, right = node.values
            self._operator(self._end(left), self._start(right), word, (other,))
        for value in node.values:
            if word == "or" and isinstance(value, ast.Constant) and not value.value:
                continue  # what comes after all others: 0 and False are the same
            neutral = "True" if word == "and" else "False"
            self._site(self._start(value), self._end(value), (neutral, f"a term of {word} dropped"))
        self.generic_visit(node)

    def visit_UnaryOp(self, node: ast.UnaryOp) -> None:
        if isinstance(node.op, ast.Not | ast.USub | ast.Invert):
            word = {ast.Not: "not", ast.USub: "-", ast.Invert: "~"}[type(node.op)]
            self._site(self._start(node), self._start(node.operand), (" ", f"{word} dropped"))
        self.generic_visit(node)

    def visit_BinOp(self, node: ast.BinOp) -> None:
        pair = _COMPUTED.get(type(node.op))
        text = isinstance(node.left, ast.JoinedStr) or (
            isinstance(node.left, ast.Constant) and isinstance(node.left.value, str | bytes)
        )
        if pair and not text:
            self._operator(self._end(node.left), self._start(node.right), re.escape(pair[0]),
                           (pair[1],))  # fmt: skip
        self.generic_visit(node)

    def visit_AugAssign(self, node: ast.AugAssign) -> None:
        pair = _COMPUTED.get(type(node.op))
        if pair:
            pattern = re.escape(pair[0] + "=")
            self._operator(
                self._end(node.target), self._start(node.value), pattern, (pair[1] + "=",)
            )
        self.visit(node.value)

    def _condition(self, test: ast.expr) -> None:
        if isinstance(test, ast.Compare | ast.UnaryOp):
            return  # the same as another change
        start, end = self._start(test), self._end(test)
        self._site(start, end, (f"(not ({self.source[start:end]}))", "condition turned"))

    def visit_If(self, node: ast.If) -> None:
        if isinstance(node.test, ast.Name) and node.test.id == "TYPE_CHECKING":
            return
        self._condition(node.test)
        self.generic_visit(node)

    def visit_IfExp(self, node: ast.IfExp) -> None:
        self._condition(node.test)
        self.generic_visit(node)

    def visit_comprehension(self, node: ast.comprehension) -> None:
        for test in node.ifs:
            self._condition(test)
        self.generic_visit(node)

    def visit_Constant(self, node: ast.Constant) -> None:
        start, end = self._start(node), self._end(node)
        if isinstance(node.value, bool):
            other = str(not node.value)
            self._site(start, end, (other, f"{node.value} becomes {other}"))
        elif isinstance(node.value, int | float):
            texts = (f"({node.value + 1})", f"({node.value - 1})")
            self._site(
                start, end, *((text, f"{self.source[start:end]} becomes {text}") for text in texts)
            )

    def visit_Expr(self, node: ast.Expr) -> None:
        if isinstance(node.value, ast.Call):
            self._site(self._start(node), self._end(node), ("pass", "a call dropped"))
        self.generic_visit(node)

    def visit_Break(self, node: ast.Break) -> None:
        self._site(self._start(node), self._end(node), ("continue", "break becomes continue"))

    def visit_Continue(self, node: ast.Continue) -> None:
        self._site(self._start(node), self._end(node), ("break", "continue becomes break"))

    def visit_JoinedStr(self, node: ast.JoinedStr) -> None:
        """Python 3.11 has no places for what is inside."""

    def visit_Call(self, node: ast.Call) -> None:
        called = node.func.id if isinstance(node.func, ast.Name) else ""
        if called in ("TypeVar", "NewType"):
            return
        if called == "zip":
            # strict=True states what holds, as an assertion does.
            node.keywords = [one for one in node.keywords if one.arg != "strict"]
        self.generic_visit(node)

    def visit_ClassDef(self, node: ast.ClassDef) -> None:
        """Without ``frozen=True`` and its like: what is never done shows no difference."""
        for part in node.body:
            self.visit(part)

    def visit_Assign(self, node: ast.Assign) -> None:
        if not (isinstance(node.targets[0], ast.Name) and node.targets[0].id == "TYPE_CHECKING"):
            self.generic_visit(node)

    def visit_AnnAssign(self, node: ast.AnnAssign) -> None:
        if node.value is not None:
            self.visit(node.value)

    def visit_arg(self, node: ast.arg) -> None:
        """Annotations have no effect."""

    def visit_FunctionDef(self, node: ast.FunctionDef | ast.AsyncFunctionDef) -> None:
        for part in (node.args, *node.body):
            self.visit(part)

    visit_AsyncFunctionDef = visit_FunctionDef  # noqa: N815 - the name that ast calls


def sites(path: str, source: str) -> list[Site]:
    """Returns the places of a file where its meaning can be changed, in the file's order."""
    finder = _Finder(path, source)
    finder.visit(ast.parse(source))
    return sorted(finder.sites, key=lambda site: (site.mutants[0].start, site.mutants[0].end))


def _valid(mutant: Mutant, source: str) -> bool:
    changed = mutant.apply(source)
    try:
        return ast.dump(ast.parse(changed)) != ast.dump(ast.parse(source))
    except SyntaxError:
        return False


def draw(
    root: Path, paths: list[str], number: int, seed: int, lines: dict[str, set[int]] | None = None
) -> list[Mutant]:
    """Returns ``number`` changes (or as many as there are), drawn from all places alike.

    The same files and the same seed give the same changes.

    Args:
        root: Directory that ``paths`` are relative to.
        paths: Files to draw from.
        number: How many to draw.
        seed: Of the draw.
        lines: Only lines of these numbers, by file; all where it is left out.
    """
    chance = random.Random(seed)
    texts = {path: (root / path).read_text() for path in sorted(paths)}
    found = [
        site
        for path, source in texts.items()
        for site in sites(path, source)
        if lines is None or site.mutants[0].line in lines.get(path, ())
    ]
    chance.shuffle(found)
    drawn: list[Mutant] = []
    for site in found:
        if len(drawn) == number:
            break
        mutant = chance.choice(site.mutants)
        if _valid(mutant, texts[mutant.path]):
            drawn.append(mutant)
    return drawn


def changed_lines(diff: str) -> Iterator[tuple[str, set[int]]]:
    """Yields each file of a ``git diff -U0`` with the numbers of the lines that it has anew."""
    path, numbers = "", set[int]()
    for line in diff.splitlines():
        if line.startswith("+++ "):
            if numbers:
                yield path, numbers
            path, numbers = line[4:].removeprefix("b/"), set()
        elif hunk := re.match(r"@@ -\S+ \+(\d+)(?:,(\d+))? @@", line):
            first, count = int(hunk[1]), int(hunk[2] or 1)
            numbers.update(range(first, first + count))
    if numbers:
        yield path, numbers
