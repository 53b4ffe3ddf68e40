"""An initramfs made on the fly: the workload agent, kernel modules, and Python if needed."""

import functools
import marshal
import os
import py_compile
import re
import subprocess
import sys
import tempfile

from oomkit.real.companion import Companion
from oomkit.real.packages import interpreter, libraries, loaded_part
from oomkit.real.plan import Plan
from oomkit.real.plan_text import encode
from oomkit.real.static_agent import HERE, Agent, agent
from oomkit.real.vmlinux import unpacked

_MODULES = ("virtio_pci", "virtio_blk", "virtio_console")
"""Drivers of the guest's disks and channel, with what they depend on."""

_ZRAM_MODULES = ("lzo", "lzo_rle", "zram")
"""Kernels that compress through the crypto API ask user space for lzo-rle, which is not there."""

_DEPENDS = re.compile(rb"\0depends=([^\0]*)\0")
_DIRECTORIES = ("dev", "proc", "sys", "tmp", "disk", "cgroup", "modules", "agent")

_PROBE = """
import sys
sys.path.insert(0, {directory!r})
import agent.guest, ctypes, marshal, encodings.utf_8, encodings.ascii, encodings.latin_1
import importlib, warnings
warnings.simplefilter("ignore")
sys.path += {paths!r}
for name in {modules!r}:
    importlib.import_module(name)
print(*sorted({{l.split()[-1] for l in open("/proc/self/maps") if ".so" in l}}))
print(sys.executable)
for m in list(sys.modules.values()):
    f = getattr(m, "__file__", None)
    if f and not f.startswith({directory!r}):
        print(m.__name__, f)
"""

_PYTHON = "/usr/bin/python3"

_INIT = """#!/usr/bin/python3 -SIB
import sys
sys.path.append("/")
from agent.guest import main
main()
"""


class Archive:
    """A cpio archive in the "newc" form that the kernel unpacks."""

    def __init__(self) -> None:
        self.parts: list[bytes] = []
        self.made: set[str] = set()
        self.count = 0

    def add(
        self, path: str, mode: int, data: bytes = b"", device: tuple[int, int] = (0, 0)
    ) -> None:
        """Add an entry, and the directories above it."""
        above = os.path.dirname(path)
        if above and above not in self.made:
            self.add(above, 0o40755)
        self.made.add(path)
        self.count += 1
        name = path.encode() + b"\0"
        fields = (self.count, mode, 0, 0, 1, 0, len(data), 0, 0, *device, len(name), 0)
        header = b"070701" + b"".join(b"%08X" % field for field in fields) + name
        self.parts.append(header + bytes(-len(header) % 4) + data + bytes(-len(data) % 4))

    def close(self) -> bytes:
        """The archive."""
        self.add("TRAILER!!!", 0)
        return b"".join(self.parts)


@functools.cache
def base(
    player: Agent,
    modules: tuple[str, ...] = (),
    paths: tuple[str, ...] = (),
    *,
    python: bool = True,
) -> bytes:
    """The part that is the same for every run with this agent and this Python.

    Args:
        player: what is process 1.
        modules: of Python, beyond what the agent imports.
        paths: where else they are.
        python: whether Python comes along, which the static agent does not need.

    Raises:
        OSError: this Python has no such module, or a file can't be read.
    """
    archive = Archive()
    for name in _DIRECTORIES:
        archive.add(name, 0o40755)
    archive.add("dev/console", 0o20600, device=(5, 1))
    archive.add("dev/null", 0o20666, device=(1, 3))
    if python:
        _add_python(archive, modules, paths)
    if player.kind == "static":
        with open(player.path, "rb") as file:
            archive.add("init", 0o100755, file.read())
        return archive.close()
    for name in sorted(os.listdir(f"{HERE}/agent")):
        if name.endswith(".py"):
            archive.add(f"agent/{name}c", 0o100644, _compiled(f"{HERE}/agent/{name}"))
    archive.add("init", 0o100755, _INIT.encode())
    return archive.close()


def initramfs(
    plan: Plan, modules: str, companion: Companion | None = None, *, zram: bool = False
) -> bytes:
    """The whole: what is common, the modules of this kernel, the companion, and the plan.

    Args:
        plan: what the agent is to play.
        modules: directory of the kernel's modules.
        companion: what comes along.
        zram: whether the driver of swap in compressed memory comes along.

    Raises:
        OSError: a module or file can't be read, or is not there.
        RealError: there is no agent as the environment asks for.
    """
    player = agent()
    archive = Archive()
    if companion is not None:
        _add_companion(archive, companion)
    wanted = (*_MODULES, *_ZRAM_MODULES) if zram else _MODULES
    for i, (name, data) in enumerate(load_order(modules, wanted)):
        archive.add(f"modules/{i:02d}-{name}.ko", 0o100644, data)
    body = encode(plan) if player.kind == "static" else marshal.dumps(plan)
    archive.add("plan", 0o100644, body)
    if companion is None:
        common = base(player, python=player.kind == "python")
    else:
        asked = bool(companion.modules) or companion.command[:1] == (_PYTHON,)
        python = player.kind == "python" or asked
        common = base(player, companion.modules, companion.paths, python=python)
    return common + archive.close()


