"""Runs on real kernels as text and Markdown: beside the model, and what they measured."""

from collections.abc import Sequence

from oomkit.agree.records import RATIO_TARGET, Agreement, Summary
from oomkit.printable import printable
from oomkit.render.document import Document, Table, Text
from oomkit.render.layout import Column
from oomkit.render.quantities import human_bytes, outcome_of, percent, seconds
from oomkit.scenario.record import Run

_SHOWN = 8
_HEADINGS = (
    "scenario", "outcome", "victims", "first kill", "ratio", "memory", "swap", "frozen", "overlap",
    "parts",
)  # fmt: skip
_WORDS = ("scenario", "victims", "parts")
_LEAVES = {
    "scenario": 0, "swap": 1, "memory": 2, "frozen": 3, "victims": 4, "ratio": 5, "overlap": 6,
    "first kill": 7, "outcome": 8, "parts": 9,
}  # fmt: skip
"""Which columns are left out first where there is no room."""


def report(found: Sequence[Agreement], summaries: Sequence[Summary]) -> Document:
    """A table for each world and kernel, what was not played, and the sums."""
    page = Document()
    for one in summaries:
        played = _played(found, one)
        rows = [_cells(agreement) for agreement in played]
        columns = [
            Column(
                heading=heading,
                cells=[row[i] for row in rows],
                leaves=_LEAVES[heading],
                words=heading in _WORDS,
                right=3 <= i <= 8,
            )
            for i, heading in enumerate(_HEADINGS)
        ]
        styles = ["yellow" if differences(agreement) else "" for agreement in played]
        page.text(f"{one.on}, kernel {printable(one.kernel)}", "bold", rest="")
        page.add(Table(columns=columns, styles=styles))
        page.add(*(Text(line, "dim", rest="") for line in _unplayed(found, one)))
        page.text(sum_up(one), rest="")
        page.line()
    return page


def markdown(found: Sequence[Agreement], summaries: Sequence[Summary]) -> str:
    """The same as Markdown: all kernels side by side, then a section for each world and kernel."""
    lines = _overview(found, summaries) if len(summaries) > 1 else []
    for one in summaries:
        lines += [f"## {one.on}, kernel {printable(one.kernel)}", "", sum_up(one), ""]
        lines += ["| " + " | ".join(_HEADINGS) + " |", "|---" * len(_HEADINGS) + "|"]
        lines += [
            "| " + " | ".join(cell.replace("|", "\\|") for cell in _cells(agreement)) + " |"
            for agreement in _played(found, one)
        ]
        lines += ["", *(f"* {line}" for line in _unplayed(found, one)), ""]
    return "\n".join(lines).rstrip() + "\n"


def _overview(found: Sequence[Agreement], summaries: Sequence[Summary]) -> list[str]:
    """A column for each world and kernel, a row for each scenario."""
    columns = [(one.on, one.kernel) for one in summaries]
    heads = [f"{on} {_version(kernel)}" for on, kernel in columns]
    cells = {(a.file, a.on, a.kernel): _in_short(a) for a in found}
    names = {a.file: printable(a.scenario) for a in found}
    lines = ["## All kernels", "", "| scenario | " + " | ".join(heads) + " |"]
    lines.append("|---" * (len(columns) + 1) + "|")
    for file, name in names.items():
        row = [name, *(cells.get((file, *column), "-") for column in columns)]
        lines.append("| " + " | ".join(cell.replace("|", "\\|") for cell in row) + " |")
    return [*lines, ""]


def _version(kernel: str) -> str:
    return printable(kernel.partition("-")[0].partition("+")[0])


def _in_short(one: Agreement) -> str:
    if not one.played:
        return "failed" if one.failed else "not played"
    ratio = "" if one.ratio is None else f" {one.ratio:.2f}"
    return (", ".join(differences(one)) or "same") + ratio


def sum_up(one: Summary) -> str:
    """The sums in a sentence."""
    memory = (
        ""
        if one.curve_error is None
        else f"; memory curve off by {percent(one.curve_error)} of RAM"
    )
    failed = f", {one.failed} FAILED" if one.failed else ""
    frozen = ""
    if one.overlap is not None:
        frozen = f"; frozen in {one.frozen}, spans overlap by {one.overlap:.2f} (median)"
    return (
        f"{one.played} played{failed}: outcome same in {one.outcome}, "
        f"first victim in {one.first}, "
        f"whole order in {one.order} ({one.ties} with equals in another order), "
        f"first kill within {RATIO_TARGET}x in {one.in_time}{memory}{frozen}; "
        f"targets {'met' if one.meets else 'MISSED'}"
    )


def verdict(one: Agreement) -> list[str]:
    """One comparison in lines: what it comes to, how far the curves are apart, and the cost."""
    parted = differences(one)
    if one.order == "tie":
        parted.append("equals died in another order, which is chance")
    curve = {"available": "MemAvailable", "free": "free of the limit"}[one.curve]
    lines = ["agree" if not differences(one) else "part"]
    lines[0] += f": {'; '.join(parted)}" if parted else ""
    if one.ratio is not None:
        lines.append(f"first kill: real time / modelled time = {one.ratio:.2f}")
    if one.curve_error is not None:
        swap = "" if one.swap_error is None else f", SwapFree {percent(one.swap_error)}"
        lines.append(f"median difference, share of RAM: {curve} {percent(one.curve_error)}{swap}")
    if one.overlap is not None:
        lines.append(f"frozen (s), real / model: {_frozen(one)}; overlap {one.overlap:.2f}")
    lines.append(f"the real run took {one.real_s:.1f} s, the model {one.model_s:.3f} s")
    return lines


