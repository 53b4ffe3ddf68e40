"""The order of the kernel's task list."""

from collections.abc import Iterable

from oomkit.host.process import Process


def in_order_of_creation(processes: Iterable[Process], pid_max: int) -> list[Process]:
    """Sort as the kernel's task list is: a process is put at its end when it is created.

    ``/proc`` tells the start in ticks of 10 ms. Within one tick pids rise, unless they
    passed ``pid_max`` meanwhile and went on with low numbers: then those come last.

    Args:
        processes: what was found.
        pid_max: where pids begin anew.
    """
    ordered = sorted(processes, key=lambda process: (process.start_ticks, process.pid))
    begin = 0
    while begin < len(ordered):
        ticks = ordered[begin].start_ticks
        end = begin + 1
        while end < len(ordered) and ordered[end].start_ticks == ticks:
            end += 1
        lowest = ordered[begin].pid
        if ordered[end - 1].pid - lowest > pid_max // 2:
            wrapped = lowest + pid_max // 2
            ordered[begin:end] = sorted(
                ordered[begin:end], key=lambda process: (process.pid < wrapped, process.pid)
            )
        begin = end
    return ordered
