"""The oomkit command: ``main`` is its top; one module a sub-command, imported when it is called."""
