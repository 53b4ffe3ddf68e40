"""A kernel out of its bzImage, which unpacks itself slowly where QEMU translates.

Facts: Documentation/arch/x86/boot.rst (payload_offset and payload_length since protocol 2.08; the
payload's last four bytes are its unpacked size, but for gzip), scripts/Makefile.lib
(``size_append``), include/xen/interface/elfnote.h (``XEN_ELFNOTE_PHYS32_ENTRY``, by which QEMU
starts a vmlinux; arch/x86/platform/pvh/head.S, since Linux 4.12).
"""

import lzma
import shutil
import struct
import subprocess
import zlib

_MAGIC = b"HdrS"
_XZ, _GZIP, _ZSTD = b"\xfd7zXZ\0", b"\x1f\x8b", b"\x28\xb5\x2f\xfd"
_ELF64 = b"\x7fELF\x02"
_LOADED, _NOTE = 1, 4
_ENTRY = struct.pack("<III", 4, 4, 18) + b"Xen\0"
_ENTRY_64 = struct.pack("<III", 4, 8, 18) + b"Xen\0"


def vmlinux(image: str, ram_bytes: int) -> bytes | None:
    """The kernel in a bzImage, as QEMU can start it.

    None where it is packed otherwise, has no such entry, or does not fit: a bzImage says so.

    Args:
        image: the bzImage's path.
        ram_bytes: of the machine.

    Raises:
        OSError: it can't be read.
    """
    with open(image, "rb") as file:
        data = file.read()
    if data[0x202:0x206] != _MAGIC or struct.unpack_from("<H", data, 0x206)[0] < 0x208:
        return None
    offset, length = struct.unpack_from("<II", data, 0x248)
    begin = ((data[0x1F1] or 4) + 1) * 512 + offset
    payload = data[begin : begin + length]
    if not payload.startswith((_XZ, _GZIP, _ZSTD)):
        return None
    try:
        kernel = unpacked(payload if payload.startswith(_GZIP) else payload[:-4])
    except OSError:
        return None
    return kernel if _can_start(kernel, ram_bytes) else None


def unpacked(data: bytes) -> bytes:
    """What xz, gzip or zstd packed; other data as it is.

    Raises:
        OSError: it is damaged, or zstd is not installed.
    """
    if data.startswith((_XZ, _GZIP)):
        xz = data.startswith(_XZ)
        packed = lzma.LZMADecompressor() if xz else zlib.decompressobj(zlib.MAX_WBITS | 16)
        try:
            found = packed.decompress(data)
        except (lzma.LZMAError, zlib.error) as error:
            raise OSError(0, str(error)) from None
        if not packed.eof:
            raise OSError(0, "it is cut off")
        return found
    if not data.startswith(_ZSTD):
        return data
    if shutil.which("zstd") is None:
        raise OSError(0, "zstd is not installed")
    done = subprocess.run(["zstd", "-dcq"], input=data, capture_output=True, check=False)
    if done.returncode:
        raise OSError(0, done.stderr.decode(errors="replace").strip())
    return done.stdout


def _can_start(kernel: bytes, ram_bytes: int) -> bool:
    """Whether an ELF file has the note that names its entry for such a start, and fits."""
    if not kernel.startswith(_ELF64):
        return False
    (headers,) = struct.unpack_from("<Q", kernel, 32)
    size, count = struct.unpack_from("<HH", kernel, 54)
    has_entry = False
    for i in range(count):
        kind, _, offset, _, physical, length, memory = struct.unpack_from(
            "<IIQQQQQ", kernel, headers + i * size
        )
        notes = kernel[offset : offset + length]
        if kind == _NOTE and (_ENTRY in notes or _ENTRY_64 in notes):
            has_entry = True
        if kind == _LOADED and physical + memory > ram_bytes:
            return False
    return has_entry
