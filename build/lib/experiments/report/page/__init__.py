"""The report: its files in reading order, as one Markdown text and as one page that needs no other file."""

from experiments.report.page.compose import compose
from experiments.report.page.document import Chapter, Document, Item

__all__ = ["Chapter", "Document", "Item", "compose"]
