"""What a person wrote around the words of a log: sentences, questions, suppositions."""

import re

_SUPPOSED = re.compile(
    r"\b(?:if|whether|would|could|may|might|should|such as|e\.g\.|for example|means?|indicates?"
    r"|(?:look|search|watch|grep)(?:ing)? for|how (?:to|can|do)|what (?:does|is)|will be)\b",
    re.IGNORECASE,
)
_WORD = re.compile(r"(?:(?<=[\s(])|^)[A-Za-z][a-z']*(?=[\s,.;?!)]|$)")
_SCRIPT = re.compile(r"[^\W\d_a-zA-Z\u00b7]{2}")


def supposes(text: str, end: int) -> bool:
    """Whether what stands before ``end`` supposes what follows, asks about it or explains it."""
    return _SUPPOSED.search(text, 0, end) is not None


def words_in(text: str) -> int:
    """How many words of a sentence a text has: not paths, numbers, names of fields or options."""
    return len(_WORD.findall(text))


def has_other_script(text: str) -> bool:
    """Whether it has letters of another script than Latin, which no program prints here."""
    return _SCRIPT.search(text) is not None
