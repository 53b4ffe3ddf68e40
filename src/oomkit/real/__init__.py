"""The same scenario on a real kernel: in a memory cgroup of this host, or booted in QEMU."""
