"""Builds the static workload agent from its C sources, with whatever compiler is here.

Imports the standard library alone, since the build of a wheel runs it as well.
"""

import glob
import hashlib
import importlib.util
import os
import shutil
import subprocess
import sys

SOURCES = os.path.join(os.path.dirname(os.path.abspath(__file__)), "agent", "c")
FLAGS = ("-std=gnu11", "-O2", "-static", "-pthread", "-s", "-Wall", "-Wextra", "-Werror")
_PATIENCE_S = 300


class BuildError(Exception):
    """No compiler could build it; the text says why."""


def sources() -> list[str]:
    """The files to compile."""
    return sorted(glob.glob(f"{SOURCES}/*.c"))


def fingerprint() -> str:
    """What tells one version of the sources, and of how they are built, from others."""
    digest = hashlib.sha256(" ".join((*FLAGS, os.uname().machine)).encode())
    for path in sorted(glob.glob(f"{SOURCES}/*.[ch]")):
        with open(path, "rb") as file:
            digest.update(os.path.basename(path).encode() + b"\0" + file.read())
    return digest.hexdigest()[:16]


def compilers(*, musl_first: bool = False) -> list[tuple[str, ...]]:
    """Compilers that are here, as the beginning of a command line.

    Args:
        musl_first: those that link musl come before those that link the GNU library; what is
            handed on to others is under musl's licence then.
    """
    found: list[tuple[str, ...]] = [(path,) for name in ("cc", "gcc", "clang")
                                    if (path := shutil.which(name))]  # fmt: skip
    musl: list[tuple[str, ...]] = []
    if path := shutil.which("musl-gcc"):
        musl.append((path,))
    if importlib.util.find_spec("ziglang") is not None:
        target = f"{os.uname().machine}-linux-musl"
        musl.append((sys.executable, "-m", "ziglang", "cc", "-target", target))
    return musl + found if musl_first else found + musl


def build(target: str, *, musl_first: bool = False) -> None:
    """Build it; the target appears complete or not at all.

    Args:
        target: path of the program.
        musl_first: see :func:`compilers`.

    Raises:
        BuildError: there is no compiler, or none can build it.
        OSError: the target can't be written.
    """
    troubles = []
    made = f"{target}.{os.getpid()}"
    try:
        for compiler in compilers(musl_first=musl_first):
            trouble = _compile(compiler, made)
            if not trouble:
                os.replace(made, target)
                return
            troubles.append(f"{' '.join(compiler)}: {trouble}")
    finally:
        if os.path.exists(made):
            os.unlink(made)
    raise BuildError("; ".join(troubles) or "no C compiler is here")


def _compile(compiler: tuple[str, ...], made: str) -> str:
    """Run one compiler; returns what it complained of, empty if nothing."""
    command = [*compiler, *FLAGS, "-o", made, *sources()]
    try:
        done = subprocess.run(
            command,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            errors="replace",
            timeout=_PATIENCE_S,
            check=False,
        )
    except (OSError, subprocess.TimeoutExpired) as error:
        return str(error)
    if done.returncode == 0:
        return ""
    lines = [line for line in done.stderr.splitlines() if "error" in line or "cannot" in line]
    return (lines or done.stderr.splitlines() or [f"exit status {done.returncode}"])[0].strip()
