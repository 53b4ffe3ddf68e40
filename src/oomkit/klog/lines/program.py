"""Lines of a text that are a program's: the texts in its lists and records, as log lines look.

A line by itself may be an element of a printed list as well as one of a program, and what stands
behind ``#`` a remark on a log. So what stands together without a blank line or a fence is looked at
as one: where any of its lines can only be of a program, those that hold nothing but a text between
quotes or a comment are, too. Together is also what a fence names the language of, and a text
without fences of which many lines are a program's.
"""

from collections.abc import Iterator

from oomkit.klog.lines import expressions as re
from oomkit.klog.lines.prose import FENCE

_MARKS = re.compile(
    # What no log prints: statements, declarations, calls of constructors, values without quotes.
    r"(?m)^[ \t]{0,200}(?:[+-][ \t]{0,200})?(?:"
    r"(?:const|let|var|static|export) [\w:<>, ]+ = |(?:async )?def \w+\("
    r"|(?:pub |async )*(?:fn|func|function) [\w(]|(?:it|test|describe)\(|#include [<\"]"
    r"|let (?:rec )?\w+(?: \(\)| ~?\w+)* =$"
    r"|from \w[\w.]* import |import [\w{\"*]|return [\w.]+\(|class \w+[(:{ ]|assert |@\w+$"
    r"|[A-Za-z_][\w.]*(?: :)?:?= ?(?:\[\]\w+)?[\[{(]+$|for \(|for \w+ in |if .*[:{]$|while .*[:{]$"
    # A constant, which no tool prints so; loops over pairs; what an f-string fills in.
    r"|[A-Z][A-Z\d_]{2,}(?:: [\w\[\], .]{1,60})? = [\[{(]+$|\w+ \+= [\[{(]+$"
    r"|for \w+, [\w(][\w ,()]{0,60} in .*[\[({:]$|for .* := range "
    r"|el(?:se )?if .*[:{]$|r?f\"[^\"]*\{\w"
    r"|\w+:\n[ \t]+[\"'`].*[\"'`],$"
    # The head of what a shell's function is given in a quotation.
    r"|(?!curl|wget|http|kubectl|oc|aws)\w+ (?:\"[^\"]{1,80}\" )'[\[{]$)"
    r"|\bnew [A-Z]\w*\(|\.(?:to_string|join|push|append)\(|(?<![\]\"] )=> ?[{(]|:= "
    r"|\bstd::(?:string|vector)\b"
    r"|\": (?!true,|false,|null,)[a-z_]\w*(?:\(\))?,$|\bjson\.dumps\("
    r"|\bre\.compile\(|\bregexp\.MustCompile\(|\bINSERT INTO \w+"
)
_TEXT = re.compile(
    r"\s*[+-]?\s*(?:[{\[(]\s*)*(?:(?:[\w.-]+|[\"'][\w.-]+[\"'])\s*[:=]\s*|return )?"
    r"[rbfu]{0,2}[\"'`]"
    r".*(?:[\"'`](?:\.\w+\(\))?[\s,;)\]}]*(?://.*)?|\\)$"
    r"|\s*[+-]?\s*\{\s*\w+: [\"'].*\}[,;]?$"
    # Fields of a value, of which the last is an expression.
    r"|\s*[+-]?\s*[A-Z]\w*: [\"`].*[\"`], [A-Z]\w*: [^\"`]*\)\}?\)?,?$"
    # A tuple with a text at its end.
    r"|\s*\(.*, [rbfu]{0,2}[\"'].*[\"']\),?$"
    # A field whose value is a number.
    r"|\s*[+-]?\s*(?:\w+|[\"']\w+[\"'])\s*[:=]\s*-?\d+,?$"
    # A comment.
    r"|\s*[+-]?\s*(?:#+|//+|--)\s.*"
)
_COMMENT = re.compile(r"\s*[+-]?\s*#+\s")
_COMMANDS = re.compile(
    r"\s*(?:```|~~~) ?(?:bash|sh|shell|zsh|ya?ml|toml|ini|dockerfile|makefile)\b", re.IGNORECASE
)
"""Of commands and configuration, whose comments begin with ``#`` and nothing else does."""
_LANGUAGE = re.compile(
    r"\s*(?:```|~~~) ?(?:py|python|js|javascript|ts|typescript|go|golang|rust|rs|java|kotlin|swift"
    r"|c|cpp|c\+\+|csharp|ruby|rb|php|perl|lua|sql|r|scala)\b",
    re.IGNORECASE,
)
_MANY = 6
_SHARE = 8
"""So many lines that can only be a program's, of this share of all, make a text a program."""


