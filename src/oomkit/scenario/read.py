"""Reading a scenario file: every fault of it at once, each with its place."""

from collections.abc import Iterable, Sequence
from typing import Any, Literal, cast, get_args

from oomkit.kernel.versions import UnknownKernelError, rules_for
from oomkit.records import replace
from oomkit.scenario.format import Cgroup, Machine, Role, Scenario, Step, Task, Thp
from oomkit.scenario.knobs import read_knobs
from oomkit.scenario.steps import MAX_STEPS, read_at, read_io_max, read_steps
from oomkit.toml import units
from oomkit.toml.load import apply_overrides, blamed, load
from oomkit.toml.table import Fault, Table, TomlError, choice, integer, name, text

__all__ = ["Fault", "ScenarioError", "read_scenario", "scenario_from"]

MAX_TASKS = 100_000

MIN_RAM = 16 * 2**20

MAX_RATE = 100 * 2**30

_V1_IO = "expected no io_max with version = 1, whose memory cgroups limit no disk"


class ScenarioError(TomlError):
    """A scenario that can't be used; ``faults`` lists everything that is wrong with it."""


def read_scenario(path: str, *, overrides: Sequence[str] = ()) -> Scenario:
    """Read a scenario file.

    Args:
        path: the file.
        overrides: changes such as ``vm.panic_on_oom=1``, made before it is checked.

    Raises:
        ScenarioError: unreadable, no TOML, or wrong; it lists all that is wrong.
    """
    try:
        raw = load(path)
    except TomlError as error:
        raise ScenarioError(error.source, error.faults) from None
    return scenario_from(raw, source=path, overrides=overrides)


def scenario_from(
    raw: dict[str, Any], *, source: str = "scenario", overrides: Sequence[str] = ()
) -> Scenario:
    """Make a scenario of decoded TOML.

    Raises:
        ScenarioError: something is wrong; it lists all that is.
    """
    faults: list[Fault] = []
    raw = apply_overrides(raw, overrides, faults)
    top = Table(raw, "", faults)
    scenario = Scenario(
        name=top.require("name", text, ""),
        about=top.take("about", text, ""),
        duration_s=top.take("duration", units.duration, 600.0),
        machine=_machine(top.table("machine"), missing="machine" not in raw),
        vm=read_knobs(top.table("vm")),
        tasks=tuple(_placed(_task(table), None) for table in top.tables("task")),
        cgroups=tuple(_cgroup(table) for table in top.tables("cgroup")),
        at=tuple(sorted((read_at(t) for t in top.tables("at")), key=lambda event: event.t_s)),
    )
    top.done()
    faults.extend(_contradictions(scenario))
    if faults:
        raise ScenarioError(source, blamed(raw, overrides, faults))
    return scenario


def _machine(table: Table, *, missing: bool) -> Machine:
    if missing:
        table.fault("", "is missing; expected at least [machine] with ram")
    machine = Machine(
        ram_bytes=table.take("ram", _ram, 0) if missing else table.require("ram", _ram, 0),
        swap_bytes=table.take("swap", units.size, 0),
        zram_bytes=table.take("zram", units.size, 0),
        zswap=table.flag("zswap"),
        zswap_max_pool_percent=table.take("zswap_max_pool_percent", integer(1, 100), 20),
        compression=table.take("compression", _compression, 3.0),
        cpus=table.take("cpus", integer(1, 8192), 2),
        cpus_worth=table.take("cpus_worth", _worth, None),
        kernel=table.take("kernel", _kernel, "6.12"),
        disk_bytes_s=table.take("disk", _hardware_rate, 100.0 * 2**20),
        fault_bytes_s=table.take("fault_rate", _hardware_rate, 2.0**30),
        share_bytes_s=table.take("share_rate", _hardware_rate, None),
        map_bytes_s=table.take("map_rate", _hardware_rate, None),
        first_read_bytes_s=table.take("first_read_rate", _hardware_rate, None),
        read_bytes_s=table.take("read_rate", _hardware_rate, None),
        swap_out_bytes_s=table.take("swap_out_rate", _hardware_rate, None),
        swap_in_bytes_s=table.take("swap_in_rate", _hardware_rate, None),
        reserved_bytes=table.take("reserved", units.size, None),
        kernel_bytes=table.take("kernel_memory", units.size, None),
        unmovable_bytes=table.take("unmovable_free", units.size, 14 * 2**20),
        programs_bytes=table.take("programs", units.size, 0),
        thp=table.take("thp", _thp, "never"),
        hz=table.take("hz", integer(100, 1000), 250),
    )
    if machine.zswap and machine.zram_bytes:
        table.fault("zswap", "expected no zram beside it: one of them compresses")
    elif machine.zswap and not machine.swap_bytes:
        table.fault("zswap", "expected swap, whose slots its pages take")
    table.done()
    return machine


