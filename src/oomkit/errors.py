"""The one base of all errors that oomkit raises on purpose, and the one that compiled code defines
no class for: a class with such a base is laid out for one version of Python.
"""


class OomkitError(Exception):
    """Something oomkit was given can't be used, or something it needs is not here.

    Its message is one line that names the file or the thing, the place in it, and what was
    expected. Below it, among others: ``UnknownKernelError``, ``SnapshotError``, ``LogError``,
    ``TomlError`` (with ``ScenarioError`` and ``PolicyError``), ``ModelError``, ``RealError``.
    """


class ModelError(OomkitError):
    """A scenario the model can't play; the message says why."""
