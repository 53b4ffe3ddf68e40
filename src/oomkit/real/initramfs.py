"""An initramfs made on the fly: the running Python, the workload agent, and kernel modules."""

import functools
import lzma
import marshal
import os
import py_compile
import re
import struct
import subprocess
import sys
import tempfile

from oomkit.real.plan import Plan
from oomkit.real.run_agent import HERE

_MODULES = ("virtio_pci", "virtio_blk", "virtio_console")
"""Drivers of the guest's disks and channel, with what they depend on."""

_DEPENDS = re.compile(rb"\0depends=([^\0]*)\0")
_DIRECTORIES = ("dev", "proc", "sys", "tmp", "disk", "cgroup", "modules", "agent")

_PROBE = """
import sys
sys.path.insert(0, {directory!r})
import agent.guest, ctypes, marshal, encodings.utf_8, encodings.ascii, encodings.latin_1
print(*sorted({{l.split()[-1] for l in open("/proc/self/maps") if ".so" in l}}))
print(sys.executable)
for m in list(sys.modules.values()):
    f = getattr(m, "__file__", None)
    if f and not f.startswith({directory!r}):
        print(m.__name__, f)
"""

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
def base() -> bytes:
    """The part that is the same for every run with this Python."""
    archive = Archive()
    for name in _DIRECTORIES:
        archive.add(name, 0o40755)
    archive.add("dev/console", 0o20600, device=(5, 1))
    archive.add("dev/null", 0o20666, device=(1, 3))
    _add_python(archive)
    for name in sorted(os.listdir(f"{HERE}/agent")):
        if name.endswith(".py"):
            archive.add(f"agent/{name}c", 0o100644, _compiled(f"{HERE}/agent/{name}"))
    archive.add("init", 0o100755, _INIT.encode())
    return archive.close()


def initramfs(plan: Plan, modules: str, files: dict[str, str]) -> bytes:
    """The whole: what is common, the modules of this kernel, further files, and the plan.

    Args:
        plan: what the agent is to play.
        modules: directory of the kernel's modules.
        files: path in the guest to path on this host.

    Raises:
        OSError: a module or file can't be read.
    """
    archive = Archive()
    for target, path in files.items():
        with open(path, "rb") as file:
            data = file.read()
            executable = os.fstat(file.fileno()).st_mode & 0o111
        archive.add(target.lstrip("/"), 0o100755 if executable else 0o100644, data)
    for i, (name, data) in enumerate(_load_order(modules)):
        archive.add(f"modules/{i:02d}-{name}.ko", 0o100644, data)
    archive.add("plan", 0o100644, marshal.dumps(plan))
    return base() + archive.close()


def _add_python(archive: Archive) -> None:
    code = _PROBE.format(directory=HERE)
    answer = subprocess.run(
        [sys.executable, "-S", "-I", "-B", "-c", code], capture_output=True, text=True, check=True
    ).stdout.splitlines()
    libraries, executable, *found = answer
    archive.add("usr/bin/python3", 0o100755, _loaded_part(os.path.realpath(executable)))
    interpreter = _interpreter(os.path.realpath(executable))
    for path in {*libraries.split(), interpreter}:
        if path == os.path.realpath(executable) or "/lib-dynload/" in path:
            continue
        target = path if path == interpreter else f"/lib/{os.path.basename(path)}"
        archive.add(target.lstrip("/"), 0o100755, _loaded_part(os.path.realpath(path)))
        # Binaries ask for libx.so.1 where the file is libx.so.1.2.3.
        name = os.path.basename(path)
        while name.rpartition(".")[2].isdigit() and path != interpreter:
            name = name.rpartition(".")[0]
            archive.add(f"lib/{name}", 0o120777, os.path.basename(path).encode())
    library = f"usr/lib/python{sys.version_info.major}.{sys.version_info.minor}"
    for line in found:
        name, _, path = line.partition(" ")
        if path.endswith(".so"):
            # -S leaves the library and lib-dynload on the path.
            target = f"{library}/lib-dynload/{os.path.basename(path)}"
            archive.add(target, 0o100755, _loaded_part(path))
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


def _loaded_part(path: str) -> bytes:
    """A binary without what is never loaded: symbols and debugging information at its end."""
    with open(path, "rb") as file:
        data = file.read()
    if data[:5] != b"\x7fELF\x02":
        return data
    (offset,) = struct.unpack_from("<Q", data, 32)
    size, count = struct.unpack_from("<HH", data, 54)
    end = offset + size * count
    for i in range(count):
        _, _, start, _, _, length = struct.unpack_from("<IIQQQQ", data, offset + i * size)
        end = max(end, start + length)
    head = bytearray(data[:end])
    struct.pack_into("<Q", head, 40, 0)  # no section table any more
    struct.pack_into("<HHH", head, 58, 0, 0, 0)
    return bytes(head)


def _interpreter(path: str) -> str:
    """The dynamic loader a binary names."""
    with open(path, "rb") as file:
        data = file.read()
    (offset,) = struct.unpack_from("<Q", data, 32)
    size, count = struct.unpack_from("<HH", data, 54)
    for i in range(count):
        kind, _, start, _, _, length = struct.unpack_from("<IIQQQQ", data, offset + i * size)
        if kind == 3:
            return data[start : start + length].rstrip(b"\0").decode()
    raise OSError(0, "a static Python has no loader", path)


def _load_order(directory: str) -> list[tuple[str, bytes]]:
    """The modules to load, each after those it depends on; built-in ones are left out."""
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
        data = _unpacked(paths[name])
        found = _DEPENDS.search(data)
        for other in found[1].decode().split(",") if found else []:
            if other:
                load(other.replace("-", "_"))
        order[name] = data

    for name in _MODULES:
        load(name)
    return list(order.items())


def _unpacked(path: str) -> bytes:
    with open(path, "rb") as file:
        data = file.read()
    if path.endswith(".xz"):
        return lzma.decompress(data)
    if path.endswith(".gz"):
        import gzip

        return gzip.decompress(data)
    if path.endswith(".zst"):
        return subprocess.run(["zstd", "-dc"], input=data, capture_output=True, check=True).stdout
    return data
