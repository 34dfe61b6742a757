"""A table of any shape as csv (tidy, full precision), Markdown and LaTeX (for people)."""

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

from experiments.report.numbers import format_number
from experiments.report.render import bold_markdown, csv_text, loud_tex, markdown, tex, tex_table


@dataclass(frozen=True)
class Block:
    """Lines under one header, the first cells texts, the others numbers; a title, for a sheet of several."""

    title: str
    header: Sequence[str]
    lines: Sequence[Sequence[str]]
    texts: int = 2


@dataclass(frozen=True)
class Sheet:
    """A table for people, and its numbers.

    Attributes:
        name: Of its files, for example `table_4_9`.
        heading: What the caption begins with, in bold: "Table 4.9".
        caption: Plain text, in sentences; an empty one is none.
        warnings: What must not be overlooked.
        blocks: What people read.
        columns: Of the csv file.
        records: Its lines. What is None or not a number is an empty cell.
    """

    name: str
    heading: str
    caption: Sequence[str]
    warnings: Sequence[str]
    blocks: Sequence[Block]
    columns: Sequence[str]
    records: Sequence[Sequence[object]]

    def files(self) -> dict[str, bytes]:
        """Return the three files under `tables/`."""
        texts = {"csv": self._csv(), "md": self._markdown(), "tex": self._tex()}
        return {f"tables/{self.name}.{kind}": text.encode() for kind, text in texts.items()}

    @property
    def text(self) -> str:
        """The caption as one text."""
        return " ".join(filter(None, self.caption))

    def _csv(self) -> str:
        return csv_text(self.columns, [[plain(value) for value in record] for record in self.records])

    def _markdown(self) -> str:
        text = f"**{self.heading}.** {self.text}\n\n{bold_markdown(self.warnings)}"
        blocks = []
        for block in self.blocks:
            title = f"{block.title}\n\n" if len(self.blocks) > 1 else ""
            blocks.append(title + markdown(block.header, block.lines, block.texts))
        return text + "\n".join(blocks)

    def _tex(self) -> str:
        tables = []
        for number, block in enumerate(self.blocks, 1):
            title = f" {block.title}" if len(self.blocks) > 1 else ""
            # The caption stands once: a second block points to the first by its heading.
            about = self.text if number == 1 else f"{self.heading}, continued."
            caption = (loud_tex(self.warnings) if number == 1 else "") + tex(about + title)
            name = self.name if number == 1 else f"{self.name}_{number}"
            tables.append(tex_table(name, caption, block.header, block.lines))
        return "\n".join(tables)


def plain(value: object) -> object:
    """Return a cell of a csv file: 10 digits, fewer than the order of a summation can change."""
    if isinstance(value, float):
        return float(f"{value:.10g}") if math.isfinite(value) else ""
    return "" if value is None else value


def records_csv(columns: Sequence[str], records: Iterable[Mapping[str, object]]) -> str:
    """Write records as csv; what one lacks is an empty cell."""
    return csv_text(columns, [[plain(record.get(name)) for name in columns] for record in records])


def percent(share: float) -> str:
    """Return a share in [0, 1] as a number of per cent."""
    return per_cent(100 * float(share))


def per_cent(value: float) -> str:
    """Return a number of per cent without the last digits that its reckoning leaves behind."""
    return format_number(round(float(value), 10))


def bracketed(value: str, low: str, high: str) -> str:
    """Return a value with the ends of an interval: "6.75 [4.2, 9.1]"."""
    return f"{value} [{low}, {high}]"
