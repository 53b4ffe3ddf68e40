"""Making sure that this process can act when memory is low."""

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


def run_first() -> str:
    """Have this thread run before ordinary ones, for a machine out of memory is out of CPU as well.

    What is started from here is ordinary again.

    Returns:
        ``SCHED_RR`` (which takes CAP_SYS_NICE), a nice value, or nothing if all is refused.
    """
    try:
        parameters = os.sched_param(1)
        os.sched_setscheduler(0, os.SCHED_RR | os.SCHED_RESET_ON_FORK, parameters)
    except OSError:
        pass
    else:
        return "SCHED_RR"
    try:
        os.setpriority(os.PRIO_PROCESS, 0, -20)
    except OSError:
        return ""
    return "nice -20"


def ordinary(pid: int) -> None:
    """Take from a process that we started what it inherited: our adjustment, our nice value."""
    try:
        os.setpriority(os.PRIO_PROCESS, pid, 0)
        fd = os.open(f"/proc/{pid}/oom_score_adj", os.O_WRONLY | os.O_CLOEXEC)
    except OSError:
        return  # it has ended
    try:
        os.write(fd, b"0")
    except OSError:
        return  # it has ended
    finally:
        os.close(fd)
