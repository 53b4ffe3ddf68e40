"""``compile POLICY``: print a policy's plan for a daemon that is at work.

The plan goes to standard output as :mod:`marshal` writes it, what is wrong with the policy to
standard error in one line.
"""

import marshal
import os
import pwd
import re
import sys

from oomkit.policy.compile import compile_plan
from oomkit.policy.engine.plan import Plan
from oomkit.policy.read import PolicyError, find_policy, refuse_dangers
from oomkit.policy.records import Policy

_LITERAL = re.compile(r"[^*?\[\]]+")


def plan_for_here(policy: Policy) -> Plan:
    """The plan of a policy with what this machine adds: names of user ids, if patterns ask."""
    plan = compile_plan(policy)
    if "user" in plan.fields():
        plan.users = _users(policy)
    return plan


def _users(policy: Policy) -> dict[int, str]:
    """All names that are listed, and those of the policy, as some sources list none."""
    users = {entry.pw_uid: entry.pw_name for entry in reversed(pwd.getpwall())}
    matches = [*policy.whom.never, *(p.match for p in policy.whom.prefer)]
    matches += [instead.match for instead in policy.how.instead]
    for match in matches:
        for field, texts in match.patterns:
            for text in texts if field == "user" else ():
                if _LITERAL.fullmatch(text) and not text.startswith("re:"):
                    try:
                        users.setdefault(pwd.getpwnam(text).pw_uid, text)
                    except KeyError:
                        continue
    return users


def main() -> None:
    """Print the plan; exit status 2 if the policy is wrong."""
    try:
        plan = plan_for_here(_policy())
    except PolicyError as error:
        sys.exit(_said(error))
    sys.stdout.buffer.write(marshal.dumps(plan.to_values()))


def _policy() -> Policy:
    # It decides what root kills and runs, so it has to be root's.
    policy = find_policy(sys.argv[1], overrides=sys.argv[2:], trusted=os.geteuid() == 0)
    refuse_dangers(policy, sys.argv[1])
    return policy


def _said(error: PolicyError) -> int:
    sys.stderr.write("; ".join(error.lines()) + "\n")
    return 2


if __name__ == "__main__":
    main()
