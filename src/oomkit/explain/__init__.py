"""What an OOM report means: what ran out, where memory was, why this process, which killer."""
