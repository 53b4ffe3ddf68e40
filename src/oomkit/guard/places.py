"""Where the daemon finds what it looks at."""


class Places:
    """Directories and the form of the memory cgroups.

    Attributes:
        proc: the processes.
        signals: meminfo, vmstat and pressure; other than ``proc`` in a drill, where made
            figures are to be acted on.
        sys: ``/sys``.
        cgroups: where the memory cgroups are mounted; empty where they are not.
        cgroup_version: 1 or 2; 0 where there are none.
    """

    __slots__ = ("cgroup_version", "cgroups", "proc", "signals", "sys")

    def __init__(
        self,
        proc: str = "/proc",
        signals: str = "",
        sys: str = "/sys",
        cgroups: str = "",
        cgroup_version: int = 0,
    ) -> None:
        self.proc = proc
        self.signals = signals or proc
        self.sys = sys
        self.cgroups = cgroups
        self.cgroup_version = cgroup_version

    @property
    def pressure(self) -> str:
        """The machine's pressure file, for triggers; empty in a drill, whose file has none."""
        return f"{self.proc}/pressure/memory" if self.signals == self.proc else ""
