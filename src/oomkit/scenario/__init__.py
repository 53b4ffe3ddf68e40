"""The scenario format every world reads, and the record of a run every world writes."""

from oomkit.scenario.format import At, Cgroup, Machine, Scenario, Step, Task
from oomkit.scenario.read import Fault, ScenarioError, read_scenario, scenario_from
from oomkit.scenario.record import Denied, Freeze, Kill, Objectives, Run, Samples, TaskSamples

__all__ = [
    "At",
    "Cgroup",
    "Denied",
    "Fault",
    "Freeze",
    "Kill",
    "Machine",
    "Objectives",
    "Run",
    "Samples",
    "Scenario",
    "ScenarioError",
    "Step",
    "Task",
    "TaskSamples",
    "read_scenario",
    "scenario_from",
]
