"""Names of pods and containers that other lines of the same log bring together with their ids.

The kernel's report has ids alone. The kubelet, containerd and CRI-O say in their lines which pod
and container these are, sometimes hours before. A second pass looks for the ids that reports have,
so that logs without such reports cost nothing.
"""

import os
from collections.abc import Iterator, Sequence

from oomkit.kernel.cgroup_name import full_container_id, place
from oomkit.kernel.names import Names, cut
from oomkit.klog.lines import expressions as re
from oomkit.klog.lines.sources import LogError, open_log
from oomkit.klog.records import Report
from oomkit.records import replace

MAX_IDS = 64
"""Reports of more pods than this are left with ids."""
BLOCK_BYTES = 1 << 20
MAX_LINE = 64 << 10
"""What is longer is not looked at to its end."""

_Q = rb"\\*\""
_POD = (
    # kubelet, structured since 1.19: pod="shop/web"; before: pod "web_shop(uid)".
    re.compile(rb"\bpods?=" + _Q + rb"(?P<namespace>[a-z0-9-]+)/(?P<pod>[a-z0-9.-]+)" + _Q),
    re.compile(rb"\"(?P<pod>[a-z0-9.-]+)_(?P<namespace>[a-z0-9-]+)\([0-9a-f-]{36}\)"),
    # containerd: internal/cri/server/sandbox_run.go.
    re.compile(
        rb"PodSandboxMetadata\{Name:(?P<pod>[a-z0-9.-]+),Uid:[0-9a-f-]{36},"
        rb"Namespace:(?P<namespace>[a-z0-9-]+)"
    ),
    # CRI-O: server/container_create.go and sandbox_run.go.
    re.compile(
        rb"(?:Created|Started|Ran|Removed) (?:container|pod sandbox)[ :]+[0-9a-f]{64}"
        rb"[^\n]{0,20}?[: ](?P<namespace>[a-z0-9-]+)/(?P<pod>[a-z0-9.-]+)/"
    ),
)  # fmt: skip
_CONTAINER = (
    re.compile(rb"\bcontainer(?:Name)?=" + _Q + rb"(?P<name>[a-z0-9-]+)" + _Q),
    re.compile(
        rb"ContainerMetadata\{Name:(?P<name>[a-z0-9-]+),[^\n]*?returns container id "
        + _Q + rb"(?P<id>[0-9a-f]{64})"
    ),
    re.compile(
        rb"(?:Created|Started|Removed) container[ :]+(?P<id>[0-9a-f]{64})[^\n]{0,20}?"
        rb"[: ][a-z0-9-]+/[a-z0-9.-]+/(?P<name>[a-z0-9-]+)"
    ),
)  # fmt: skip


def with_names(name: str | None, reports: Sequence[Report]) -> tuple[Report, ...]:
    """Reports with what their cgroups are called, as far as the log says.

    Args:
        name: the log that they are of. What is no regular file can't be read again.
        reports: its reports.
    """
    wanted = {
        one
        for report in reports
        if report.cgroup is not None and report.owner is None
        for one in (place(report.cgroup).pod, full_container_id(report.cgroup))
        if one is not None
    }
    if not wanted or len(wanted) > MAX_IDS or name is None or not os.path.isfile(name):
        return tuple(reports)
    pods, containers = look(name, {one.encode() for one in wanted})
    return tuple(_named(report, pods, containers) for report in reports)


def _named(
    report: Report, pods: dict[bytes, tuple[bytes, bytes]], containers: dict[bytes, bytes]
) -> Report:
    if report.cgroup is None or report.owner is not None:
        return report
    uid, id_ = place(report.cgroup).pod or "", full_container_id(report.cgroup) or ""
    pod = pods.get(uid.encode()) or pods.get(id_.encode())
    if pod is None:
        return report
    container = containers.get(id_.encode())
    text = Names(
        namespace=cut(pod[0].decode()),
        pod=cut(pod[1].decode()),
        container=cut(container.decode()) if container is not None else None,
    ).text()
    if container is None and id_:
        text += f", container {place(report.cgroup).container}"
    return replace(report, owner=text)


def look(name: str, ids: set[bytes]) -> tuple[dict[bytes, tuple[bytes, bytes]], dict[bytes, bytes]]:
    """Namespace and pod by each id, and container by its id."""
    pods: dict[bytes, tuple[bytes, bytes]] = {}
    containers: dict[bytes, bytes] = {}
    for line, found in _lines(name, ids):
        pod = next((match for one in _POD if (match := one.search(line))), None)
        if pod is not None:
            for one in found:
                pods.setdefault(one, (pod["namespace"], pod["pod"]))
        for form in _CONTAINER:
            container = form.search(line)
            if container is None:
                continue
            own = container["id"] if "id" in form.groupindex else None
            ours = [own] if own in found else [i for i in found if len(i) == 64 and own is None]
            for id_ in ours:
                containers.setdefault(id_, container["name"])
            break
    return pods, containers


def _lines(name: str, ids: set[bytes]) -> Iterator[tuple[bytes, list[bytes]]]:
    """The lines that hold some of the ids, with those that they hold."""
    # A pod's uid stands in lines without its dashes or with underscores only where paths are.
    try:
        with open_log(name) as log:
            buffer = memoryview(bytearray(BLOCK_BYTES))
            rest = b""
            while size := log.readinto(buffer):
                whole, newline, rest = (rest + bytes(buffer[:size])).rpartition(b"\n")
                yield from _holding(whole + newline, ids)
                rest = rest if len(rest) <= MAX_LINE else b""
            yield from _holding(rest + b"\n", ids)
    except LogError:
        return


def _holding(data: bytes, ids: set[bytes]) -> Iterator[tuple[bytes, list[bytes]]]:
    """The same of whole lines."""
    starts: dict[int, list[bytes]] = {}
    for one in ids:
        end = 0
        while (at := data.find(one, end)) >= 0:
            starts.setdefault(data.rfind(b"\n", 0, at) + 1, []).append(one)
            end = data.index(b"\n", at)
    for start in sorted(starts):
        yield data[start : data.index(b"\n", start)][:MAX_LINE], starts[start]
