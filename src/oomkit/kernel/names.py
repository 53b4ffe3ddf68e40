"""Names of what is in a cgroup: pod, container, image, machine, job, application."""

import re

from oomkit.records import Record

MAX_CHARS = 253
"""Longer names are cut; the longest that Kubernetes allows (a DNS subdomain)."""

_ESCAPED = re.compile(r"\\x([0-9a-f]{2})")
_LXC = re.compile(r"(?:^|/)lxc(?:\.payload\.|/)([^/]+)")
_QEMU = re.compile(r"(?:^|/)qemu\.slice/(\d+)\.scope(?:/|$)")
_MACHINE = re.compile(r"(?:^|/)machine-([^/]+)\.scope(?:/|$)")
_NSPAWN = re.compile(r"(?:^|/)systemd-nspawn@([^/]+)\.service(?:/|$)")
_LIBVIRT = re.compile(r"(?:qemu|lxc)-\d+-(.+)\Z")
_JOB = re.compile(r"(?:^|/)job_(\d+)(?:/|$)")
_STEP = re.compile(r"(?:^|/)job_\d+/step_([^/]+)")
_SLURM = re.compile(r"(?:^|/)(?:slurm(?:_[^/]+)?|(?:[^/]+_)?slurmstepd\.scope)/")
_APP_SCOPE = re.compile(r"(?:^|/)app-(?:([^/-]+)-)?([^/-]+)-([^/-]+)\.scope(?:/|$)")
_APP_SERVICE = re.compile(r"(?:^|/)app-(?:([^/@-]+)-)?([^/@-]+)(?:@[^/]*)?\.service(?:/|$)")
_SNAP = re.compile(r"(?:^|/)snap\.([^/]+?)[.-][0-9a-f]{8}(?:-?[0-9a-f]{4,12})*\.scope(?:/|$)")


class Names(Record, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """The names of what a cgroup belongs to; None where it belongs to no such thing, or where what
    lies on the machine does not say.

    Attributes:
        namespace: the Kubernetes namespace.
        pod: the pod's name.
        container: the container's name.
        image: the image it was made from.
        machine: a virtual machine, or a container that is a machine (LXC, nspawn, Proxmox).
        job: the Slurm job, with its step after a dot.
        app: the desktop application.
    """

    namespace: str | None = None
    pod: str | None = None
    container: str | None = None
    image: str | None = None
    machine: str | None = None
    job: str | None = None
    app: str | None = None

    def text(self) -> str:
        """``pod shop/web-6d9f, container nginx``; empty where nothing is known."""
        parts = []
        if self.pod:
            parts.append(
                f"pod {self.namespace}/{self.pod}" if self.namespace else f"pod {self.pod}"
            )
        if self.container:
            parts.append(f"container {self.container}")
        if self.machine:
            parts.append(f"machine {self.machine}")
        if self.job:
            parts.append(f"Slurm job {self.job}")
        if self.app and not parts:
            parts.append(f"app {self.app}")
        return ", ".join(parts)

    def words(self) -> tuple[str, ...]:
        """What a person may type for it."""
        pod = f"{self.namespace}/{self.pod}" if self.namespace and self.pod else None
        both = f"{pod}/{self.container}" if pod and self.container else None
        given = (self.pod, pod, self.container, both, self.machine, self.job, self.app)
        return tuple(word for word in given if word)


def cut(name: object) -> str | None:
    """A name from a file of others: text of limited length, or None."""
    return name[:MAX_CHARS] if isinstance(name, str) and name else None


def unescaped(name: str) -> str:
    r"""Undo systemd's escapes in a part of a unit's name: ``\x2d`` is a dash."""

    def byte(match: re.Match[str]) -> str:
        return chr(int(match[1], 16))

    plain = _ESCAPED.sub(byte, name)
    try:
        return plain.encode("latin-1").decode()
    except (UnicodeEncodeError, UnicodeDecodeError):
        return plain


def names_in_path(path: str) -> Names:
    r"""The names that a cgroup's path itself holds.

    LXC (``lxc/NAME``, ``lxc.payload.NAME``) and Proxmox (``lxc/ID``, ``qemu.slice/ID.scope``);
    machined (``machine-NAME.scope``) and libvirt (``machine-qemu\x2d1\x2dNAME.scope``); Slurm
    (``slurm/uid_U/job_J/step_S`` of version 1, ``slurmstepd.scope/job_J/step_S`` of version 2);
    desktops (``app[-LAUNCHER]-ID-RANDOM.scope`` and ``app[-LAUNCHER]-ID[@RANDOM].service``, see
    https://systemd.io/DESKTOP_ENVIRONMENTS; ``snap.NAME.APP-UUID.scope``).
    """
    return Names(machine=_machine(path), job=_job(path), app=_app(path))


def _machine(path: str) -> str | None:
    for pattern in (_LXC, _QEMU, _NSPAWN):
        found = pattern.search(path)
        if found:
            return cut(unescaped(found[1]))
    found = _MACHINE.search(path)
    if not found:
        return None
    name = unescaped(found[1])
    libvirt = _LIBVIRT.match(name)
    return cut(libvirt[1] if libvirt else name)


def _job(path: str) -> str | None:
    found = _JOB.search(path)
    if not found or not _SLURM.search(path):
        return None
    step = _STEP.search(path)
    return cut(f"{found[1]}.{step[1]}" if step else found[1])


def _app(path: str) -> str | None:
    for pattern in (_APP_SCOPE, _APP_SERVICE):
        found = pattern.search(path)
        if found:
            return cut(unescaped(found[2]))
    snap = _SNAP.search(path)
    return cut(unescaped(snap[1])) if snap else None
