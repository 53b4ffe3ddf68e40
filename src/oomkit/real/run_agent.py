"""Run the workload agent as a process of this host, and hear what it reports."""

import marshal
import os
import select
import subprocess
import sys
import time

from oomkit.real.errors import RealError
from oomkit.real.observe import Observation
from oomkit.real.plan import Plan
from oomkit.real.plan_text import encode
from oomkit.real.static_agent import HERE, agent

_GRACE_S = 15.0

BOOTSTRAP = "import sys; sys.path.insert(0, {directory!r}); from agent.{module} import main; main()"


class AgentError(RealError):
    """The workload agent could not play; the text says what it ran into."""


def run_agent(plan: Plan, seen: Observation, *, limit_s: float) -> None:
    """Start the agent, pass it the plan, and gather its reports until it ends.

    Its standard input stays open meanwhile: should we die, it takes everything down.

    Raises:
        AgentError: it failed, or did not end in time.
    """
    player = agent()
    if player.kind == "static":
        command, body = [player.path, "host"], encode(plan)
    else:
        code = BOOTSTRAP.format(directory=HERE, module="host")
        command = [sys.executable, "-S", "-I", "-B", "-c", code]
        body = marshal.dumps(plan)
    seen.player = player
    process = subprocess.Popen(
        command,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        start_new_session=True,
    )
    assert process.stdin is not None
    assert process.stdout is not None
    assert process.stderr is not None
    try:
        process.stdin.write(len(body).to_bytes(8, "little") + body)
        process.stdin.flush()
        _listen(process.stdout.fileno(), seen, limit_s)
    except BrokenPipeError:
        pass  # it has died; its stderr has the reason
    finally:
        process.stdin.close()
        _end(process)
    trouble = process.stderr.read().decode("utf-8", "replace").strip().splitlines()
    process.stdout.close()
    process.stderr.close()
    if seen.faults:
        raise AgentError("; ".join(dict.fromkeys(seen.faults)))
    if not seen.done:
        raise AgentError(trouble[-1] if trouble else "the workload agent ended without a result")


def _listen(fd: int, seen: Observation, limit_s: float) -> None:
    deadline = time.monotonic() + limit_s
    while not seen.done:
        left = deadline - time.monotonic()
        if left <= 0:
            raise AgentError("the workload agent did not end in time")
        if select.select([fd], [], [], min(left, 1.0))[0]:
            data = os.read(fd, 1 << 16)
            if not data:
                return
            seen.push(data)


def _end(process: subprocess.Popen[bytes]) -> None:
    try:
        process.wait(_GRACE_S)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()
