"""The report: its files in reading order, as one Markdown text and as one page that needs no other file."""

from experiments.report.page.compose import FOLDER, THUMBNAILS, compose
from experiments.report.page.document import Chapter, Document, Item

__all__ = ["FOLDER", "THUMBNAILS", "Chapter", "Document", "Item", "compose"]
