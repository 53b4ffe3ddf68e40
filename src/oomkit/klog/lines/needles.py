"""Look for many words at once in the bytes of a log, by the fastest that is here.

That is C of our own in a compiled wheel (:mod:`oomkit.klog.lines.compiled`), if the processor looks
at many bytes at once; else ahocorasick-rs (:mod:`oomkit.klog.lines.aho`), which takes up to half as
long again; else the standard library (:mod:`oomkit.klog.lines.search`), two hundred times slower.
What they find is the same.
"""

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from oomkit.klog.lines.search import Needles
else:
    try:
        import oomkit.klog.lines.compiled as _found
    except ImportError:
        _found = None
    if _found is None or not _found.IS_WIDE:
        try:
            import oomkit.klog.lines.aho as _found
        except ImportError:
            if _found is None:
                import oomkit.klog.lines.search as _found

    Needles = _found.Needles

__all__ = ["Needles"]
