"""What a guest needs of this host's binaries: the loaded part, the loader, the libraries."""

import struct
import subprocess

_MAGIC = b"\x7fELF\x02"


def is_elf(data: bytes) -> bool:
    """Whether it is a 64-bit ELF file."""
    return data.startswith(_MAGIC)


def loaded_part(path: str) -> bytes:
    """A binary without what is never loaded: symbols and debugging information at its end."""
    with open(path, "rb") as file:
        data = file.read()
    if not is_elf(data):
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


def interpreter(path: str) -> str | None:
    """The dynamic loader a binary names; None: it needs none."""
    with open(path, "rb") as file:
        data = file.read()
    if not is_elf(data):
        return None
    (offset,) = struct.unpack_from("<Q", data, 32)
    size, count = struct.unpack_from("<HH", data, 54)
    for i in range(count):
        kind, _, start, _, _, length = struct.unpack_from("<IIQQQQ", data, offset + i * size)
        if kind == 3:
            return data[start : start + length].rstrip(b"\0").decode()
    return None


def libraries(path: str, loader: str) -> list[str]:
    """The shared libraries a binary loads at its start, as its loader finds them on this host.

    Raises:
        OSError: one is missing.
    """
    done = subprocess.run([loader, "--list", path], capture_output=True, text=True, check=False)
    found = []
    for line in done.stdout.splitlines():
        name, arrow, rest = line.partition("=>")
        if arrow and "not found" in rest:
            raise OSError(0, f"{name.strip()}, which it needs, is not installed", path)
        word = (rest if arrow else name).split("(")[0].strip()
        if word.startswith("/"):
            found.append(word)
    return found
