"""How files begin that have to be unpacked, or decoded, before they can be searched."""

import codecs

GZIP = b"\x1f\x8b"
XZ = b"\xfd7zXZ\x00"
ZSTD = b"\x28\xb5\x2f\xfd"
BZIP2 = b"BZh"
UTF16 = (codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)
PACKED = (GZIP, XZ, ZSTD, BZIP2, *UTF16)
MAGIC_BYTES = 6
"""So much of a file shows what it is."""