def program_lines(text: str) -> frozenset[int]:
    """Numbers, from 1, of the lines that are texts of a program.

    Args:
        text: a text of no more than some ten thousand bytes.
    """
    lines = text.split("\n")
    if _is_source(lines):
        return frozenset(range(1, len(lines) + 1))
    found: set[int] = set()
    if "#" in text and any(fence in text for fence in FENCE):
        found.update(_comments_of_commands(lines))
    if text.startswith("#!"):
        found.update(i for i, line in enumerate(lines, start=1) if _COMMENT.match(line))
    if "*" in text:
        found.update(_block_comments(lines))
    if "<<" in text:
        found.update(_here_documents(text, lines))
    if _MARKS.search(text) is None:
        return frozenset(found)
    found.update(_long_texts(lines))
    for begin, end in [(0, len(lines))] if _is_program(text, lines) else _blocks(lines):
        block = lines[begin:end]
        if _MARKS.search("\n".join(block)) is not None:
            found.update(
                begin + offset for offset, line in enumerate(block, start=1) if _TEXT.match(line)
            )
    return frozenset(found)


def _is_program(text: str, lines: list[str]) -> bool:
    """Whether a text is a program's as a whole."""
    if any(line.lstrip().startswith(FENCE) for line in lines):
        return False
    marks = len(_MARKS.findall(text))
    return marks >= _MANY and marks * _SHARE >= sum(bool(line.strip()) for line in lines)


def _comments_of_commands(lines: list[str]) -> Iterator[int]:
    """Numbers of the lines that are comments between commands."""
    inside = False
    for i, line in enumerate(lines, start=1):
        if line.lstrip().startswith(FENCE):
            inside = not inside and _COMMANDS.match(line) is not None
        elif inside and _COMMENT.match(line):
            yield i


def _here_documents(text: str, lines: list[str]) -> Iterator[int]:
    """Numbers of the lines that a script feeds to a command, not of those that a person typed."""
    if _SCRIPT.search(text) is None:
        return
    i = 0
    while i < len(lines):
        begin = _HERE.match(lines[i])
        i += 1
        if begin is None:
            continue
        end = next((j for j in range(i, len(lines)) if lines[j].strip() == begin["end"]), i)
        yield from range(i + 1, end + 1)
        i = end


_SCRIPT = re.compile(
    r"\A\s*#!|^\s*(?:fi|done|esac)\s*(?:;|$|\||>)|^\s*set -[eux]|^(?:function )?\w+ ?\(\) *\{",
    re.MULTILINE,
)
_HERE = re.compile(r"\s*[^$#>\s\]].{0,200}?<<[-~<]?\s*[\"'\\]?(?P<end>[A-Z_]\w*)\b")
"""The head of a text within a script; before what a person types stands a prompt."""


def _long_texts(lines: list[str]) -> Iterator[int]:
    """Numbers of the lines of a program's texts that take several, docstrings among them."""
    i = 0
    while i < len(lines):
        begin = _LONG_TEXT.search(lines[i]) or _docstring(lines, i)
        i += 1
        if begin is None or begin["mark"] in lines[i - 1][begin.end() :]:
            continue
        last = min(i + _MAX_LONG, len(lines))
        end = next((j for j in range(i, last) if begin["mark"] in lines[j]), None)
        if end is not None:
            yield from range(i, end + 2)
            i = end + 1


_LONG_TEXT = re.compile(
    r"(?:[=(,:\[+]|\breturn|\bassert)\s*[rbfu]{0,2}(?P<mark>\"\"\"|\'\'\'|`(?!`))"
)
_MAX_LONG = 400
"""Maximum number of lines of such a text."""


def _docstring(lines: list[str], at: int) -> re.Match[str] | None:
    """The beginning of a text that stands below the head of a function or a class."""
    begin = _DOCSTRING.match(lines[at])
    if begin is None or not at:
        return None
    above = lines[at - 1].rstrip()
    return begin if above.endswith(":") and _BLOCK_HEAD.search(above) else None


_DOCSTRING = re.compile(r"\s+[rbfu]{0,2}(?P<mark>\"\"\"|''')")
_BLOCK_HEAD = re.compile(r"^\s*(?:(?:async )?def |class )\w|\)(?: -> .*)?:$")


def may_be_source(head: bytes) -> bool:
    """Whether a text whose beginning this is may be a program's: a quick look."""
    lines = head.count(b"\n")
    if (head.count(b"\n ") + head.count(b"\n\t")) * _INDENTED < lines:
        return False
    if max(map(len, head.split(b"\n"))) > _MAX_LINE:
        return False
    text = head.decode("utf-8", "replace")
    if _is_of_statements([line for line in text.split("\n")[:-1] if line.strip()]):
        return True
    return len(_MARKS.findall(text)) * _OF_SOURCE >= lines


def _is_source(lines: list[str]) -> bool:
    """Whether all of a text is a program's: each part of it has lines that can only be that.

    A log that somebody put beside a program makes a part by itself.
    """
    filled = [line for line in lines if line.strip()]
    part = len(filled) // _PARTS
    if part < _LEAST_PART or max(map(len, filled)) > _MAX_LINE:
        return False
    if sum(line[0].isspace() for line in filled) * _INDENTED < len(filled):
        return False
    if _is_of_statements(filled):
        return True
    marks = 0
    for i in range(_PARTS):
        there = filled[i * part : (i + 1) * part]
        found = len(_MARKS.findall("\n".join(there)))
        marks += found
        if found * _OF_SOURCE < part and sum(map(_is_text, there)) * _THIRD < part:
            return False
    return marks >= _MANY


