"""The core stays small: the daemon runs it."""

import subprocess
import sys
from pathlib import Path

import oomkit

_PROGRAM = """
import sys
sys.path.insert(0, {path!r})
from oomkit.guard.bootstrap import only_python
only_python({path!r} + "/oomkit")
import re
needed = set(sys.modules)
from oomkit.policy.engine import decider, candidate, reading
mine = {{name for name in set(sys.modules) - needed if not name.startswith("oomkit")}}
print(sorted(mine - {{"math"}}))
"""


def test_the_core_imports_nothing_beyond_re() -> None:
    path = str(Path(oomkit.__file__).parents[1])
    done = subprocess.run(
        [sys.executable, "-I", "-S", "-c", _PROGRAM.format(path=path)],
        capture_output=True, text=True, check=True,
    )  # fmt: skip
    assert done.stdout == "[]\n"
