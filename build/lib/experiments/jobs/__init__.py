"""Running: what is shared, which processes, in which order."""