def _is_of_statements(filled: list[str]) -> bool:
    """Whether in each part of a text most lines are statements, declarations, texts or comments.

    A field of a printed object is none of these, and in a log or a page none stands.
    """
    if any(_NO_PROGRAM.match(line) for line in filled):
        return False
    part = len(filled) // _STATEMENT_PARTS
    for i in range(_STATEMENT_PARTS):
        there = filled[i * part : (i + 1) * part]
        stated = sum(_STATEMENT.match(line) is not None for line in there)
        if stated * _OF_STATEMENTS < part:
            return False
        if (stated + sum(map(_is_text, there))) * _MOST < part:
            return False
    return True


_NO_PROGRAM = re.compile(
    r"```|~~~|> |[<(]?\d[\d>.:-]*[ T]|\[ *\d+\.\d+\]|[A-Z][a-z]{2} +\d+ +\d|[Oo]ut of memory: "
    r"|Memory cgroup |[\w./:-]+ invoked oom|Killed process |\[?[A-Z][a-z]{2} (?:[A-Z]|\d{4}-)"
    r"|[^\"'`]{0,200}(?:invoked oom-killer: ?gfp|[Kk]illed process \d|oom-kill:constraint=)"
)
"""What stands at the beginning of a line of a log, or of what a person quotes."""
_STATEMENT = re.compile(
    r"\s*(?:"
    # Statements and declarations by their first word.
    r"(?:return|import|package|class|def|func|fn|type|struct|const|var|let|case|elif|try|raise|throw"
    r"|public|private|protected|static|using|namespace|assert|local|export|async|await|impl|enum"
    r"|abstract|override|final|interface|trait|module|void|unsigned|extern|typedef|defer|go|pub"
    r"|mut|yield|with|except|finally|lambda|given|when|then|expect|where|and)\b(?!:\s)(?=.*[\w\]}*)\"';:,({]$)"
    r"|(?:if|for|while|switch|until|else if|catch)\b.*(?:[{:(]|\bthen|\bdo|&&|\|\|)$"
    r"|(?:fi|done|esac|else|then|do|end|default:|break;?|continue;?|pass|try:|else:|\} else \{)$"
    # A call, an assignment, a block's begin or end; what is closed with a semicolon.
    r"|[\w.:>*&\[\]\"' -]{1,60}\(.*\)(?:\.|;|,| \{|:)?$|[\w.\[\]*&, ]{1,60} ?(?::=|\+=|-=|\|=) ?\S"
    r"|[\w.\[\]\"'*&<>, -]{1,60}\($|[)\]}]*\)[\w)\]}.,;: {]*$|.*[\w)\]}\"'];$|\w.*[\w)>] \{$"
    r"|[a-z_]\w{0,40}=[(\"'\w\[{\$].{0,120}[,)]$"
    # A field of a type, an expression's text, a comment.
    r"|\w{1,40}\s+[*\[\]]{0,4}(?:bool|string|int\d*|uint\d*|float\d*|error|byte|any|time\.\w+"
    r"|map\[.*|[A-Z]\w*|\w+\.[A-Z]\w*)(?:\s+`.*`)?(?:\s+//.*)?$"
    r"|[rbf]{1,2}[\"'].*|(?:/[/*]|\*/|#!|# |#$|\* |\*$).*"
    r")"
)
_STATEMENT_PARTS = 3
_OF_STATEMENTS = 4
"""So many lines of a part have a statement among them, on average."""
_MOST = 2


def _is_text(line: str) -> bool:
    """Whether a line is a text of a program, and no comment."""
    return line[0].isspace() and _TEXT.match(line) is not None and _COMMENT.match(line) is None


_THIRD = 3
_PARTS = 4
_LEAST_PART = 10
"""So many lines a part has at least."""
_MAX_LINE = 2000
"""A program has no longer lines; the log that is one line may be a gigabyte."""
_INDENTED = 4
"""Of a program's lines at least one of so many is indented, which those of a log are not."""
_OF_SOURCE = 16
"""And one of so many can only be a program's."""


def _block_comments(lines: list[str]) -> Iterator[int]:
    """Numbers of the lines of a comment that stands behind asterisks, as C's and Java's do.

    In a list, no asterisk stands alone.
    """
    begin = 0
    for i in range(len(lines) + 1):
        if i < len(lines) and _STARRED.match(lines[i]):
            continue
        alone = any(line.strip() == "*" for line in lines[begin:i])
        if alone and i - begin >= _MIN_STARRED:
            yield from range(begin + 1, i + 1)
        begin = i + 1


_STARRED = re.compile(r"\s*\*(?:\s|/?$)")
_MIN_STARRED = 3


def _blocks(lines: list[str]) -> Iterator[tuple[int, int]]:
    """The lines that stand together, as ranges."""
    begin, in_program = 0, False
    for i, line in enumerate(lines):
        is_fence = line.lstrip().startswith(FENCE)
        if not is_fence and (line.strip() or in_program):
            continue
        in_program = is_fence and not in_program and _LANGUAGE.match(line) is not None
        yield begin, i
        begin = i + 1
    yield begin, len(lines)
