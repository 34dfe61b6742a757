"""The records of runs: what a run was, its rows, and where both are kept."""
