"""The history of the rules: each change once, with the version that brought it.

Facts were learnt from the kernel sources of the versions named (mm/oom_kill.c, mm/page_alloc.c,
mm/memcontrol.c, fs/proc/base.c, mm/util.c, mm/mmap.c); see docs/kernels.md for the trees read.
"""

from oomkit.kernel import changes_2_6, changes_3_4, changes_5_6, changes_7
from oomkit.kernel.change import Change

CHANGES: tuple[Change, ...] = (
    *changes_2_6.CHANGES,
    *changes_3_4.CHANGES,
    *changes_5_6.CHANGES,
    *changes_7.CHANGES,
)

LAST_KNOWN = "7.3"
"""Newest version whose source was read; later ones are judged by its rules."""
