"""How serious it is."""

CALM = 0
"""No rule holds."""
WARN = 1
"""Worth saying; nobody is touched."""
SOFT = 2
"""A victim is asked to leave: SIGTERM."""
HARD = 3
"""A victim is killed: SIGKILL."""

NAMES = ("calm", "warn", "soft", "hard")
