"""What others than the kernel's OOM killer say of a death or a shortage, as records."""

from typing import Literal

from oomkit.klog.records import Source
from oomkit.records import Record


class Evidence(Record, frozen=True, kw_only=True):
    """A line of something other than the kernel's OOM killer about a death or a shortage.

    Attributes:
        source: file and line.
        by: what prints it: ``systemd-oomd``, ``earlyoom``, ``nohang``, ``oomd``, ``lmkd``,
            ``lowmemorykiller`` (the kernel's driver), ``talos``, ``kubelet``, ``containerd``,
            ``docker``, ``runc``, ``systemd``, ``slurm``, ``node-problem-detector``...
        kind: what it says: ``kill`` (it killed somebody itself), ``notice`` (it passes on that
            somebody was killed), ``eviction`` (it took a pod away), ``sigkill`` (somebody died of
            signal 9, of unknown origin), ``failure`` (a request for memory failed),
            ``pressure`` (memory was low); by the last two no process died.
        text: the message.
        killer: what killed, by this line; None where it does not say.
        means: what a failure or pressure is, in a few words.
        time: when, like ``Report.time``.
        uptime_s: seconds since boot, where the line has the kernel's stamp.
        host: the host's name.
        pid: the process it is about.
        comm: that process's name.
        cgroup: the cgroup it is about.
        unit: the unit it is about.
        cgroup_cut: the line was cut in the cgroup's path.
        exited: the killer says that the process exited after its signal, or that it did not; None
            where it says neither.
        signal: which signal the killer says it sent.
        pod: the pod it is about, with its namespace where that is printed with it.
        namespace: the pod's namespace.
        container: id of the container it is about.
        container_name: that container's name.
        node: the node it is about.
        job: job or step of a batch system.
        reason: why, in the killer's own words.
        invoker: whose request it was.
        processes: how many processes died.
        count: how often it happened, where one line stands for several ("x16").
        adj: the victim's adjustment.
        order: order of the request that failed.
        used_kb: memory in use by the victim.
        limit_kb: its limit.
        request_kb: what was requested for it.
        exit_code: its exit status.
    """

    source: Source
    by: str
    kind: Literal["kill", "notice", "eviction", "sigkill", "failure", "pressure"]
    text: str
    killer: str | None = None
    means: str = ""
    time: str | None = None
    uptime_s: float | None = None
    host: str | None = None
    pid: int | None = None
    comm: str | None = None
    cgroup: str | None = None
    cgroup_cut: bool = False
    exited: bool | None = None
    signal: str | None = None
    unit: str | None = None
    pod: str | None = None
    namespace: str | None = None
    container: str | None = None
    container_name: str | None = None
    node: str | None = None
    job: str | None = None
    reason: str | None = None
    invoker: str | None = None
    processes: int | None = None
    count: int | None = None
    adj: int | None = None
    order: int | None = None
    used_kb: int | None = None
    limit_kb: int | None = None
    request_kb: int | None = None
    exit_code: int | None = None
