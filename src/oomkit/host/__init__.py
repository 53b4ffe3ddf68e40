"""This machine: a scan of ``/proc`` and the cgroup mounts that yields a snapshot."""
