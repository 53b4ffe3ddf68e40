"""``learn_starts RECORDING``: what a recording and the one before it teach of services' starts.

The daemon has it done once it guards, as reading a large recording takes seconds. What was learnt
goes to standard output as :mod:`marshal` writes it.
"""

import marshal
import os
import sys
import time

from oomkit.history.recording import starts_in
from oomkit.policy.engine.candidate import Start
from oomkit.policy.engine.starts import to_values


def main() -> None:
    """Print what was learnt."""
    os.nice(19)
    _die_first()
    sys.stdout.buffer.write(marshal.dumps(to_values(lessons_of(sys.argv[1]))))


def lessons_of(recording: str) -> list[Start]:
    """What a recording and the one that it took the place of teach."""
    return starts_in((f"{recording}.old", recording), now_s=time.time())


def _die_first() -> None:
    """Have the kernel choose this process before others: nothing is lost with it."""
    try:
        with open("/proc/self/oom_score_adj", "w") as file:
            file.write("1000")
    except OSError:
        pass


if __name__ == "__main__":
    main()
