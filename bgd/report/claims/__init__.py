"""The thesis' claims as data, tests with a rule fixed beforehand, and a verdict each."""

from bgd.report.claims.part import Claims
from bgd.report.claims.verdicts import compare_verdicts

__all__ = ["Claims", "compare_verdicts"]
