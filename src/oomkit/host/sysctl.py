"""The knobs of ``/proc/sys/vm``."""

import errno

import msgspec

from oomkit.host.procfs import REFUSED, read_at
from oomkit.kernel.state import Sysctl


def read_sysctl(proc: str) -> tuple[Sysctl, tuple[str, ...]]:
    """Return the knobs, and a sentence about those that could not be read.

    A knob that this kernel does not have keeps its default: no rule of this kernel reads it.
    """
    values: dict[str, int] = {}
    refused: list[str] = []
    absent = 0
    names = [field.name for field in msgspec.structs.fields(Sysctl)]
    for name in names:
        try:
            values[name] = int(read_at(f"{proc}/sys/vm/{name}"))
        except OSError as error:
            if error.errno in REFUSED:
                refused.append(name)
            elif error.errno == errno.ENOENT:
                absent += 1
        except ValueError:
            refused.append(name)
    sysctl = Sysctl(**values)
    if absent == len(names):
        return sysctl, ("The knobs in /proc/sys/vm are not there; defaults are assumed.",)
    if refused:
        return sysctl, (f"Not readable, so defaults are assumed: vm.{', vm.'.join(refused)}.",)
    return sysctl, ()
