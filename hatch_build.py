"""The long description of the package: the README, as far as it can be read without its folder.

A package index shows the text alone, so links and pictures that are paths of the source lead
nowhere there: of pictures and links the words stay, with a link's path where it helps.
"""

import re
from pathlib import Path
from typing import Any

from hatchling.metadata.plugin.interface import MetadataHookInterface

_PICTURE = re.compile(r"!\[([^]]*)\]\((?!https?:)[^)]*\)")
_LINK = re.compile(r"\[([^]]*)\]\((?!https?:)([^)#]*)(#[^)]*)?\)")
_CODE = re.compile(r"(^```.*?^```$)", re.MULTILINE | re.DOTALL)


def long_description(readme: str) -> str:
    """The README with words in place of pictures and links that only its folder has."""
    parts = _CODE.split(readme)
    parts[::2] = [_LINK.sub(_words, _PICTURE.sub(r"*\1*", part)) for part in parts[::2]]
    return "".join(parts)


def _words(link: re.Match[str]) -> str:
    words, path = link[1], link[2]
    return words if not path or path in words else f"{words} (`{path}`)"


class CustomMetadataHook(MetadataHookInterface):
    """Sets the readme."""

    def update(self, metadata: dict[str, Any]) -> None:
        text = (Path(self.root) / "README.md").read_text(encoding="utf-8")
        metadata["readme"] = {"content-type": "text/markdown", "text": long_description(text)}