def differences(one: Agreement) -> list[str]:
    """Where the two part, in words; empty where they agree."""
    found = []
    if one.outcome != one.model_outcome:
        found.append(f"model: {outcome_of(one.model_outcome or '')}")
    if one.denied != one.model_denied:
        found.append(f"refused {_listed(one.denied)}, model {_listed(one.model_denied)}")
    if one.first == "differs":
        found.append("another first victim")
    if one.order == "differs":
        found.append(f"model kills {_listed(one.model_victims)}")
    if not one.in_time:
        found.append("time of the first kill")
    return found


def _of(found: Sequence[Agreement], one: Summary) -> list[Agreement]:
    return [a for a in found if (a.on, a.kernel) == (one.on, one.kernel)]


def _played(found: Sequence[Agreement], one: Summary) -> list[Agreement]:
    return [a for a in _of(found, one) if a.played]


def _unplayed(found: Sequence[Agreement], one: Summary) -> list[str]:
    """What was not played, and why."""
    words = {True: "not played", False: "FAILED"}
    return [
        f"{printable(a.scenario)} {words[not a.failed]}: {printable(a.failed or a.refused)}"
        for a in _of(found, one)
        if not a.played
    ]


def _cells(one: Agreement) -> tuple[str, ...]:
    victims = _listed(one.victims)
    times = "-"
    if one.first_kill_s is not None or one.model_first_kill_s is not None:
        times = f"{_seconds(one.first_kill_s)} / {_seconds(one.model_first_kill_s)}"
    return (
        printable(one.scenario),
        outcome_of(one.outcome or "-"),
        f"{victims} (equals in another order)" if one.order == "tie" else victims,
        times,
        "-" if one.ratio is None else f"{one.ratio:.2f}",
        "-" if one.curve_error is None else percent(one.curve_error),
        "-" if one.swap_error is None else percent(one.swap_error),
        _frozen(one),
        "-" if one.overlap is None else f"{one.overlap:.2f}",
        "; ".join(differences(one)) or "-",
    )


def _frozen(one: Agreement) -> str:
    """Both machines' frozen spans, in seconds from the start."""
    if one.overlap is None:
        return "-"
    return " / ".join(
        ", ".join(f"{begin:.1f}-{end:.1f}" for begin, end in spans) or "none"
        for spans in (one.frozen, one.model_frozen)
    )


def _seconds(t_s: float | None) -> str:
    return "-" if t_s is None else seconds(t_s)


def _listed(names: Sequence[str]) -> str:
    """Names, runs of the same task summed up, the many cut short."""
    groups: list[tuple[str, int]] = []
    for key in names:
        name = printable(key.rpartition("/")[0] or key)
        if groups and groups[-1][0] == name:
            groups[-1] = (name, groups[-1][1] + 1)
        else:
            groups.append((name, 1))
    words = [name if count == 1 else f"{count} {name}" for name, count in groups[:_SHOWN]]
    if len(groups) > _SHOWN:
        words.append(f"{len(groups) - _SHOWN} more")
    return ", ".join(words) or "none"


_MB = 2**20
_PAGE_COSTS = {
    "fault_s": "first write to a page of memory",
    "shared_fault_s": "first write to a page of shared memory",
    "first_read_s": "first reading of a page of a file",
    "read_s": "reading it again",
    "swap_out_s": "swapping a page out",
    "swap_in_s": "swapping a page in",
}
_SPEEDS = {
    "disk_bytes_s": "the disk, past the page cache",
    "first_read_bytes_s": "first reading of a file",
    "swap_out_bytes_s": "swapping out",
    "swap_in_bytes_s": "swapping in",
}


def measured_report(runs: Sequence[Run]) -> Document:
    """A section for each kernel."""
    page = Document()
    for run in runs:
        assert run.found is not None
        costs = run.found.costs
        page.text(f"{run.on}, kernel {printable(run.kernel)}", "bold", rest="")
        page.text("CPU time a page:", rest="")
        for key, words in _PAGE_COSTS.items():
            value = costs.get(key)
            page.text(f"  {_micros(value):>10}  {words}", rest="")
        page.text("speeds:", rest="")
        for key, words in _SPEEDS.items():
            value = costs.get(key)
            speed = "-" if value is None else f"{human_bytes(value)}/s"
            page.text(f"  {speed:>10}  {words}", rest="")
        page.text(_clocks(run), rest="")
        page.line()
    return page


def _micros(value: float | None) -> str:
    return "-" if value is None else f"{value * 1e6:.2f} us"


def _clocks(run: Run) -> str:
    """How the guest's time goes, what its CPUs are worth, and what the agent took."""
    assert run.found is not None
    words = [f"a second of the host is {run.found.pace:.2f} s of the guest"]
    if run.found.cpus_worth is not None:
        words.append(f"its CPUs do the work of {run.found.cpus_worth:.2f}")
    if run.instrument is not None:
        words.append(f"the agent takes {percent(run.instrument.cpu_share)} of a CPU and "
                     f"{human_bytes(run.instrument.rss_mb * _MB)}")  # fmt: skip
    return "; ".join(words)
