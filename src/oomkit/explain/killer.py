"""The killer, by the lines that only the killer itself can have written."""

from collections.abc import Sequence

from oomkit.explain.cgroup_names import place_text
from oomkit.explain.evidence_text import no_kill_text, sentence
from oomkit.explain.records import Killer, Proof, Verdict
from oomkit.klog.evidence import Evidence
from oomkit.klog.records import Killed, Report
from oomkit.render.quantities import count_of, kb, label

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
    if report.summary is not None and report.summary.comm is not None:
        text = "the kernel's OOM killer, by its choice; the line of the kill itself is missing"
        return Verdict(by="kernel", text=text, evidence=shown)
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
    where = _where(report)
    chosen = report.summary
    if chosen is not None and chosen.comm is not None and not report.killed:
        name = label(chosen.comm, chosen.pid) if chosen.pid is not None else chosen.comm
        proofs.append(Proof(file=file, line=chosen.line, text=f"oom-kill: chose {name}{where}"))
    proofs.extend(
        Proof(file=file, line=victim.line, text=_kill_text(victim, where))
        for victim in report.killed[:_MAX_PROOFS]
        if victim.told_by != "choice"
    )
    if len(report.killed) > _MAX_PROOFS:
        last = report.killed[-1]
        more = count_of(len(report.killed) - _MAX_PROOFS, "more kill line")
        proofs[-1] = Proof(file=file, line=last.line, text=f"{more}, to here")
    return proofs


def _where(report: Report) -> str:
    """Where the chosen task was, unless that is the cgroup that ran out."""
    if report.scope == "memcg" or report.summary is None:
        return ""
    found = place_text(report.summary.task_memcg)
    return f", in {found}" if found else ""


def _kill_text(victim: Killed, where: str) -> str:
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
    text = f"Killed process {victim.pid} ({victim.comm or 'the line is cut in its name'})"
    text += where if victim.killed_as == "selected" else ""
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
