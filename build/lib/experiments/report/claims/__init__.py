"""The thesis' claims as data, tests with a rule fixed beforehand, and a verdict each."""

from experiments.report.claims.part import Claims
from experiments.report.claims.verdicts import compare_verdicts

__all__ = ["Claims", "compare_verdicts"]