def _ram(value: Any) -> int:
    ram = units.size(value)
    if ram < MIN_RAM:
        raise ValueError('a size from "16M" on')
    return ram


def _hardware_rate(value: Any) -> float:
    """Maximum rate: a faster one would fill a machine in less than the resolution of the model."""
    rate = units.rate(value)
    if rate > MAX_RATE:
        raise ValueError('a rate up to "100G/s"')
    return rate


def _thp(value: Any) -> Thp:
    if isinstance(value, bool):
        return "always" if value else "never"
    if value not in get_args(Thp):
        raise ValueError("true, false, " + ", ".join(f'"{mode}"' for mode in get_args(Thp)))
    return cast(Thp, value)


def _worth(value: Any) -> float:
    return _number(value, 0.01, 8192, "a number of CPUs, 0.01..8192")


def _compression(value: Any) -> float:
    return _number(
        value, 1.1, 100, "a number from 1.1 to 100, such as 3: a third of the size is left"
    )


def _number(value: Any, least: float, most: float, expected: str) -> float:
    number = isinstance(value, int | float) and not isinstance(value, bool)
    if not (number and least <= value <= most):
        raise ValueError(expected)
    return float(value)


def _kernel(value: Any) -> str:
    release = text(value)
    try:
        rules_for(release)
    except UnknownKernelError as error:
        raise ValueError(f"a kernel version or rule set ({error})") from None
    return release


def _task(table: Table) -> Task:
    task = Task(
        name=table.require("name", name, "?"),
        count=table.take("count", integer(1, MAX_TASKS), 1),
        start_s=table.take("start", units.duration, 0.0),
        every_s=table.take("every", units.duration, 0.0),
        jitter_s=table.take("jitter", units.duration, 0.0),
        spread=table.take("spread", units.share, 0.0),
        oom_score_adj=table.take("oom_score_adj", integer(-1000, 1000), 0),
        oom_adj=table.take("oom_adj", integer(-17, 15), None),
        uid=table.take("uid", integer(0, 2**32 - 2), 1000),
        nice=table.take("nice", integer(-20, 19), 0),
        threads=table.take("threads", integer(1, 100_000), 1),
        program_bytes=table.take("program", units.size, 0),
        cgroup=table.take("cgroup", _cgroup_or_root, None),
        children=tuple(_task(child) for child in table.tables("children")),
        shares_mm_with=table.take("shares_mm_with", name, None),
        role=cast(Role | None, table.take("role", choice("innocent", "culprit", "protected"), "")
                  or None),
        thp=cast(Literal["madvise", "never"] | None,
                 table.take("thp", choice("madvise", "never"), None)),
        loops=table.take("loops", _loops, 1),
        on_sigterm=cast(
            Literal["exit", "ignore"], table.take("on_sigterm", choice("exit", "ignore"), "exit")
        ),
        sigterm_exit_s=table.take("sigterm_exit", units.duration, 0.0),
        restart_s=table.take("restart", units.duration, None),
        steps=_steps(table),
    )  # fmt: skip
    table.done()
    return task


def _placed(task: Task, inherited: str | None) -> Task:
    """Put a task that names no cgroup into its parent's, as ``cgroup_fork()`` does."""
    cgroup = inherited if task.cgroup is None else task.cgroup or None
    children = tuple(_placed(child, cgroup) for child in task.children)
    if cgroup == task.cgroup and children == task.children:
        return task
    return replace(task, cgroup=cgroup, children=children)


def _steps(table: Table) -> tuple[Step, ...]:
    steps = read_steps(table, "steps")
    if len(steps) > MAX_STEPS:
        table.fault("steps", f"expected at most {MAX_STEPS} steps, not {len(steps)}")
        return ()
    return steps


def _loops(value: Any) -> int | None:
    if value == "forever":
        return None
    try:
        return integer(1, 10**9)(value)
    except ValueError as error:
        raise ValueError(f'{error}, or "forever"') from None


def _cgroup_name(value: Any) -> str:
    path = text(value).strip("/")
    if not path or any(part in ("", ".", "..") for part in path.split("/")):
        raise ValueError('a path such as "web" or "web/worker"')
    for part in path.split("/"):
        if any(c in part for c in " =[]\"'"):
            raise ValueError('a path such as "web", without spaces, brackets or quotes')
    return path


