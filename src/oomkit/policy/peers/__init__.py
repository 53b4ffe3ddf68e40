"""Configurations of other OOM daemons, read as policies.

What a daemon does is a fact of its source; each module names the files, functions and versions.
What a policy can't say is named with its file, line and key, and nothing is left out in silence.
"""
