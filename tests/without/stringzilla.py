"""Stands before the package of this name where the core is tried without it."""

raise ModuleNotFoundError("kept out by make plain")
