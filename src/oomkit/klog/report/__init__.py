"""From messages to OOM reports: which line belongs to which report, and each part of one."""
