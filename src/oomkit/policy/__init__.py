"""When to act before the kernel does, and on which process: files, words, and the engine."""
