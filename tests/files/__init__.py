"""Tests of oomkit.files."""
