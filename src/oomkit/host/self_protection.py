"""Making sure that this process is there to act when memory is short."""

import os


def spare_self(proc: str = "/proc") -> int:
    """Set our own oom_score_adj to -1000, so that the kernel never chooses us.

    Going below what a privileged process once set takes CAP_SYS_RESOURCE
    (``__set_oom_adj()``, fs/proc/base.c); refused, it stays as it is.

    Returns:
        the adjustment that holds now.

    Raises:
        OSError: the file can't be read.
    """
    fd = os.open(f"{proc}/self/oom_score_adj", os.O_RDWR | os.O_CLOEXEC)
    try:
        os.pwrite(fd, b"-1000", 0)
    except PermissionError:
        return int(os.pread(fd, 16, 0))
    else:
        return -1000
    finally:
        os.close(fd)
