"""What a log is searched for besides the kernel's words, and what each find is worth.

It is apart from the forms of the lines because a large file is searched before they are loaded.
"""

import re

from oomkit.klog.lines.scan import KERNEL_NEEDLES, Worth

NEEDLES = (
    b"oomd", b"OOM ", b"OOM-", b"OOM_", b"OOMK", b"kOOM", b"oom-kill", b"oomKill", b" oom", b"/oom",
    b"nohang", b"earlyoom", b"9/KILL", b"vict", b"low on resource", b" 137", b"=137", b":137",
    b"(137", b"g SIGT", b" SIGK", b"signal 9", b"signal: killed", b"lowmemorykiller", b"lmkd",
    b"Killed /", b"om_kill", b"t Of Memory", b"OUT_OF_ME", b"OutOfMemory", b"ory limit",
    b"PBS: job", b"ERM_MEM", b"nning beyond", b"Error R1", b"allocation failure",
    b"allocate memory", b"__vm_enough", b"std::bad_alloc", b"emory pressure",
    b"MemoryPressure", b"ficientMemory", b"killer: Kill", b"to kill /", b"Memory Used",
    b"illing process", b"kernel-monitor", b"arked /", b"lled    ", b"led due to memory",
    b"y killed this", b"minated program", b"by YARN", b"emory! ",
)  # fmt: skip
"""What the lines contain; see :mod:`oomkit.klog.lines.scan`. One of less than four bytes would make
the search for all of them three times as slow, more than 64 with the kernel's eight times, and each
whose first four bytes are frequent in logs some more; hence the few, and those that begin inside a
word. What none of them finds is found in the beginning of a log only, which is read whole."""

_STATUS = re.compile(rb"(?:exit|return|code|status)[^\n]{0,24}137\b")


def is_worth(buffer: bytearray, at: int, end: int) -> Worth:
    """Whether what stands at an offset may be evidence: 137 is a number like any other, and the
    kernel's own words are no evidence of others. Of some lines those around them are worth it, too.
    """
    # Numbers first: in most logs they are nearly all that is found.
    if buffer.startswith(_NUMBER, at + 1):
        if not _is_status(buffer, at, end):
            return Worth.NOTHING
        field = _STATUS_FIELD.search(buffer, at - 20, at + 1)
        return Worth.LINE if field is None else Worth.AROUND
    if buffer.startswith(_KERNELS, at):
        own = buffer.startswith(_MEMORY, at) and _OWN_MEMORY.search(
            buffer, at - 20, min(at + len(_MEMORY), end)
        )
        return Worth.LINE if own else Worth.NOTHING
    return Worth.AROUND if buffer.startswith(_WITH_NEIGHBOURS, at) else Worth.LINE


_STATUS_FIELD = re.compile(rb"\"?[eE]xit ?[cC]ode\"?:\s+$")
"""A description's field, whose neighbours say of what the status is."""


_MEMORY = b"ut of memory"
_OWN_MEMORY = re.compile(rb"(?:heap |CUDA (?:error: )?|runtime: |\()out of memory")
"""What ran out of memory is not the machine: a heap, a GPU, a platform's container."""
_WITH_NEIGHBOURS = (
    b"lowmemorykiller", b"killer: Kill", b"low on resource", b"OOMKilled", b"oomKilled", b"victed",
    b"Error R1", b"oom-kill'", b"oom-kill)", b" oom-kill)",
    b"signal: killed",
)  # fmt: skip


def _is_status(buffer: bytearray, at: int, end: int) -> bool:
    """Whether the number 137 is an exit status."""
    if at + 4 < end and buffer[at + 4] in _ALPHANUMERIC:
        return False
    end = min(at + 5, end)
    return _STATUS.search(buffer[max(at - 40, 0) : end].lower()) is not None


_NUMBER = b"137"
_ALPHANUMERIC = frozenset(byte for byte in range(128) if chr(byte).isalnum())
_KERNELS = tuple(needle for needle in KERNEL_NEEDLES if needle not in NEEDLES)
