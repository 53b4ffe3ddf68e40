"""The pages' words are there in both languages."""

import html
import json
import re
from pathlib import Path

from oomkit.lab.logs import COLUMNS
from oomkit.render.quantities import FIELDS
from oomkit.views.run_chart_rows import USES

LAB = Path(__file__).parents[2] / "lab"
PAGES = LAB / "pages"
_STRING = r'"((?:[^"\\]|\\.)*)"'


def _script(text: str) -> str:
    return str(json.loads(f'"{text}"'))


def _table() -> dict[str, str]:
    text = (PAGES / "words.js").read_text()
    body = text[text.index("const ZH = {") : text.index("\n};\n")]
    rows = re.findall(rf"^  (?:{_STRING}|(\w+)): {_STRING},$", body, re.MULTILINE)
    return {bare or _script(quoted): _script(zh) for quoted, bare, zh in rows}


def test_every_text_of_the_pages_has_its_chinese() -> None:
    table = _table()
    assert len(table) > 200
    used = set()
    for path in PAGES.glob("*.js"):
        text = path.read_text()
        used |= {_script(one) for one in re.findall(rf"(?<![\w.])t\({_STRING}", text)}
    page = (PAGES / "index.html").read_text()
    used |= {html.unescape(one).strip() for one in re.findall(r"<[^>]* data-t>([^<]*)<", page)}
    examples = json.loads((LAB / "examples.json").read_text())
    for kind in ("logs", "snapshots"):
        used |= {one[key] for one in examples[kind] for key in ("title", "about") if key in one}
    # What is named in a table of a script's first, or by an answer.
    text = (PAGES / "mechanism.js").read_text()
    head = text[text.index("const EXPERIMENTS") : text.index("const COLOURS")]
    used |= {_script(one) for one in re.findall(rf"(?:: |toml\", ){_STRING}", head)}
    text = (PAGES / "explain.js").read_text()
    head = text[text.index("const PARTS") : text.index("// A block of lines")]
    used |= {_script(one) for one in re.findall(rf'\["\w+", {_STRING}\]', head)}
    used |= {*COLUMNS, "killed", "asked", *USES, *FIELDS.values()}
    assert used - set(table) == set()


def test_places_for_values_are_the_same_in_both_languages() -> None:
    assert {en for en, zh in _table().items() if en.count("{}") != zh.count("{}")} == set()
