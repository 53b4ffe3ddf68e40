"""Compile for browsers what a wheel has compiled: the model, the rules, the policies' engine.

mypyc writes C for the word size of Pyodide's machine, as its ``sysconfig`` tells it; the
``ziglang`` wheel compiles and links that as WebAssembly. The headers of that version of Python
and of Emscripten's C library are taken from Debian's packages. A module that comes of it lies
beside the interpreted one, and Python takes it first.
"""

import argparse
import hashlib
import importlib
import json
import os
import re
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any, NamedTuple

from oomkit.real.packages import SuitesApt, cache_directory, needs, unpack

ROOT = Path(__file__).parents[1]
SUITE = "forky"
_LIBC = "emscripten"
_GROUP = "oomkit"
_NAMED = re.compile(r"^\s*#\s*(?:define|undef)\s+(\w+)|^/\*\s*#\s*undef\s+(\w+)", re.MULTILINE)
# Node 20 does not know extended constant expressions, which this compiler would use.
_TARGET = ("-target", "wasm32-emscripten", "-mcpu=generic-extended_const")
_COMPILE = ("-c", "-fPIC", "-O2", "-g0", "-DNDEBUG", "-w", "-nostdinc")
_LINK = (
    "--no-entry", "--shared", "--experimental-pic", "--unresolved-symbols=import-dynamic",
    "--strip-all",
)  # fmt: skip


class Browser(NamedTuple):
    """The Python that will run there.

    Attributes:
        version: such as ``3.14``.
        suffix: the end of an extension module's name.
        settings: ``sysconfig``'s, by name.
    """

    version: str
    suffix: str
    settings: dict[str, Any]


def described(npm: Path) -> Browser:
    """Ask the Pyodide that npm fetched.

    Raises:
        SystemExit: node failed.
    """
    shutil.copy(ROOT / "lab/describe.mjs", npm)
    done = subprocess.run(
        ["node", "describe.mjs"], cwd=npm, capture_output=True, text=True, check=False
    )
    if done.returncode:
        sys.exit(f"node: {done.stderr.strip()[-1000:]}")
    settings = json.loads(done.stdout)
    return Browser(settings["VERSION"], settings["EXT_SUFFIX"], settings)


def compiled(npm: Path, python: str, cache: Path) -> Path:
    """The directory of the compiled modules, made if it is not there.

    Args:
        npm: where Pyodide is.
        python: a Python that has ``ziglang``.
        cache: keeps what was compiled, by what it was made of.

    Raises:
        PackageError: the headers can't be had.
        SystemExit: a compiler failed; it has said why.
    """
    browser = described(npm)
    target = cache / _fingerprint(browser)
    if target.is_dir():
        return target
    shutil.rmtree(cache, ignore_errors=True)
    cache.mkdir(parents=True)
    with tempfile.TemporaryDirectory(dir=cache) as scratch:
        made = Path(scratch)
        compiler = Compiler(python, headers(browser, made))
        for name, source in written(browser, made).items():
            place = name.replace(".", "/")
            compiler.build(source, made / "c", made / f"lib/{place}{browser.suffix}")
        (made / "lib").rename(target)
    return target


def _fingerprint(browser: Browser) -> str:
    """A name that changes with what the compiled modules are made of."""
    digest = hashlib.sha256(json.dumps(browser, sort_keys=True).encode())
    for path in [
        *sorted((ROOT / "src/oomkit").rglob("*.py")),
        ROOT / "hatch_build.py",
        ROOT / "requirements/dev.txt",
        ROOT / "requirements/docs.txt",
        Path(__file__),
    ]:
        digest.update(f"{path.relative_to(ROOT)} {path.stat().st_size}\n".encode())
        digest.update(path.read_bytes())
    return digest.hexdigest()[:16]


def headers(browser: Browser, scratch: Path) -> list[str]:
    """The directories of headers, as options; what was fetched stays in the cache.

    Raises:
        PackageError: apt or dpkg-deb are missing or failed, or the suite has another Python.
    """
    needs(("apt-get", "dpkg-deb"), "compiling for browsers")
    python = f"libpython{browser.version}-dev"
    apt = SuitesApt((SUITE,), "apt-browser")
    at = {}
    for package in (python, _LIBC):
        unpacked = f"{cache_directory('browser')}/{package}"
        if not os.path.isdir(unpacked):
            unpacked = unpack([apt.download(package, str(scratch))], cache_directory("browser"))
        at[package] = Path(unpacked)
    ours = scratch / "python"
    shutil.copytree(at[python] / f"usr/include/python{browser.version}", ours)
    known = "".join(path.read_text() for path in (at[python] / "usr/include").rglob("pyconfig.h"))
    (ours / "pyconfig.h").write_text(_configuration(known, browser.settings))
    system = at[_LIBC] / "usr/share/emscripten/system"
    musl = system / "lib/libc/musl"
    libc = (system / "include", musl / "arch/emscripten", musl / "arch/generic", musl / "include")
    return ["-I", str(ours), *(part for path in libc for part in ("-isystem", str(path)))]


