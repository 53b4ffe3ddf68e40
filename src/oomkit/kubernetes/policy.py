"""A kubelet's thresholds as a policy file: the built-in policy ``kubelet`` with other numbers."""

from oomkit.kubernetes.rules import Kubelet, Threshold
from oomkit.policy import builtin

USUAL = Kubelet()
_GRACE = 'term_wait = "1s"'


def differs(kubelet: Kubelet) -> bool:
    """Whether its thresholds are others than those of the built-in policy."""
    return (kubelet.hard, kubelet.soft) != (USUAL.hard, USUAL.soft)


def policy_text(kubelet: Kubelet, name: str) -> str:
    """The policy as TOML.

    Args:
        kubelet: its thresholds.
        name: what its kills are recorded as.
    """
    head, _, rest = builtin.source("kubelet").partition("[[when]]")
    tail = "[whom]" + rest.partition("[whom]")[2]
    slowly = kubelet.soft is not None and kubelet.max_pod_grace_s > 1.0
    rules = []
    if kubelet.soft is not None:
        rules.append(_rule("soft", kubelet.soft, grace_s=kubelet.soft_grace_s))
    if kubelet.hard is not None:
        # Hard eviction leaves a pod one second. Where the soft one leaves more, it is none.
        level = "hard" if slowly else "soft"
        rules.append(_rule(level, kubelet.hard))
        if kubelet.enforces_pods:
            rules.append(_rule(level, kubelet.hard, cgroup="/kubepods"))
    if slowly:
        tail = tail.replace(_GRACE, f'term_wait = "{kubelet.max_pod_grace_s:g}s"', 1)
    version = ".".join(map(str, kubelet.version))
    lines = [
        f'name = "{name}"',
        f'about = "kubelet {version} as a configuration sets it, for oomkit run --policy"',
        "",
        "[look]" + head.partition("[look]")[2].rstrip(),
    ]
    return "\n".join(["\n".join(lines), "", *rules, tail])


def _rule(level: str, threshold: Threshold, *, grace_s: float = 0.0, cgroup: str = "") -> str:
    lines = ["[[when]]", f'level = "{level}"']
    lines += [f'cgroup = "{cgroup}"'] if cgroup else []
    lines += [f"working_set_left = {_amount(threshold)}"]
    lines += [f'for = "{grace_s:g}s"'] if grace_s else []
    return "\n".join(lines) + "\n"


def _amount(threshold: Threshold) -> str:
    if threshold.share is not None:
        return f'"{100 * threshold.share:g}%"'
    if threshold.size_bytes % 2**20 == 0:
        return f'"{threshold.size_bytes // 2**20}M"'
    return f'"{threshold.size_bytes}B"'
