"""The report: its files in reading order, as one Markdown text and as one page that needs no other file."""

from bgd.report.page.document import Chapter, Document, Figure, Fragment, compose

__all__ = ["Chapter", "Document", "Figure", "Fragment", "compose"]
