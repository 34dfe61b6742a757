"""Budgeted Gradient Descent: correct a classifier's mistakes by changing very few of its parameters."""

__version__ = "0.1.0"
