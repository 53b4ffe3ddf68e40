"""Where the daemon keeps things unless it is told otherwise."""

STATE_DIR = "/var/lib/oomkit"
JOURNAL = f"{STATE_DIR}/journal.jsonl"
STORE = f"{STATE_DIR}/history.sqlite"
RECORDING = f"{STATE_DIR}/recording"
STATUS = "/run/oomkit/status.json"
