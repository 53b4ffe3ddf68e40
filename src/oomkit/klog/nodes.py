"""Lists of memory nodes, as ``mems_allowed`` and ``nodemask`` are printed."""

_MAX_NODE = 4096


def nodes_in(text: str | None) -> set[int]:
    """Nodes of a list such as ``0-1,4``; what is no number is passed over."""
    nodes: set[int] = set()
    for part in (text or "").split(","):
        low, _, high = part.partition("-")
        if low.isdecimal() and (not high or high.isdecimal()):
            nodes.update(range(int(low), min(int(high or low), _MAX_NODE) + 1))
    return nodes
