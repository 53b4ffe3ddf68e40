"""Many runs at once: what varies, scores, tables, answers; on any executor of batch/."""