def _add_companion(archive: Archive, companion: Companion) -> None:
    for target, path in companion.files.items():
        mode = 0o100755 if os.stat(path).st_mode & 0o111 else 0o100644
        archive.add(target.lstrip("/"), mode, loaded_part(path))
        loader = interpreter(path)
        if loader is None:
            continue
        _add_library(archive, loader, loader, companion.root)
        for library in libraries(path, loader, companion.root):
            _add_library(archive, library, loader)
    for target, data in companion.texts.items():
        archive.add(target.lstrip("/"), 0o100644, data)
    for target in companion.pipes:
        archive.add(target.lstrip("/"), 0o010600)


def _add_library(archive: Archive, path: str, loader: str, root: str = "") -> None:
    """Put a library where the loader looks, under the shorter names binaries ask for, too."""
    real = os.path.realpath(f"{root}/usr{path}" if root else path)
    if path == loader:
        if path.lstrip("/") in archive.made:
            return
        archive.add(path.lstrip("/"), 0o100755, loaded_part(real))
        return
    name = os.path.basename(path)
    if f"lib/{name}" in archive.made:
        return
    archive.add(f"lib/{name}", 0o100755, loaded_part(real))
    # Binaries ask for libx.so.1 where the file is libx.so.1.2.3.
    while name.rpartition(".")[2].isdigit():
        name = name.rpartition(".")[0]
        archive.add(f"lib/{name}", 0o120777, os.path.basename(path).encode())


def _add_python(archive: Archive, modules: tuple[str, ...], paths: tuple[str, ...]) -> None:
    code = _PROBE.format(directory=HERE, modules=modules, paths=paths)
    done = subprocess.run(
        [sys.executable, "-S", "-I", "-B", "-c", code], capture_output=True, text=True, check=False
    )
    if done.returncode:
        raise OSError(0, done.stderr.strip().splitlines()[-1], sys.executable)
    mapped, executable, *found = done.stdout.splitlines()
    archive.add("usr/bin/python3", 0o100755, loaded_part(os.path.realpath(executable)))
    loader = interpreter(os.path.realpath(executable))
    if loader is None:
        raise OSError(0, "a static Python has no loader", executable)
    for path in {*mapped.split(), loader}:
        if path != os.path.realpath(executable) and "/lib-dynload/" not in path:
            _add_library(archive, path, loader)
    library = f"usr/lib/python{sys.version_info.major}.{sys.version_info.minor}"
    for line in found:
        name, _, path = line.partition(" ")
        if path.endswith(".so"):
            # -S leaves the library and lib-dynload on the path.
            package = name.rpartition(".")[0].replace(".", "/")
            target = f"{library}/{package or 'lib-dynload'}/{os.path.basename(path)}"
            archive.add(target, 0o100755, loaded_part(path))
        elif path.endswith(".py"):
            inside = name.replace(".", "/")
            inside += "/__init__" if path.endswith("__init__.py") else ""
            archive.add(f"{library}/{inside}.pyc", 0o100644, _compiled(path))
    archive.add(f"{library}/os.py", 0o100644, b"# a landmark: here is the library\n")


def _compiled(path: str) -> bytes:
    with tempfile.TemporaryDirectory() as directory:
        target = f"{directory}/x.pyc"
        py_compile.compile(
            path, target, doraise=True, optimize=2,
            invalidation_mode=py_compile.PycInvalidationMode.UNCHECKED_HASH,
        )  # fmt: skip
        with open(target, "rb") as file:
            return file.read()


def load_order(directory: str, wanted: tuple[str, ...]) -> list[tuple[str, bytes]]:
    """The modules to load, each after those it depends on; built-in ones are left out.

    Args:
        directory: of the kernel's modules.
        wanted: their names.

    Raises:
        OSError: one can't be read.
    """
    paths = {}
    for above, _, names in os.walk(f"{directory}/kernel"):
        for name in names:
            stem, dot, kind = name.partition(".")
            if dot and kind in ("ko", "ko.xz", "ko.gz", "ko.zst"):
                paths[stem.replace("-", "_")] = f"{above}/{name}"
    order: dict[str, bytes] = {}

    def load(name: str) -> None:
        if name in order or name not in paths:
            return
        with open(paths[name], "rb") as file:
            data = unpacked(file.read())
        found = _DEPENDS.search(data)
        for other in found[1].decode().split(",") if found else []:
            if other:
                load(other.replace("-", "_"))
        order[name] = data

    for name in wanted:
        load(name)
    return list(order.items())
