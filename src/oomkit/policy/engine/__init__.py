"""What a policy does at work: readings and candidates in, decisions out.

The model, the daemon and the replay of recordings drive these same objects. Nothing here reads a
clock or a file, and nothing imports more than ``re``: the daemon has to stay small.
"""
