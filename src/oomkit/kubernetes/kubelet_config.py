"""A ``KubeletConfiguration``: what of it concerns memory."""

import re
from typing import Any, cast

from oomkit.errors import OomkitError
from oomkit.kubernetes.documents import Document, memory
from oomkit.kubernetes.rules import Kubelet, Threshold
from oomkit.printable import printable
from oomkit.records import replace
from oomkit.toml.table import Fault, Table, flag, integer

_DURATION = re.compile(r"(\d+(?:\.\d+)?)(ms|h|m|s)", re.ASCII)
_SECONDS = {"ms": 0.001, "s": 1.0, "m": 60.0, "h": 3600.0}
_SIGNAL = "memory.available"


class ConfigurationError(OomkitError, ValueError):
    """A configuration with faults; ``faults`` are lines about them."""

    def __init__(self, faults: list[str]) -> None:
        self.faults = faults
        super().__init__("\n".join(faults))


def read_kubelet(document: Document, usual: Kubelet) -> tuple[Kubelet, tuple[str, ...]]:
    """What a configuration says.

    Args:
        document: the configuration.
        usual: what holds where it says nothing.

    Returns:
        How the kubelet is set, and what of it is not modelled, a sentence each.

    Raises:
        ConfigurationError: something is wrong with it; it lists all that is.
    """
    if document.fault:
        raise ConfigurationError([f"{document.place}: {document.fault}"])
    if document.raw.get("kind") != "KubeletConfiguration":
        raise ConfigurationError([f"{document.place}: kind: expected KubeletConfiguration"])
    faults: list[Fault] = []
    top = Table(document.raw, "", faults)
    kubelet = _kubelet(top, usual)
    if faults:
        raise ConfigurationError(
            [
                printable(": ".join(filter(None, (document.place, one.path, one.expected))))
                for one in faults
            ]
        )
    return kubelet, tuple(_left_out(top, document))


def _kubelet(top: Table, usual: Kubelet) -> Kubelet:
    enforce = top.take("enforceNodeAllocatable", _names, ["pods"])
    gates = top.table("featureGates")
    hard, soft = top.table("evictionHard"), top.table("evictionSoft")
    graces = top.table("evictionSoftGracePeriod")
    given = "evictionHard" in top.raw and not _merges(top)
    soft_at = soft.take(_SIGNAL, _threshold, None)
    grace = graces.take(_SIGNAL, _duration, None)
    if soft_at is not None and grace is None and _SIGNAL not in graces.raw:
        graces.fault(_SIGNAL, "is missing; expected a duration, as evictionSoft has it")
    factor = top.take("memoryThrottlingFactor", _share, usual.throttling_factor)
    policy = top.take("memoryReservationPolicy", _one_of("None", "TieredReservation"), "None")
    swap = top.table("memorySwap").take("swapBehavior", _one_of("NoSwap", "LimitedSwap", ""), "")
    return replace(
        usual,
        system_reserved_bytes=top.table("systemReserved").take(
            "memory", memory, usual.system_reserved_bytes
        ),
        kube_reserved_bytes=top.table("kubeReserved").take(
            "memory", memory, usual.kube_reserved_bytes
        ),
        enforces_pods="pods" in enforce,
        single_process_oom_kill=top.take("singleProcessOOMKill", flag, None),
        memory_qos=bool(gates.take("MemoryQoS", flag, usual.memory_qos)),
        throttling_factor=factor,
        tiered_reservation=policy == "TieredReservation",
        limited_swap=swap == "LimitedSwap",
        max_pods=top.take("maxPods", integer(1, 100_000), usual.max_pods),
        hard=hard.take(_SIGNAL, _threshold, None if given else usual.hard),
        soft=soft_at,
        soft_grace_s=grace or 0.0,
        max_pod_grace_s=float(top.take("evictionMaxPodGracePeriod", integer(0, 86400), 0)),
    )


def _merges(top: Table) -> bool:
    """``mergeDefaultEvictionSettings``: thresholds that are not given keep their default."""
    return bool(top.take("mergeDefaultEvictionSettings", flag, None))


def _left_out(top: Table, document: Document) -> list[str]:
    notes = []
    reclaim = top.raw.get("evictionMinimumReclaim")
    if isinstance(reclaim, dict) and _SIGNAL in reclaim:
        notes.append("evictionMinimumReclaim: not modelled; eviction ends at the threshold")
    if top.raw.get("kernelMemcgNotification") is True:
        notes.append("kernelMemcgNotification: not modelled; the kubelet looks every 10 s")
    notes += [
        f"{key}: not modelled; only pods are limited"
        for key in ("systemReservedCgroup", "kubeReservedCgroup")
        if top.raw.get(key)
    ]
    return [f"{document.place}: {note}" for note in notes]


def _threshold(value: Any) -> Threshold:
    if isinstance(value, str) and value.endswith("%"):
        try:
            share = float(value[:-1]) / 100
        except ValueError:
            share = -1.0
        if 0.0 <= share <= 1.0:
            return Threshold(share=share)
        raise ValueError('a quantity such as "100Mi" or a share such as "5%"')
    return Threshold(size_bytes=memory(value))


def _duration(value: Any) -> float:
    text = value if isinstance(value, str) else ""
    if not text or _DURATION.sub("", text):
        raise ValueError('a duration such as "1m30s"')
    return sum(float(number) * _SECONDS[unit] for number, unit in _DURATION.findall(text))


def _share(value: Any) -> float:
    if isinstance(value, bool) or not isinstance(value, (int, float)) or not 0.0 < value <= 1.0:
        raise ValueError("a number above 0 and up to 1")
    return float(value)


def _names(value: Any) -> list[str]:
    if value is None:
        return ["pods"]
    if not isinstance(value, list) or not all(isinstance(one, str) for one in value):
        raise ValueError('a list such as ["pods"]')
    return cast(list[str], value)


def _one_of(*names: str) -> Any:
    def parse(value: Any) -> str:
        if value not in names:
            raise ValueError(" or ".join(name for name in names if name))
        return str(value)

    return parse
