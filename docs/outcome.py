"""Say in a line how a run ended: ``oomkit run SCENARIO --json | python docs/outcome.py``."""

import json
import sys

run = json.load(sys.stdin)
kills = run["kills"]
first = f", the first at {kills[0]['t_s']:.0f} s" if kills else ""
frozen = f"frozen for {run['objectives']['frozen_s']:.0f} s"
sys.stdout.write(
    f"{run['outcome']} after {run['ended_s']:.0f} s, {len(kills)} killed{first}, {frozen}\n"
)
