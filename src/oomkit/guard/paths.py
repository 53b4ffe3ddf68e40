"""Where the daemon keeps things unless it is told otherwise."""

import os

SYSTEM_DIR = "/var/lib/oomkit"
RUN_DIR = "/run/oomkit"


def state_directory() -> str:
    """The directory of the journal, the history and the recording for this user.

    Root's is what systemd gives a service, else :data:`SYSTEM_DIR`; another user's follows the XDG
    base directories.
    """
    if os.geteuid() == 0:
        return os.environ.get("STATE_DIRECTORY", "").partition(":")[0] or SYSTEM_DIR
    base = os.environ.get("XDG_STATE_HOME") or os.path.expanduser("~/.local/state")
    return f"{base}/oomkit"


STATE_DIR = state_directory()
JOURNAL = f"{STATE_DIR}/journal.jsonl"
STORE = f"{STATE_DIR}/history.sqlite"
RECORDING = f"{STATE_DIR}/recording"
STATUS = f"{RUN_DIR}/status.json"