def _configuration(known: str, settings: dict[str, Any]) -> str:
    """A ``pyconfig.h``: the macros that one for another machine names, as they are here."""
    names = sorted({first or second for first, second in _NAMED.findall(known)})
    return "".join(
        f"#define {name} {settings[name]}\n"
        for name in names
        if settings.get(name) not in (None, 0, "")
    )


def written(browser: Browser, scratch: Path) -> dict[str, Path]:
    """The C sources by module: the code of all in one, and one for each that leads there.

    Raises:
        SystemExit: mypyc failed.
    """
    given = scratch / "sysconfig"
    given.mkdir()
    text = f"build_time_vars = {browser.settings!r}\n"
    (given / "_sysconfigdata_browser.py").write_text(text)
    made = scratch / "c"
    done = subprocess.run(
        [sys.executable, __file__, "--write", str(made)],
        cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, check=False,
        env={**os.environ, "_PYTHON_SYSCONFIGDATA_NAME": "_sysconfigdata_browser",
             "PYTHONPATH": os.pathsep.join(map(str, (given, ROOT)))},
    )  # fmt: skip
    if done.returncode:
        sys.exit(f"mypyc: {done.stdout.strip()[-2000:]}")
    shims = sorted((made / "oomkit").rglob("*.c"))
    return {
        f"{_GROUP}__mypyc": made / f"__native_{_GROUP}.c",
        **{".".join(path.relative_to(made).with_suffix("").parts): path for path in shims},
    }


def _write(made: Path) -> None:
    """What the child does: mypyc's part, with the settings of the browser's Python."""
    from hatch_build import compiled_groups
    from mypyc.build import generate_c_extension_shim, mypyc_build
    from mypyc.common import IS_32_BIT_PLATFORM
    from mypyc.options import CompilerOptions

    if not IS_32_BIT_PLATFORM:
        sys.exit("mypyc did not take the word size from sysconfig")
    options = ["--config-file", str(ROOT / "pyproject.toml"), "--ignore-missing-imports"]
    # The reader of logs stays as it is: a page is ready once all of these are loaded.
    paths = [str(path.relative_to(ROOT)) for path in compiled_groups(ROOT)[0]]
    groups, _, _ = mypyc_build(
        [*options, *paths], CompilerOptions(target_dir=str(made), group_name=_GROUP)
    )
    ((modules, _),) = groups
    for module in modules:
        last = module.module.rpartition(".")[2]
        generate_c_extension_shim(module.module, last, str(made), _GROUP)


class Compiler:
    """zig, for one source after the other."""

    def __init__(self, python: str, include: list[str]) -> None:
        self._zig = [python, "-m", "ziglang"]
        place = _said([python, "-c", "import ziglang; print(ziglang.__path__[0])"]).strip()
        runtime = Path(importlib.import_module("mypyc").__path__[0], "lib-rt")
        self._include = ["-isystem", f"{place}/lib/include", *include, "-I", str(runtime)]

    def build(self, source: Path, top: Path, target: Path) -> None:
        """Compile and link a source to an extension module.

        Args:
            source: C.
            top: where mypyc's headers are.
            target: the module's file.

        Raises:
            SystemExit: zig failed.
        """
        target.parent.mkdir(parents=True, exist_ok=True)
        passed = source.with_suffix(".o")
        _said([*self._zig, "cc", *_TARGET, *_COMPILE, *self._include, "-I", str(top),
               str(source), "-o", str(passed)])  # fmt: skip
        entry = f"--export=PyInit_{target.name.partition('.')[0]}"
        _said([*self._zig, "wasm-ld", *_LINK, entry, str(passed), "-o", str(target)])


def _said(command: list[str]) -> str:
    """Run a command; returns what it printed.

    Raises:
        SystemExit: it failed.
    """
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode:
        sys.exit(f"{' '.join(command[:4])} ...: {done.stderr.strip()[-2000:]}")
    return done.stdout


if __name__ == "__main__":
    parser = argparse.ArgumentParser()
    parser.add_argument("--write", type=Path, required=True)
    _write(parser.parse_args().write)
