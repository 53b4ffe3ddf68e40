"""The posture as JSON; field names are part of the interface (docs/json.md)."""

from typing import Any

import msgspec

from oomkit.kernel.state import Snapshot
from oomkit.kernel.versions import rules_for
from oomkit.posture.advice import counterfactual, pod_name
from oomkit.posture.assess import Posture, available_pages


def posture_object(posture: Posture, snapshot: Snapshot) -> dict[str, Any]:
    """Return the object that ``oomkit --json`` prints: what the screen shows, and more."""
    memory, rules = snapshot.memory, rules_for(posture.rules)
    fields: dict[str, Any] = msgspec.to_builtins(posture)
    fields["page_size"] = snapshot.page_size
    fields["memory"] = {
        "total_pages": memory.total_ram_pages,
        "free_pages": memory.free_pages,
        "available_pages": available_pages(snapshot),
    }
    fields["swap"] = {
        "total_pages": memory.total_swap_pages,
        "free_pages": memory.free_swap_pages,
    }
    fields["pressure"] = msgspec.to_builtins(snapshot.pressure)
    for change, found in zip(fields["counterfactuals"], posture.counterfactuals, strict=True):
        change["advice"] = [a.as_object() for a in counterfactual(snapshot, found, rules)]
    for item, about in zip(fields["attention"], posture.attention, strict=True):
        item["advice"] = [a.as_object() for a in (pod_name(about.cgroup) if about.cgroup else ())]
    fields["missing"] = list(snapshot.missing)
    return fields
