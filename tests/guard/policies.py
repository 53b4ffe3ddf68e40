"""Policies that tests of the guard run with."""

SOFT = """
name = "test"
[look]
most = "200ms"
[[when]]
level = "warn"
available = "20%"
[[when]]
level = "soft"
available = "10%"
[[when]]
level = "hard"
available = "3%"
[how]
term_wait = "1s"
term_least = "100ms"
give_up = "1s"
pause = "30s"
hard_pause = "30s"
"""

BRISK = SOFT.replace('"30s"', '"200ms"')
"""The same, which takes the next one soon."""
