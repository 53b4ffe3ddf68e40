"""Functions that workers import."""

import os
import signal
import time
from pathlib import Path


def double(number: int) -> int:
    return 2 * number


def slow_when_early(number: int) -> int:
    time.sleep(0.02 if number < 3 else 0.0)
    return number


def deadly(number: int) -> int:
    if number == 13:
        os.kill(os.getpid(), signal.SIGKILL)
    return number


def deadly_once(job: tuple[int, str]) -> int:
    number, marker = job
    if number == 7 and not Path(marker).exists():
        Path(marker).touch()
        os.kill(os.getpid(), signal.SIGKILL)
    return number


def wrong(number: int) -> int:
    raise ValueError(f"no {number}")
