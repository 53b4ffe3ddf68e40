"""Opening files so that nothing of somebody else's is followed, changed, removed or waited for."""