def _cgroup_or_root(value: Any) -> str:
    """A cgroup's name; empty: the root, which a child has to name where its parent has another."""
    return "" if value == "/" else _cgroup_name(value)


def _cgroup(table: Table) -> Cgroup:
    group = Cgroup(
        name=table.require("name", _cgroup_name, "?"),
        version=cast(Literal[1, 2], table.take("version", integer(1, 2), 2)),
        max_bytes=table.take("max", units.size, None),
        high_bytes=table.take("high", units.size, None),
        low_bytes=table.take("low", units.size, 0),
        min_bytes=table.take("min", units.size, 0),
        request_bytes=table.take("request", units.size, 0),
        priority=table.take("priority", integer(-(2**31), 2**31 - 1), 0),
        swap_max_bytes=table.take("swap_max", units.size, None),
        memsw_bytes=table.take("memsw_max", units.size, None),
        swappiness=table.take("swappiness", integer(0, 200), None),
        oom_group=table.flag("oom_group"),
        oom_kill_disable=table.flag("oom_kill_disable"),
        **read_io_max(table),
    )
    if group.version == 1 and "io_max" in table.raw:
        table.fault("io_max", _V1_IO)
    table.done()
    return group


def _contradictions(scenario: Scenario) -> Iterable[Fault]:
    """What is wrong between the parts of a scenario."""
    groups = {group.name for group in scenario.cgroups}
    seen: set[str] = set()
    if len(groups) < len(scenario.cgroups):
        yield Fault(path="cgroup", expected="expected every cgroup's name once")
    if not scenario.tasks:
        yield Fault(path="task", expected="expected at least one [[task]]")
    for path, task in walk_tasks(scenario.tasks):
        if task.name in seen:
            yield Fault(
                path=f"{path}.name", expected=f"expected a name of its own, not {task.name!r} again"
            )
        seen.add(task.name)
        if task.cgroup is not None and task.cgroup not in groups:
            yield Fault(
                path=f"{path}.cgroup",
                expected=f"expected the name of a [[cgroup]], not {task.cgroup!r}",
            )
        if task.loops is None and not any(_takes_time(step) for step in task.steps):
            yield Fault(
                path=f"{path}.loops",
                expected="expected steps that take time when there is no last loop",
            )
    total = sum(count_tasks(task) for task in scenario.tasks)
    if total > MAX_TASKS:
        yield Fault(path="task", expected=f"expected at most {MAX_TASKS} tasks in all, not {total}")
    yield from _references(scenario, seen, groups)


def _references(scenario: Scenario, names: set[str], groups: set[str]) -> Iterable[Fault]:
    for path, task in walk_tasks(scenario.tasks):
        other = task.shares_mm_with
        if other is not None and (other not in names or other == task.name):
            yield Fault(
                path=f"{path}.shares_mm_with",
                expected=f"expected another task's name, not {other!r}",
            )
    for i, event in enumerate(scenario.at):
        for wanted in event.tasks.keys() - names:
            yield Fault(path=f"at[{i}].task.{wanted}", expected="expected a task's name")
        for wanted in event.cgroups.keys() - groups:
            yield Fault(path=f"at[{i}].cgroup.{wanted}", expected="expected a cgroup's name")
        for group in scenario.cgroups:
            fields = event.cgroups.get(group.name, {})
            if group.version == 1 and fields.keys() & {"io_read_bytes_s", "io_write_bytes_s"}:
                yield Fault(path=f"at[{i}].cgroup.{group.name}.io_max", expected=_V1_IO)


def _takes_time(step: Step) -> bool:
    if step.verb in ("work", "hold"):
        return step.seconds is None or step.seconds >= 0.001
    return bool(step.size_bytes) and step.verb in (
        "touch",
        "peek",
        "share",
        "tmpfs",
        "lock",
        "read",
        "write",
    )


def walk_tasks(tasks: Sequence[Task], at: str = "task") -> Iterable[tuple[str, Task]]:
    """Every task with its path, parents before their children."""
    for i, task in enumerate(tasks):
        yield f"{at}[{i}]", task
        yield from walk_tasks(task.children, f"{at}[{i}].children")


def count_tasks(task: Task) -> int:
    """How many processes a task entry makes, with its children."""
    return task.count * (1 + sum(count_tasks(child) for child in task.children))
