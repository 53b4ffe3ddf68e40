"""What a person wrote around the words of a log: sentences, questions, suppositions, examples."""

from oomkit.klog.lines import expressions as re

_SUPPOSED = re.compile(
    r"\b(?:if|whether|would|could|may|might|should|such as|e\.g\.|for example|means?|indicates?"
    r"|(?:look|search|watch|grep)(?:ing)? for|how (?:to|can|do)|what (?:does|is)"
    r"|will (?:be|see|show|print|report|notice|find|get)|wenn|falls|bedeutet|zum Beispiel"
    r"|par exemple|signifie|por ejemplo|significa)\b"
    r"|\u5982\u679c|\u5047\u5982|\u4f8b\u5982|\u6bd4\u5982|\u662f\u5426|\u5982\u4f55|\u610f\u5473"
    r"|\u3082\u3057|\u5834\u5408|\u4f8b\u3048\u3070|\u0435\u0441\u043b\u0438"
    r"|\u043d\u0430\u043f\u0440\u0438\u043c\u0435\u0440|\u043e\u0437\u043d\u0430\u0447\u0430\u0435\u0442",
    re.IGNORECASE,
)
"""Words for a supposition: English, German, French, Spanish, Chinese, Japanese, Russian."""
_WORD = re.compile(r"(?:(?<=[\s(])|^)[A-Za-z][a-z']*(?=[\s,.;?!)]|$)")
FENCE = ("```", "~~~")
"""What begins and ends a text within a text."""
_ASKING = r"\b(?:for|would|might|may|could|will|should|like|similar|output|if|typical)\b"
"""The words of which a sentence that asks has one."""
_HEADS = r"^#{1,6} (?:what|example|sample|typical)\b"
_ASK = re.compile(rf"(?im){_ASKING}[^\n]*:[ \t*_]*$|{_HEADS}")
_COLON_BYTES = re.compile(rb":[ *_]*\r?\n")
_ASKING_BYTES = re.compile(b"(?i)" + _ASKING.encode())
_HEADS_BYTES = re.compile(b"(?im)" + _HEADS.encode())
_SCRIPT = re.compile(r"[^\W\d_a-zA-Z\u00b7]{2}")
_ASKS = re.compile(
    r"(?:^|[.:;,] )\W*(?:then )?(?:look|search|watch)(?: \w+){0,3}? for\b.*:$"
    r"|(?:look|search|watch)(?:ing)? for (?:\S+ ){1,12}?(?:like|such as):$"
    r"|\b(?:look|search|watch) for (?:the |an? )?(?:following|messages? like|lines? like"
    r"|entries like|entry like|this)\b.*:$"
    r"|\busers? (?:may|might|could|will)(?: also| sometimes)? (?:see|get|encounter|find)\b.*:$"
    r"|\b(?:would|might|may|could) (?:look|be|read|see|show|contain|print)\b.*:$"
    r"|\b(?:you|we|one)(?:'ll| will| should) (?:typically |usually |often )?(?:see|find|get|notice)"
    r" (?:something|output|(?:an? |the |any )?(?:\w+ )?(?:messages?|entry|entries|lines?|errors?"
    r"|logs?))\b.*:$"
    r"|\b(?:will|should) look (?:something |somewhat )?(?:like|similar)\b.*:$"
    r"|\b(?:looks?|something|messages?|lines?|entry|entries|errors?|output) similar to\b.*:$"
    r"|\bsomething (?:like|similar)\b.*:$"
    r"|\b(?:example|sample|typical|expected) (?:\w+ )?output\b.*:$"
    r"|\ba typical (?:\w+ ){0,3}(?:message|log|report|entry|line|event)\b.*:$"
    r"|^#{1,6} (?:what .*\b(?:shows?|looks? like|prints?)\b|(?:example|sample|typical)\b)"
    r"|(?<!check )(?<!see )\bif\b.*\b(?:shows?|has|have|see|find|prints?|contains?|returns?|reads"
    r"|says|outputs?)\b.*:$",
    re.IGNORECASE,
)
"""The end of what asks to look for the lines below it, or supposes them."""
_EXPLAINS = (
    re.compile(r"\b128 ?\+ ?(?:9|SIG|signal)", re.IGNORECASE),
    re.compile(
        r"(?i)(?:137|OOM ?Killed)\W{0,4}(?:\([^)\n]{0,40}\)\W{0,3})?(?:error |code |status )?"
        r"(?:means|indicates|signals|signifies|stands for|is (?:the|a|an|usually|almost)\b)"
    ),
    re.compile(
        r"(?i)\b(?:when a (?:container|process|pod|system)|if a (?:container|process|pod)"
        r"|(?:this|it|which|that) (?:usually |typically |often )?(?:occurs|happens) when) "
    ),
)
_SYMPTOM = re.compile(r"(?im)^\W*symptoms?\b")
_SOLUTION = re.compile(r"(?im)^\W*(?:solutions?|resolution|fix)\b")
_CAUSE = re.compile(r"(?im)^\W*(?:root )?causes?\b\W*:")
_HEADING = re.compile(
    r"(?im)^\W*(?:\d\W+)?(?:how to (?:fix|prevent|diagnose|debug|troubleshoot|resolve|detect)"
    r"|fix steps|(?:common|possible|root|typical) (?:causes?|symptoms?|errors?|error messages)"
    r"|what (?:it|this \w+) means|why (?:it|this) (?:happens|matters)|troubleshooting|diagnosis"
    r"|best practices)\b.{0,60}$"
)
_EXPLAINING = 2
"""So many marks of a text that explains make it one."""


