"""What a page may ask: a function's name and its arguments go in, JSON comes out.

The calls of a page are answered one after the other. What the last log held is kept, for the page
and the records to be downloaded.
"""

import json
from collections.abc import Callable
from typing import Any

from oomkit.errors import OomkitError
from oomkit.lab import logs, machine, mechanism, ranking
from oomkit.records import as_dict

_CALLS: dict[str, Callable[..., Any]] = {
    "explain": logs.explain,
    "explain_detail": logs.detail,
    "explain_page": logs.page,
    "explain_records": logs.records,
    "scenario": machine.scenario,
    "play": machine.play,
    "details": machine.details,
    "outcome": machine.outcome,
    "record": machine.record,
    "compare": machine.compare,
    "kernels": machine.kernels,
    "policies": machine.policies,
    "rank": ranking.rank,
    "versions": mechanism.versions,
    "mechanism": mechanism.mechanism,
    "victims": mechanism.victims,
}


def call(name: str, arguments: str) -> str:
    """Answer a page.

    Args:
        name: what it asks for.
        arguments: by name, as a JSON object.

    Returns:
        JSON: ``{"answer": ...}``, or ``{"faults": [...]}`` with what is wrong with what was given,
        a line each. A defect of ours is raised.
    """
    try:
        answer = _CALLS[name](**json.loads(arguments))
    except OomkitError as error:
        lines = getattr(error, "lines", None)
        faults = list(lines()) if lines is not None else [str(error)]
        return json.dumps({"faults": faults})
    # Answers are plain values but for a few records: the standard library's encoder, which is all
    # that a browser has, is several times as fast as one that asks each value what it is.
    return json.dumps({"answer": answer}, default=as_dict, separators=(",", ":"))
