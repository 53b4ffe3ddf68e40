"""oomkit: predict, prevent and explain Linux running out of memory."""

__version__ = "0.1.0"
