"""Reads of this machine: /proc, PSI and memory cgroups, as a snapshot."""
