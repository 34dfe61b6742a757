"""Public bug reports of classifiers in packages as a benchmark: does it reproduce, what repairs it, at which cost."""
