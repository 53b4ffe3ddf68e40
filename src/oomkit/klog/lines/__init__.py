"""From bytes to one message a line: sources, wrappers, prefixes, joined and cleaned lines."""
