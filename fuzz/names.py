"""Fuzz what is made of names: of processes, cgroups, units and containers.

Usage: python -m fuzz.names [--seconds 120] [libFuzzer's own options]

Any process chooses its name, any user names cgroups. Starts from ``fuzz/corpus/names``. Whatever it
is, it can be shown, looked up, replaced (``--redact``) and written as a line of JSON that others
read back.
"""

import json

import atheris
import msgspec
from fuzz.harness import check_shown, fuzz

with atheris.instrument_imports(include=["oomkit"]):
    from oomkit.errors import OomkitError
    from oomkit.explain.redact import Redactor
    from oomkit.guard.journal import encode
    from oomkit.host.membership import container_of, parse_membership, unit_of
    from oomkit.kernel.cgroup_name import (
        find_memcg_path,
        find_tasks,
        label,
        place,
        qos_of,
        short_name,
    )
    from oomkit.kernel.state import Memcg, Memory, Snapshot, Sysctl, Task
    from oomkit.klog import read_bytes
    from oomkit.printable import printable

WORDS = (
    "/kubepods.slice/", "kubepods-burstable-pod", ".slice", ".scope", ".service", "docker-",
    "cri-containerd-", "/docker/", "/lxc/", "user@1000.service", "\\x1b", "\\u202e", "\\x2d", "/..",
    "(deleted)", "0" * 64, "[77]", "77", "1:memory:/", "0::/", "\\n",
)  # fmt: skip
KILL = "[    1.000000] Out of memory: Killed process 77 (%s), UID 0, total-vm:100kB\n"


def one_input(data: bytes) -> None:
    """Show it, look it up, replace it, carry it."""
    name = data.decode("utf-8", "surrogateescape")
    shown = printable(name)
    check_shown(shown)
    shown.encode("utf-8", "surrogateescape")
    path = f"/{name}"
    for made in (label(path), short_name(path), qos_of(path)):
        check_shown(printable(made))
    msgspec.to_builtins(place(path))
    unit_of(path)
    container_of(path)
    for version in (1, 2, None):
        parse_membership(data, version)
    clean = data.decode("utf-8", "replace")
    if json.loads(encode({"comm": clean})) != {"comm": clean}:
        raise RuntimeError("a line of JSON that says something else")
    machine = Snapshot(
        kernel="6.12", memory=Memory(total_ram_pages=1), sysctl=Sysctl(),
        tasks=(Task(pid=77, comm=clean, cgroup=f"/{clean}"),), memcgs=(Memcg(path=f"/{clean}"),),
    )  # fmt: skip
    for find in (find_tasks, find_memcg_path):
        try:
            find(machine, clean)
        except OomkitError as error:
            check_shown(str(error))
    log = (KILL % clean.replace("\n", " ")).encode()
    for report in read_bytes(log):
        redacted = Redactor().report(report)
        if len(clean) > 8 and clean in str(msgspec.to_builtins(redacted)):
            raise RuntimeError("a name is left in a redacted report")


if __name__ == "__main__":
    fuzz(__doc__, one_input, seeds=(), words=WORDS, most_bytes=512)
