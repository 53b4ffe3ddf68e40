"""A guest whose first process is this host's systemd, with oomkit installed in it."""

import contextlib
import importlib.util
import marshal
import os
import shutil
import struct
import subprocess
import sys
from collections.abc import Iterable, Iterator, Mapping
from importlib.util import MAGIC_NUMBER, cache_from_source
from pathlib import Path

import pytest

import oomkit
from oomkit.policy import builtin
from oomkit.real.initramfs import Archive
from oomkit.real.packages import interpreter, is_elf, libraries, loaded_part
from tests.real import in_guest
from tests.real.guests import INIT

ROOT = Path(__file__).parents[2]
_PROGRAMS = (
    "systemctl", "systemd-run", "systemd-analyze", "journalctl", "kill", "mount", "setpriv",
)  # fmt: skip
_PACKAGES = (
    "click", "markdown_it", "mdurl", "msgspec", "prometheus_client", "pygments", "rich",
)  # fmt: skip
_LEFT_OUT = frozenset(
    {
        "__pycache__",
        "site-packages",
        "test",
        "tests",
        "idlelib",
        "tkinter",
        "ensurepip",
        "lib2to3",
        "distutils",
        "pydoc_data",
        "turtledemo",
    }
)
_FILES_LEFT_OUT = ("_tkinter.", "_test", "_xx")
OPTIONS = "--act --policy /etc/oomkit/policy.toml --set how.notify=true"
COMMANDS = """[how]
before = ["/usr/bin/hook", "before", "{pid}", "{comm}"]
after = ["/usr/bin/hook", "after", "{pid}", "{comm}"]
"""
SAYS = """#!{python} -IS
import os, sys
with open("/proc/self/oom_score_adj") as file:
    adj = int(file.read())
words = ["{name}", "uid", str(os.getuid()), "adj", str(adj), *sys.argv[1:]]
sys.stderr.write(" ".join(words) + "\\n")
"""
_TOP = ("bin", "sbin", "lib", "lib64")


def needs_systemd(*programs: str) -> None:
    """Skip where this host has no systemd, or none of some programs, to put into a guest."""
    if not os.path.exists(INIT) or not os.path.islink("/lib"):
        pytest.skip("needs systemd, and /usr merged, to put into a guest")
    for name in (*_PROGRAMS, *programs):
        if shutil.which(name) is None:
            pytest.skip(f"needs {name} to put into a guest")


class Image:
    """The guest's files, which have the same places as on this host."""

    def __init__(self) -> None:
        self._archive = Archive()
        self._added: set[str] = set()
        for name in _TOP:
            self._archive.add(name, 0o120777, f"usr/{name}".encode())
        for name in ("proc", "sys", "dev", "run", "tmp", "root", "var/log", "var/lib", "var/tmp"):
            self._archive.add(name, 0o40755)
        self._archive.add("var/run", 0o120777, b"../run")
        self._archive.add("dev/console", 0o20600, device=(5, 1))

    def text(self, path: str, text: str, mode: int = 0o644) -> None:
        self._archive.add(path.lstrip("/"), 0o100000 | mode, text.encode())

    def data(self, path: str, data: bytes) -> None:
        self._archive.add(path.lstrip("/"), 0o100644, data)

    def link(self, path: str, target: str) -> None:
        self._archive.add(path.lstrip("/"), 0o120777, target.encode())

    def file(self, path: str, target: str = "") -> None:
        """A file, what its links lead to, and the libraries it needs."""
        place = _merged(target or path)
        if place in self._added or not os.path.lexists(path):
            return
        self._added.add(place)
        if os.path.islink(path):
            self.link(place, os.readlink(path))
            leads = os.path.normpath(os.path.join(os.path.dirname(path), os.readlink(path)))
            if os.path.isfile(leads):
                self.file(leads)
        elif os.path.isfile(path):
            data = loaded_part(path)
            self._archive.add(place.lstrip("/"), 0o100000 | os.stat(path).st_mode & 0o777, data)
            if is_elf(data):
                self._libraries(path)
        elif os.path.isdir(path):
            self._archive.add(place.lstrip("/"), 0o40755)

    def tree(self, directory: str, target: str = "") -> None:
        for above, directories, files in os.walk(directory):
            directories[:] = [
                d for d in directories if d not in _LEFT_OUT and not d.startswith("config-")
            ]
            for name in files:
                if name.startswith(_FILES_LEFT_OUT):
                    continue
                path = f"{above}/{name}"
                place = path.replace(directory, target or directory, 1)
                self.file(path, place)
                if name.endswith(".py"):
                    self._bytecode(path, place)

    def _bytecode(self, path: str, place: str) -> None:
        """What an installation compiles; the times of the archive's files say nothing."""
        place = cache_from_source(_merged(place)).lstrip("/")
        self._archive.add(place, 0o100644, _compiled(path))

    def _libraries(self, path: str) -> None:
        loader = interpreter(path)
        if loader is not None:
            self.file(loader)
        elif ".so" not in path:
            return
        for library in libraries(path, loader or interpreter(sys.executable) or ""):
            self.file(library)

    def close(self) -> bytes:
        return self._archive.close()


