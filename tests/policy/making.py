"""Small policies, readings and candidates for tests."""

from typing import Any

from oomkit.policy.compile import compile_plan
from oomkit.policy.engine.candidate import Candidate
from oomkit.policy.engine.plan import Plan
from oomkit.policy.engine.reading import Reading
from oomkit.policy.read import policy_from
from oomkit.policy.records import Policy

GB = 2**20
"""A gibibyte in kB."""


def policy(*when: dict[str, Any], whom: Any = None, how: Any = None, look: Any = None) -> Policy:
    raw = {"name": "test", "when": list(when)}
    raw.update({key: value for key, value in
                (("whom", whom), ("how", how), ("look", look)) if value is not None})  # fmt: skip
    return policy_from(raw)


def plan(*when: dict[str, Any], **rest: Any) -> Plan:
    return compile_plan(policy(*when, **rest))


LOW: dict[str, Any] = {"level": "soft", "available": "10%"}
VERY_LOW: dict[str, Any] = {"level": "hard", "available": "5%"}


def reading(t_s: float, available: float, **fields: Any) -> Reading:
    """A machine of 1 GiB with a share of it available."""
    return Reading(t_s, GB, available * GB, **fields)


def process(pid: int, mb: float = 10.0, **fields: Any) -> Candidate:
    fields = {"ppid": 1, "comm": f"p{pid}", "start_time": pid, **fields}
    return Candidate(pid, anon_kb=1024 * mb, **fields)


INIT = Candidate(1, 0, 0, "init", anon_kb=5 * GB)
