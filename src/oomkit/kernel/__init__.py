"""The kernel's out-of-memory rules by version: pure functions, a record in, a decision out."""
