"""``compile POLICY``: print a policy's plan for a daemon that is at work.

The plan goes to standard output as :mod:`marshal` writes it, what is wrong with the policy to
standard error in one line.
"""

import marshal
import os
import sys

from oomkit.policy.find import find_policy
from oomkit.policy.format import Policy
from oomkit.policy.plan import compile_plan
from oomkit.policy.read import PolicyError


def main() -> None:
    """Print the plan; exit status 2 if the policy is wrong."""
    try:
        plan = compile_plan(_policy())
    except PolicyError as error:
        sys.exit(_said(error))
    sys.stdout.buffer.write(marshal.dumps(plan))


def _policy() -> Policy:
    # It says whom root kills, and what root runs, so it has to be root's.
    return find_policy(sys.argv[1], overrides=sys.argv[2:], trusted=os.geteuid() == 0)


def _said(error: PolicyError) -> int:
    sys.stderr.write("; ".join(error.lines()) + "\n")
    return 2


if __name__ == "__main__":
    main()