def _compiled(path: str) -> bytes:
    """The byte code of a module, for any time of the file: Python's own where it is not stale."""
    source = Path(path).read_bytes()
    stat = os.stat(path)
    stamp = struct.pack("<III", 0, int(stat.st_mtime) & 0xFFFFFFFF, stat.st_size & 0xFFFFFFFF)
    with contextlib.suppress(OSError):
        data = Path(cache_from_source(path)).read_bytes()
        if data[:16] == MAGIC_NUMBER + stamp:
            return data[:4] + struct.pack("<IQ", 1, 0) + data[16:]
    code = compile(source, path, "exec", dont_inherit=True)
    return MAGIC_NUMBER + struct.pack("<IQ", 1, 0) + marshal.dumps(code)


def _merged(path: str) -> str:
    """Where a path of ``/lib`` and the like really leads."""
    return f"/usr{path}" if path.split("/")[1] in _TOP else path


def _of_systemd() -> Iterator[str]:
    """The units and helpers of the systemd package, of which only the journal starts by itself.

    The rest finds nothing to do in such a guest, and takes half of a boot for that.
    """
    for above, directories, files in os.walk("/lib/systemd"):
        directories[:] = [
            d for d in directories
            if d not in ("catalog", "hwdb.d", "boot", "ntp-units.d")
            and not d.endswith("-generators")
        ]  # fmt: skip
        for name in [*files, *directories]:
            if not above.endswith(".wants") or name.startswith("systemd-journald"):
                yield f"{above}/{name}"


def _site_of(python: str) -> str:
    """Where a Python outside of any virtual environment looks for packages."""
    code = "import site; print(site.getsitepackages()[0])"
    return subprocess.check_output([python, "-I", "-c", code], text=True).strip()


def _file_of(package: str) -> str:
    spec = importlib.util.find_spec(package)
    assert spec is not None
    assert spec.origin is not None
    return spec.origin


def _default_with_commands() -> str:
    policy = builtin.source("default")
    assert "\n[how]\n" in policy
    return policy.replace("[how]\n", COMMANDS, 1)


def image(
    check: Path,
    unit: Path,
    *,
    options: str = OPTIONS,
    policy: str = "",
    programs: Iterable[tuple[str, str]] = (),
    modules: Iterable[Path] = (),
    texts: Mapping[str, str] | None = None,
    binaries: Mapping[str, bytes] | None = None,
) -> bytes:
    """A guest that runs ``check`` as a service, beside the guard's unit.

    Args:
        check: what it runs.
        unit: the guard's.
        options: of the guard.
        policy: another one than the default with commands.
        programs: of this host, and where they lie in the guest if elsewhere.
        modules: of the tests, that ``check`` imports.
        texts: more files.
        binaries: the same, which are no texts.
    """
    made = Image()
    for path in _of_systemd():
        made.file(path)
    for name in _PROGRAMS:
        made.file(shutil.which(name) or name)
    python = os.path.realpath(sys.executable)
    made.file(python)
    made.tree(os.path.dirname(os.__file__))
    packages = _site_of(python)
    made.tree(os.path.dirname(oomkit.__file__), f"{packages}/oomkit")
    for name in _PACKAGES:
        made.tree(os.path.dirname(_file_of(name)), f"{packages}/{name}")
    made.text(
        "/usr/local/bin/oomkit", f"#!{python}\nfrom oomkit.__main__ import main\nmain()\n", 0o755
    )
    for name in ("hook", "notify-send"):
        made.text(f"/usr/bin/{name}", SAYS.format(python=python, name=name), 0o755)
    made.text("/etc/oomkit/policy.toml", policy or _default_with_commands())
    made.text("/etc/passwd", "root:x:0:0:root:/root:/bin/false\ndaemon:x:1:1::/:/bin/false\n")
    made.text("/etc/group", "root:x:0:\n")
    made.text("/etc/machine-id", f"{1:032x}\n")
    made.text("/etc/os-release", "ID=guest\n")
    for path, target in programs:
        made.file(path, target)
    for path, text in (texts or {}).items():
        made.text(path, text)
    for path, data in (binaries or {}).items():
        made.data(path, data)
    made.text("/check.py", check.read_text())
    for module in (Path(in_guest.__file__), *modules):
        made.text(f"/{module.relative_to(ROOT)}", module.read_text())
    made.text("/etc/systemd/system/check.service", f"""
[Service]
ExecStart={python} /check.py
StandardOutput=file:/dev/ttyS0
StandardError=file:/dev/ttyS0
""")  # fmt: skip
    made.text("/etc/systemd/system/check.target", """
[Unit]
Requires=sysinit.target check.service
""")  # fmt: skip
    made.text("/usr/lib/systemd/system/oomkit-guard.service", unit.read_text())
    made.link("/etc/systemd/system/sysinit.target.wants/oomkit-guard.service",
              "/usr/lib/systemd/system/oomkit-guard.service")  # fmt: skip
    made.text("/etc/default/oomkit-guard", f"OOMKIT_GUARD_OPTIONS='{options}'\n")
    return made.close()
