"""Curvature of the training loss at N0: estimated once for a network, read by update rules, guards and searches."""

VERSION = 1  # raised whenever an estimator may give another curvature
