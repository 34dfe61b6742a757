"""The report: its files in reading order, as one Markdown text and as one page that needs no other file."""

from experiments.report.page.document import Chapter, Document, Figure, Fragment, compose

__all__ = ["Chapter", "Document", "Figure", "Fragment", "compose"]
