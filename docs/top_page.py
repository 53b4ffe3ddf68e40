"""The pictures of docs/top.md: ``TZ=UTC python docs/top_page.py processes|cgroups|guard``.

What ``oomkit top`` shows in a window of 80 columns, of the machine of docs/examples/shop.json and
the guard of docs/examples/night.jsonl.
"""

import sys

import msgspec

from oomkit.api import read_snapshot
from oomkit.kernel.alloc import decide
from oomkit.kernel.rank import rank
from oomkit.kernel.state import Allocation
from oomkit.kernel.versions import rules_for
from oomkit.render.layout import Terminal
from oomkit.top.guard_state import GuardReader
from oomkit.top.monitor import Look, Trend
from oomkit.top.page import laid_out_page
from oomkit.top.rows import TABS, Shown, Tab

EXAMPLES = "docs/examples"
LINES = 30 if "processes" in sys.argv else 24


def made() -> Look:
    snapshot = read_snapshot(f"{EXAMPLES}/shop.json")
    rules = rules_for(snapshot.kernel)
    memory, size = snapshot.memory, snapshot.page_size
    left = ((memory.available_pages or 0) + memory.free_swap_pages) * size
    falls = 3.5e6
    guard = GuardReader("", [f"{EXAMPLES}/night.jsonl"]).read()
    return Look(
        at_s=0.0,
        whole_s=0.0,
        snapshot=snapshot,
        decision=decide(snapshot, Allocation(), rules),
        ranked=rank(snapshot, Allocation(), rules),
        trend=Trend(
            left_bytes=left,
            total_bytes=(memory.total_ram_pages + memory.total_swap_pages) * size,
            change_bytes_s=-falls,
            empty_s=left / falls,
        ),
        growth={memcg.path: 3.1e6 if "backup" in memcg.path else 0.0 for memcg in snapshot.memcgs},
        guard=msgspec.structs.replace(
            guard, runs=True, policy="default", dry_run=True, level="calm", acts={"dry_run": 1}
        ),
    )


def main() -> None:
    look = made()
    rules = rules_for(look.snapshot.kernel)
    tab: Tab = next((tab for tab in TABS if tab in sys.argv[1:]), "processes")
    shown = Shown(tab=tab, local_users=False)
    page = laid_out_page(look, shown, rules, Terminal(width=80), LINES)
    for line in page.lines:
        print("".join(piece.text for piece in line).replace("\xa0", " ").rstrip())


if __name__ == "__main__":
    main()
