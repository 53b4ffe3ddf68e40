"""Look for many words at once in a line of text.

ahocorasick-rs does it where it is installed (:mod:`oomkit.klog.lines.aho`), else the standard
library (:mod:`oomkit.klog.lines.search`), with the same results.
"""

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from oomkit.klog.lines.aho import Words
else:
    try:
        import oomkit.klog.lines.aho as _found
    except ImportError:
        import oomkit.klog.lines.search as _found

    Words = _found.Words

__all__ = ["Words"]
