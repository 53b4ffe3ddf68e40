"""Opening files so that nothing of another user is followed, changed, removed or waited for."""
