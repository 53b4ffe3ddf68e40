"""The daemon that acts before the kernel has to, and the records it leaves."""
