"""The killer, by the lines that only the killer itself can have written."""

from collections.abc import Sequence

from oomkit.explain.evidence_text import no_kill_text, sentence
from oomkit.explain.records import Killer, Proof, Verdict
from oomkit.klog.evidence import Evidence
from oomkit.klog.records import Killed, Report
from oomkit.render.quantities import count_of, kb

_MAX_PROOFS = 4
_DAEMONS: dict[str, Killer] = {
    "systemd-oomd": "systemd-oomd",
    "earlyoom": "earlyoom",
    "nohang": "nohang",
    "oomd": "oomd",
    "kubelet": "kubelet",
    "lmkd": "lmkd",
    "talos": "talos",
    "kernel": "kernel",
    "lowmemorykiller": "lowmemorykiller",
    "slurm": "slurm",
    "pbs": "pbs",
    "lsf": "lsf",
    "yarn": "yarn",
    "ray": "ray",
    "heroku": "heroku",
}


def verdict(report: Report, related: Sequence[Evidence] = ()) -> Verdict:
    """Who killed the victims of a kernel's report.

    Only the kernel prints these reports, so a kill line settles it; what others say of the same
    death is added as evidence.
    """
    proofs = [*_kill_lines(report), *(proof(item) for item in related)]
    shown = tuple(proofs[: _MAX_PROOFS + len(related)])
    if report.killed:
        return Verdict(by="kernel", text=_by_kernel(report), evidence=shown)
    if report.panic is not None:
        return Verdict(by="nobody", text="none: the kernel panicked", evidence=shown)
    if report.already_exiting:
        text = "none: the chosen process was exiting already"
        return Verdict(by="nobody", text=text, evidence=shown)
    if report.no_killable or report.would_have:
        return Verdict(by="nobody", text="no process was killed", evidence=shown)
    text = "not known: the kernel's OOM killer ran, but no line here names the victim"
    return Verdict(by="unknown", text=text, evidence=shown)


def _by_kernel(report: Report) -> str:
    if report.scope == "sysrq":
        return "the kernel, on request by SysRq-f"
    return "the kernel's OOM killer"


def proof(item: Evidence) -> Proof:
    """A piece of evidence as a line to show."""
    return Proof(file=item.source.file, line=item.source.line, text=f"{item.by}: {item.text}")


def _kill_lines(report: Report) -> list[Proof]:
    file = report.source.file
    proofs = []
    selected = report.selected
    if selected is not None:
        text = f"Kill process {selected.pid} ({selected.comm})"
        text += f" score {selected.score}" if selected.score is not None else ""
        proofs.append(Proof(file=file, line=selected.line, text=text))
    proofs.extend(
        Proof(file=file, line=victim.line, text=_kill_text(victim))
        for victim in report.killed[:_MAX_PROOFS]
        if victim.told_by != "choice"
    )
    if len(report.killed) > _MAX_PROOFS:
        last = report.killed[-1]
        more = count_of(len(report.killed) - _MAX_PROOFS, "more kill line")
        proofs[-1] = Proof(file=file, line=last.line, text=f"{more}, to here")
    return proofs


def _kill_text(victim: Killed) -> str:
    sizes = (
        ("anonymous", victim.anon_rss_kb),
        ("file", victim.file_rss_kb),
        ("shmem", victim.shmem_rss_kb),
        ("rss", victim.rss_kb),
        ("swap", victim.swap_kb),
        ("page tables", victim.pgtables_kb),
    )
    held = ", ".join(f"{name} {kb(size)}" for name, size in sizes if size)
    if victim.told_by == "reaper":
        return f"oom_reaper: reaped process {victim.pid} ({victim.comm}): it reaps only victims"
    text = f"Killed process {victim.pid} ({victim.comm})"
    if victim.killed_as is not None and victim.killed_as != "selected":
        text += f" [{victim.killed_as.replace('_', ' ')}]"
    return f"{text}: {held}" if held else text


def death(item: Evidence) -> Verdict:
    """The killer where there is no kernel report: a userspace killer, or unknown."""
    by: Killer = "unknown"
    if item.kind in ("kill", "eviction") or (item.kind == "notice" and item.by == "systemd-oomd"):
        by = _DAEMONS.get(item.by, "unknown")
    elif item.killer == "kernel":
        by = "kernel"
    elif item.kind in ("failure", "pressure"):
        return Verdict(by="nobody", text=no_kill_text([item], 1), evidence=(proof(item),))
    return Verdict(by=by, text=sentence(item), evidence=(proof(item),))