def may_ask(head: bytes) -> bool:
    """Whether :func:`asked_lines` may find any: a quick look, before the text is decoded."""
    return _HEADS_BYTES.search(head) is not None or any(
        _ASKING_BYTES.search(head, head.rfind(b"\n", 0, colon.start()) + 1, colon.start())
        for colon in _COLON_BYTES.finditer(head)
    )


def asked_lines(text: str) -> frozenset[int]:
    """Numbers, from 1, of lines that stand below a sentence which asks to look for such.

    They are those up to the next blank line, or within the fence that follows; a longer piece of a
    log is no example.

    Args:
        text: a text of no more than some ten thousand bytes.
    """
    lines = text.split("\n")
    found: set[int] = set()
    after = 0
    for i, line in enumerate(lines):
        sentence = line.rstrip(" *_")
        if not (sentence.endswith(":") or line.startswith("#")):
            continue
        more = i == after and _OR.match(sentence) is not None
        if not more and (_ASK.search(line) is None or _ASKS.search(sentence) is None):
            continue
        begin = i + 1
        while begin < len(lines) and not lines[begin].strip():
            begin += 1
        fenced = begin < len(lines) and lines[begin].lstrip().startswith(FENCE)
        end = begin + fenced
        while end < len(lines) and not (
            lines[end].lstrip().startswith(FENCE) if fenced else not lines[end].strip()
        ):
            end += 1
        if sum(_STAMPED.search(line) is not None for line in lines[begin:end]) <= _EXAMPLE:
            found.update(range(begin + 1, end + 1))
            after = end + fenced
            while after < len(lines) and not lines[after].strip():
                after += 1
    return frozenset(found)


_OR = re.compile(r"\W*or\b.{0,20}:$", re.IGNORECASE)
"""Another example follows."""


_STAMPED = re.compile(r"\[ *\d+\.\d+\]|\d\d:\d\d:\d\d|kernel: ")
_EXAMPLE = 4
"""Maximum number of stamped lines that are an example."""


def explains(text: str) -> bool:
    """Whether a text is on what such lines mean in general, as articles and manuals are."""
    marks = sum(mark.search(text) is not None for mark in _EXPLAINS)
    marks += _SYMPTOM.search(text) is not None and _SOLUTION.search(text) is not None
    return marks + len(_HEADING.findall(text)) >= _EXPLAINING


def is_guide(text: str) -> bool:
    """Whether a text says what to do about a symptom: what causes it, or with names to fill in."""
    if _SYMPTOM.search(text) is None or _SOLUTION.search(text) is None:
        return False
    return _TO_FILL_IN.search(text) is not None or _CAUSE.search(text) is not None


_TO_FILL_IN = re.compile(r"<(?:pod|container|node|namespace|deployment|app|service)(?:[-_ ]name)?>")


def is_manual(text: str) -> bool:
    """Whether a text says how such logs are read, and shows one for that."""
    small = text.lower()
    if not any(sign in small for sign in _SIGNS_OF_A_MANUAL):
        return False
    return sum(mark.search(text) is not None for mark in _OF_A_MANUAL) >= _EXPLAINING


_SIGNS_OF_A_MANUAL = ("annotated", "look like", "field")
_OF_A_MANUAL = (
    re.compile(
        r"(?im)^\W*(?:how to (?:read|interpret|understand)|reading|understanding|interpreting"
        r"|anatomy of)\b.{0,40}\b(?:oom|out[- ]of[- ]memory|logs?|messages?|reports?)\b.{0,40}$"
    ),
    re.compile(r"(?im)^\W*what (?:does|do) .{0,40}look like\b.{0,10}$"),
    re.compile(r"(?im)^\W*annotated (?:\w+ ){0,2}(?:example|log|output|report)s?\b"),
    re.compile(r"(?im)^\W*field\W+(?:meaning|description|explanation)\W*$"),
)
"""Headings, of which a manual has several."""


def supposes(text: str, end: int) -> bool:
    """Whether what stands before ``end`` supposes what follows, asks about it or explains it."""
    return _SUPPOSED.search(text, 0, end) is not None


def words_in(text: str) -> int:
    """How many words of a sentence a text has: not paths, numbers, names of fields or options."""
    return len(_WORD.findall(text))


def has_other_script(text: str) -> bool:
    """Whether it has letters of another script than Latin, which no program prints here."""
    return _SCRIPT.search(text) is not None
