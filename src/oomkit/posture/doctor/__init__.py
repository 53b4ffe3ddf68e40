"""What of a machine's configuration invites a bad OOM: evidence, reason, change and effect."""
