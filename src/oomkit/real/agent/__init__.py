"""The workload agent: plays a scenario's tasks with real memory, and watches them.

It runs under ``python -S -I`` on this host and as process 1 of a guest, so it imports nothing
of oomkit and as little of the standard library as it can: what it holds is counted against
every task it forks. The plan comes as marshalled dicts and lists; reports go out as lines of
words (see :mod:`.report`).
"""
