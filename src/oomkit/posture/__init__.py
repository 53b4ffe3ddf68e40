"""What a snapshot says about a machine's readiness for running out of memory."""
