"""What others than the kernel's OOM killer log about a death or a shortage."""
