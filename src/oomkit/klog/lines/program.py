"""Lines of a text that are a program's: the texts in its lists and records, as log lines look.

A line by itself may be an element of a printed list as well as one of a program. So what stands
together without a blank line or a fence is looked at as one: where any of its lines can only be of
a program, those that hold nothing but a text between quotes are, too.
"""

import re

_MARKS = re.compile(
    # What no log prints: statements, declarations, calls of constructors, values without quotes.
    r"(?m)^[ \t]*[+-]?[ \t]*(?:(?:const|let|var|static|export) [\w:<>, ]+ = |(?:async )?def \w+\("
    r"|(?:pub |async )*(?:fn|func|function) [\w(]|(?:it|test|describe)\(|#include [<\"]"
    r"|from \w[\w.]* import |import [\w{\"*]|return [\w.]+\(|class \w+[(:{ ]|assert |@\w+$"
    r"|[A-Za-z_][\w.]*(?: :)?:?= ?(?:\[\]\w+)?[\[{(]+$|for \(|for \w+ in |if .*[:{]$|while .*[:{]$)"
    r"|\bnew [A-Z]\w*\(|\.(?:to_string|join|push|append)\(|=> ?[{(]|:= |\bstd::(?:string|vector)\b"
    r"|\": [a-z_]\w*(?:\(\))?,$|\bjson\.dumps\("
)
_TEXT = re.compile(
    r"\s*[+-]?\s*(?:[{\[(]\s*)*(?:(?:[\w.-]+|[\"'][\w.-]+[\"'])\s*[:=]\s*)?[rbfu]{0,2}[\"'`]"
    r".*[\"'`](?:\.\w+\(\))?[\s,;)\]}]*(?://.*)?$"
    r"|\s*[+-]?\s*\{\s*\w+: [\"'].*\}[,;]?$"
)
_FENCE = ("```", "~~~")


def program_lines(text: str) -> frozenset[int]:
    """Numbers, from 1, of the lines that are texts of a program.

    Args:
        text: a text of no more than some ten thousand bytes.
    """
    if _MARKS.search(text) is None:
        return frozenset()
    found: set[int] = set()
    begin = 0
    lines = text.split("\n")
    for i in range(len(lines) + 1):
        if i < len(lines) and lines[i].strip() and not lines[i].lstrip().startswith(_FENCE):
            continue
        block = lines[begin:i]
        if _MARKS.search("\n".join(block)) is not None:
            found.update(
                begin + offset for offset, line in enumerate(block, start=1) if _TEXT.match(line)
            )
        begin = i + 1
    return frozenset(found)
