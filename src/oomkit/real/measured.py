"""What faults, reads and swapping cost on a booted kernel, measured by the agent in it."""

from oomkit.real import kernels, qemu
from oomkit.real.cgroup_limits import NotHereError
from oomkit.real.static_agent import agent
from oomkit.scenario import Scenario, scenario_from
from oomkit.scenario.record import Run

MACHINE = {"ram": "256M", "swap": "128M", "disk": "80M/s", "cpus": 1}
"""One CPU, so that nothing else runs meanwhile; as much memory as such guests have."""


def measure(kernel: str | None) -> Run:
    """Boot a kernel, measure, and play nothing else; ``found`` of the record has the costs.

    Args:
        kernel: which to boot, as :func:`oomkit.real.kernels.find` takes it; None: the newest 6.12.

    Raises:
        RealError: none can be booted here, the guest failed, or there is no static agent.
    """
    scenario = load()
    bootable = kernels.find(kernel, scenario.machine.kernel)
    player = agent()
    if player.kind != "static":
        raise NotHereError("for measuring", [f"it needs the static agent: {player.why}"])
    return qemu.play(scenario, bootable, measured=True).run


def load() -> Scenario:
    """The machine that is measured, with a task that does nothing."""
    task = {"name": "idle", "steps": [{"hold": "200ms"}]}
    return scenario_from({"name": "measure", "machine": MACHINE, "task": [task], "duration": "10s"})
