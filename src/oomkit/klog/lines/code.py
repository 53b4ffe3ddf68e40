"""Lines of a program's source, which hold words of logs as texts to look for."""

from oomkit.klog.lines import expressions as re

_CODE = re.compile(
    # Behind the marks of a quotation and of a patch: a comment that quotes.
    r"(?:\s*|>[\s>]{0,40}(?:[+-]\s{0,80})?|[+-](?:\s{2,80}|\t))(?:(?:#|//|/\*|--|;)+\s+[\"'`]"
    # A comment that no shell knows; an element of an array.
    r"|//+ +[A-Za-z]|\[\w{1,30}\]\s*=\s*\""
    # A text that is given a name; logs do it without blanks, and with double quotes.
    r"|(?:(?:const|let|var|final|static|public|private|val|def) )*[A-Za-z_]\w*"
    r"(?:\s+:?=\s+[rbfu]{0,2}[\"'`(]|='|\+?=\([\"'])"
    # A row of a table of errors; a text in a patch.
    r"|\{\d{1,4}, \"[A-Z]"
    r"|[+-]\s{2,80}[\"'][^\"']{1,200}[\"'],?$"
    # A call of a shell's function with a number, or a text and a word, before the text.
    r"|[a-z_]\w{0,15} (?:\d{1,9} |\"[^\"]{1,80}\" \w{1,20} )(?P<mark>[\"']).{20,}(?P=mark)$"
    # A shell's test.
    r"|\[\[ .{1,200}(?:[=!]=|=~) "
    r"|(?:def|val|let|const) [A-Za-z_]\w* = "
    # What a function gives.
    r"|return [rbfu]{0,2}[\"'`(]"
    # The argument of a function, whose name begins small where those of exceptions do not, or
    # stands behind a package's.
    r"|(?:[\w.]+\s*:?=\s*|return |assert |case |(?:els?e? ?)?if \(?)?"
    r"(?:(?:[A-Za-z_]\w*\.)*[a-z_]\w*|[a-z]\w*\.[A-Z]\w*)"
    r"\(\s*(?:[\w.&]{1,40}, ?){0,2}[rbfu]{0,2}[\"'`])"
)
_LITERAL = re.compile(r"[ (:,=]&(?:[a-z]\w*\.)?[A-Z]\w*\{(?:\w+: |$)|\w\([a-z]\w*\{[A-Z]\w*: [\"`]")
"""A value of a type, as Go writes it; printed, no blank stands in it."""
_PATTERN = re.compile(r"\\[dswDSW](?:[+*{)\]]|$)|\\\(|\(\?[P:=!<]|\(\.[*+]\)|\[\^")
"""What stands in a regular expression, and in no log."""


def is_code(raw: str) -> bool:
    """Whether a line is one of a program that holds a text, or an expression to search for one.

    Args:
        raw: the whole line.
    """
    if _may_be(raw) and _CODE.match(raw) is not None:
        return True
    if "{" in raw and ("&" in raw or "(" in raw) and _LITERAL.search(raw) is not None:
        return True
    return ("\\" in raw or "(." in raw) and _PATTERN.search(raw) is not None


def _may_be(raw: str) -> bool:
    """Whether a line has one of the signs that each form of code has."""
    return (
        '"' in raw
        or "'" in raw
        or "`" in raw
        or "//" in raw
        or " = " in raw
        or ("(" in raw and ("=" in raw or "return " in raw))
    )
