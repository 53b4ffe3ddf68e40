"""``take_in JOURNAL STORE``: take a journal into the history.

The daemon starts it when a file of its journal is full and nothing else is to be done, so that
the history is complete even if no user runs the command.
"""

import os
import sys

from oomkit.guard.journal import rotated
from oomkit.history.store import Store, StoreError


def main() -> None:
    """Take in what is new; exit status 2 if that can't be done."""
    journal, store = sys.argv[1:3]
    os.nice(10)
    try:
        take_in(journal, store)
    except StoreError as error:
        sys.stderr.write(f"oomkit: {error}\n")
        sys.exit(2)


def take_in(journal: str, store: str) -> int:
    """Take a journal and its full files into a history; returns how many records were new.

    Raises:
        StoreError: a file can't be read or written.
    """
    history = Store(store)
    try:
        found = [path for path in (*rotated(journal), journal) if os.path.exists(path)]
        new = sum(history.read_journal(path).new for path in found)
        history.prune()
    finally:
        history.close()
    return new


if __name__ == "__main__":
    main()
