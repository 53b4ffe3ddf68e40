"""A command that is run and watched: its cgroup, how it ends, whether memory was the reason.

What runs before and while the command does imports nothing that takes long to load.
"""
