"""Budgeted Gradient Descent: one search (section 3.4), composed of a prior, an update rule and a guard.

BGD-I, BGD-II, BGD-C, BGD-Norm and random choice are compositions, told apart by their yaml alone.
"""
