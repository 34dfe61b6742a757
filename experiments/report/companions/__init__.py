"""The companion studies in the report: tables, figures and claims, made from their records alone."""

from experiments.report.companions.part import Companions

__all__ = ["Companions"]
