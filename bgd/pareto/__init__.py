"""Parameters changed against inputs that change class, by each method that applies to a user's own model."""

from bgd.pareto.points import Attempt, Frontier, Point
from bgd.pareto.survey import METHODS, NothingToCorrectError, frontier

__all__ = ["METHODS", "Attempt", "Frontier", "NothingToCorrectError", "Point", "frontier"]
