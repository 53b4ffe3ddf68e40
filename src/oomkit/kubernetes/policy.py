"""A kubelet's thresholds as a policy file: the built-in policy ``kubelet`` with other numbers."""

import os
import tomllib
from collections.abc import Iterator, Sequence

from oomkit.kubernetes.documents import Document, ManifestError, read_documents
from oomkit.kubernetes.kubelet_config import ConfigurationError, read_kubelet
from oomkit.kubernetes.rules import Kubelet, Threshold
from oomkit.policy import builtin
from oomkit.policy.peers.command_line import command_lines
from oomkit.policy.read import OthersError, policy_from
from oomkit.policy.records import Origin, Policy
from oomkit.printable import printable
from oomkit.toml.table import Fault, TomlError

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


DEFAULT_FILE = "/var/lib/kubelet/config.yaml"
"""Where kubeadm puts a kubelet's configuration."""
_ABOUT_MEMORY = frozenset(
    {
        "apiVersion", "kind", "enforceNodeAllocatable", "featureGates", "evictionHard",
        "evictionSoft", "evictionSoftGracePeriod", "mergeDefaultEvictionSettings",
        "memoryThrottlingFactor", "memoryReservationPolicy", "memorySwap", "systemReserved",
        "kubeReserved", "singleProcessOOMKill", "maxPods", "evictionMaxPodGracePeriod",
        "evictionMinimumReclaim", "kernelMemcgNotification", "systemReservedCgroup",
        "kubeReservedCgroup",
    }
)  # fmt: skip
_MEMORY = "memory.available"


def policy_at(where: str, *, overrides: Sequence[str] = ()) -> Policy:
    """The policy of a kubelet's configuration.

    Args:
        where: its file, or a folder that holds a copy of a machine; empty: this machine's.
        overrides: changes, made before it is checked.

    Raises:
        PolicyError: it can't be read, or is wrong; it lists all that is.
    """
    path = _path(where)
    try:
        documents = list(read_documents(path))
        if len(documents) != 1:
            raise ManifestError(f"{path}: expected one document, a KubeletConfiguration")
        kubelet, notes = read_kubelet(documents[0], USUAL)
    except (ManifestError, ConfigurationError) as error:
        raise OthersError(_LinesError(path, str(error).split("\n"))) from None
    raw = tomllib.loads(policy_text(kubelet, "kubelet"))
    origin = Origin(
        daemon="kubelet",
        version=".".join(map(str, kubelet.version)),
        files=(path,),
        left_out=(*notes, *_left_out(documents[0], path)),
        traps=tuple(_traps(kubelet)),
    )
    return policy_from(raw, source=f"kubelet:{where}", overrides=overrides, origin=origin)


class _LinesError(TomlError):
    """Faults that are lines already."""

    def __init__(self, path: str, lines: Sequence[str]) -> None:
        self._lines = list(lines)
        super().__init__(path, [Fault(path="", expected=one) for one in lines])

    def lines(self) -> list[str]:
        """One line a fault."""
        return [printable(one) for one in self._lines]


def _path(where: str) -> str:
    if where and not os.path.isdir(where):
        return where
    path = where.rstrip("/") + DEFAULT_FILE
    return path if where else _running() or path


def _running() -> str:
    """What the kubelet that runs was told by ``--config``; empty where none does."""
    for _, words in command_lines("kubelet"):
        for word, following in zip(words, [*words[1:], ""], strict=True):
            if word.startswith("--config="):
                return word.removeprefix("--config=")
            if word == "--config":
                return following
    return ""


def _left_out(document: Document, path: str) -> Iterator[str]:
    """Keys of a configuration that change nothing about memory, with their lines."""
    with open(path, encoding="utf-8-sig") as file:
        lines = file.read().split("\n")

    def at(key: str) -> str:
        found = (n for n, line in enumerate(lines, start=1) if _key_of(line) == key)
        return f"{path}:{next(found, 1)}: {key}"

    for key, value in document.raw.items():
        if key not in _ABOUT_MEMORY:
            yield f"{at(key)}: not about eviction for want of memory"
        elif key in ("evictionHard", "evictionSoft", "evictionSoftGracePeriod"):
            for signal in value if isinstance(value, dict) else ():
                if signal != _MEMORY:
                    yield f"{at(str(signal))}: {key} of something else than memory"


def _key_of(line: str) -> str:
    return line.strip().removeprefix("- ").partition(":")[0].strip().strip("\"'")


def _traps(kubelet: Kubelet) -> Iterator[str]:
    if kubelet.hard is None and kubelet.soft is None:
        yield "no threshold for memory.available: the kubelet evicts nothing for want of memory"
        return
    yield "it looks every 10 s: what fills memory sooner is killed by the kernel"
    if kubelet.soft is not None and kubelet.hard is None:
        yield "no evictionHard for memory.available: nothing is evicted before the grace period"
    if not kubelet.enforces_pods:
        yield "enforceNodeAllocatable without pods: pods may take what is reserved for the system"
    if not kubelet.reserved_bytes:
        yield "nothing is reserved for the system: pods may fill all memory but the threshold"
