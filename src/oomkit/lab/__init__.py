"""The lab: what its pages ask, answered as JSON by the same code as the commands.

In a browser Python has nothing but the standard library, so nothing here imports more.
``server`` hands the pages out on this machine (``oomkit lab``); the pages themselves are in
``lab/`` at the root of the source.
"""
