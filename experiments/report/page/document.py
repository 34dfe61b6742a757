"""A report as data: its files in reading order, and the words between."""

from collections import Counter
from collections.abc import Collection, Mapping
from dataclasses import dataclass, field, replace
from pathlib import PurePosixPath

from experiments.report.render import markdown

# What stands before the stem in an item's anchor: a table and a figure may have the same stem.
ACROSS = 5  # thumbnails in a row
KINDS = {"tables": "table", "figures": "figure"}


@dataclass(frozen=True)
class Item:
    """A file of the build: a Markdown file, included whole, or a png file.

    Attributes:
        name: Under the output folder: "tables/table_4_1.md".
        title: Its heading and its entry in the table of contents. Empty where the file has headings of its
            own, or none is wanted.
        alt: What the picture shows, for those who do not see it. Plain text.
        caption: Markdown; stands below the picture.
    """

    name: str
    title: str = ""
    alt: str = ""
    caption: str = ""

    @property
    def anchor(self) -> str:
        """Where a link finds it: "table_4_1", "figure_orders", "claims"."""
        stem, kind = PurePosixPath(self.name).stem, KINDS.get(self.folder, "")
        return stem if stem.startswith(kind) else f"{kind}_{stem}"

    @property
    def folder(self) -> str:
        """The folder of its file: "tables", "figures", "report"."""
        return PurePosixPath(self.name).parent.as_posix()


@dataclass(frozen=True)
class Chapter:
    """Items under one heading, in reading order, after an introduction in Markdown that may be empty."""

    title: str
    intro: str = ""
    items: tuple[Item, ...] = ()


@dataclass(frozen=True)
class Document:
    """A whole report.

    Attributes:
        page: Its file in HTML, beside which the other documents stand: "index.html".
        text: Its file in Markdown; empty for none.
        title: Plain text.
        lead: Markdown; what a reader who stops after it should know.
        chapters: In reading order.
        badges: Words in lower case, verdicts for example, and their looks: good, partly, bad or none.
    """

    title: str
    lead: str = ""
    chapters: tuple[Chapter, ...] = ()
    page: str = "index.html"
    text: str = "report.md"
    badges: Mapping[str, str] = field(default_factory=dict)

    def __post_init__(self) -> None:
        titles = (chapter.title.casefold() for chapter in self.chapters)
        for names in ((item.anchor for item in self.items), titles):
            twice = sorted(name for name, count in Counter(names).items() if count > 1)
            if twice:
                raise ValueError(f"more than once in the document: {', '.join(twice)}")

    @property
    def thumbnails(self) -> str:
        """Its figures in small, each a link to where it stands, as a Markdown table."""
        figures = [item for item in self.items if item.folder == "figures"]
        cells = [
            f'[![{item.title}](../{item.name} "thumbnail")](#{item.anchor})<br>{item.title}'
            for item in figures
        ]
        cells += [""] * (-len(cells) % ACROSS)
        rows = [cells[start : start + ACROSS] for start in range(0, len(cells), ACROSS)]
        return markdown([""] * ACROSS, rows, texts=ACROSS)

    @property
    def items(self) -> tuple[Item, ...]:
        """The items of every chapter, in reading order."""
        return tuple(item for chapter in self.chapters for item in chapter.items)

    def of(self, names: Collection[str]) -> "Document":
        """Leave out the items of other names, and the chapters that have none left."""
        kept = [
            replace(chapter, items=tuple(item for item in chapter.items if item.name in names))
            for chapter in self.chapters
        ]
        return replace(self, chapters=tuple(chapter for chapter in kept if chapter.items))
