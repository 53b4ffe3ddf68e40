"""What the fuzzers share: options, seeds, and what must not reach a terminal."""

import argparse
import re
import sys
import tempfile
from collections.abc import Callable, Iterable
from pathlib import Path

import atheris

ROOT = Path(__file__).parents[1]
CORPUS = Path(__file__).parent / "corpus"
CONTROL = re.compile(r"[\x00-\x08\x0a-\x1f\x7f-\x9f\u202a-\u202e\u2066-\u2069]")
"""A tab is none: it moves nothing but the cursor, forward."""


def check_shown(text: str) -> None:
    """Fail where a line would bring a control character to a terminal."""
    found = CONTROL.search(text)
    if found is not None:
        raise RuntimeError(f"the control character {found.group()!r} reaches a terminal")


def fuzz(
    about: str | None,
    one_input: Callable[[bytes], None],
    *,
    seeds: Iterable[tuple[str, bytes]],
    words: Iterable[str] = (),
    most_bytes: int = 16384,
) -> None:
    """Fuzz until the time is over or something fails.

    Args:
        about: the script's docstring.
        one_input: is given each input, and raises where it fails.
        seeds: what to begin with, besides the files of ``corpus/SCRIPT``: names and bytes.
        words: what is likely to lead somewhere.
        most_bytes: of an input.
    """
    parser = argparse.ArgumentParser(description=about.splitlines()[0] if about else None)
    parser.add_argument("--seconds", type=int, default=120)
    arguments, others = parser.parse_known_args()
    with tempfile.TemporaryDirectory() as directory:
        corpus, listed = Path(directory) / "corpus", Path(directory) / "words"
        corpus.mkdir()
        kept = CORPUS / Path(sys.argv[0]).stem
        found = [*seeds, *((path.name, path.read_bytes()) for path in sorted(kept.glob("*")))]
        for name, data in found:
            (corpus / name).write_bytes(data[:most_bytes])
        quoted = ("".join(f"\\x{byte:02x}" for byte in word.encode()) for word in words)
        listed.write_text("".join(f'"{word}"\n' for word in quoted))
        options = [
            f"-max_total_time={arguments.seconds}",
            f"-max_len={most_bytes}",
            f"-dict={listed}",
            "-timeout=10",
            "-rss_limit_mb=512",
            "-print_final_stats=1",
        ]
        atheris.Setup([sys.argv[0], *options, *others, str(corpus)], one_input)
        atheris.Fuzz()
