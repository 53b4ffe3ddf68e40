"""When to act before the kernel does, and on whom: policies as files, in words, and at work."""
