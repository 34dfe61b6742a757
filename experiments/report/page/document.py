"""A report as data, and what is composed of it: `report/report.md` and `report/index.html`."""

from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import PurePosixPath

from experiments.report.page.html import Page, Piece
from experiments.report.page.markdown import demote, has_title, relink

FOLDER = "report"
CHAPTER_LEVEL, ITEM_LEVEL = 2, 3  # of headings; 1 is the report's title

# What stands before the stem in an item's anchor: a table and a figure may have the same stem.
KINDS = {"tables": "table", "figures": "figure"}


@dataclass(frozen=True)
class Fragment:
    """A Markdown file of the build, included whole.

    Attributes:
        name: Under the output folder: "tables/table_4_1.md".
        title: Its heading and its entry in the table of contents. Empty where the file has headings of its
            own, or none is wanted.
    """

    name: str
    title: str = ""


@dataclass(frozen=True)
class Figure:
    """A png file of the build.

    Attributes:
        name: Under the output folder: "figures/figure_4_1.png".
        alt: What the picture shows, for those who do not see it. Plain text.
        caption: Markdown; stands below it.
        title: Its heading and its entry in the table of contents; empty for none.
    """

    name: str
    alt: str
    caption: str = ""
    title: str = ""


Item = Fragment | Figure


@dataclass(frozen=True)
class Chapter:
    """Items under one heading.

    Attributes:
        title: Plain text.
        intro: Markdown; may be empty.
        items: In reading order.
    """

    title: str
    intro: str = ""
    items: tuple[Item, ...] = ()


@dataclass(frozen=True)
class Document:
    """A whole report.

    Attributes:
        title: Plain text.
        lead: Markdown; what a reader who stops after it should know.
        chapters: In reading order.

    Raises:
        ValueError: Two items or chapters would have the same anchor.
    """

    title: str
    lead: str = ""
    chapters: tuple[Chapter, ...] = ()

    def __post_init__(self) -> None:
        anchors = [anchor_of(item.name) for chapter in self.chapters for item in chapter.items]
        twice = sorted(name for name, count in Counter(anchors).items() if count > 1)
        titles = [chapter.title.casefold() for chapter in self.chapters]
        twice += sorted(name for name, count in Counter(titles).items() if count > 1)
        if twice:
            raise ValueError(f"more than once in the document: {', '.join(twice)}")

    @property
    def names(self) -> tuple[str, ...]:
        """The files of the build that it names, in reading order."""
        return tuple(item.name for chapter in self.chapters for item in chapter.items)


def anchor_of(name: str) -> str:
    """Return the anchor of a file of the build: "table_4_1", "figure_orders", "claims"."""
    path = PurePosixPath(name)
    kind = KINDS.get(path.parts[0], "")
    return path.stem if path.stem.startswith(kind) else f"{kind}_{path.stem}"


def compose(document: Document, files: Mapping[str, bytes]) -> dict[str, bytes]:
    """Return the report in both forms; the same document and files give the same bytes.

    Args:
        document: What to show. A file that it names and `files` lacks becomes the words "missing: name".
        files: The build: name under the output folder -> content. Pictures that a fragment shows are looked
            up here too.

    Returns:
        `report/report.md`, whose links are relative to its folder, and `report/index.html`, which holds its
        pictures, style and program and loads nothing.

    Raises:
        ValueError: A fragment shows a picture from outside the build.
    """
    page = Page(document.title, files, FOLDER, {name: anchor_of(name) for name in document.names})
    text = [f"# {document.title}\n"]
    if document.lead:
        text.append(document.lead)
        page.lead(document.lead)
    for chapter in document.chapters:
        text.append(f"## {chapter.title}\n")
        page.chapter(chapter.title, chapter.intro)
        if chapter.intro:
            text.append(chapter.intro)
        for piece in _pieces(chapter, files):
            text.append(f'<a id="{piece.anchor}"></a>\n')
            text.append(piece.text)
            page.add(piece)
    return {
        f"{FOLDER}/report.md": "\n".join(part.rstrip("\n") + "\n" for part in text).encode(),
        f"{FOLDER}/index.html": page.html().encode(),
    }


def _pieces(chapter: Chapter, files: Mapping[str, bytes]) -> Iterator[Piece]:
    """Yield the items of a chapter as Markdown that stands in `report/`."""
    for item in chapter.items:
        heading = f"### {item.title}\n\n" if item.title else ""
        if item.name not in files:
            body = f"missing: {item.name}\n"
        elif isinstance(item, Figure):
            picture = relink(f"![{item.alt}]({PurePosixPath(item.name).name})", _folder(item.name), FOLDER)
            body = f"{picture}\n\n{item.caption}"
        else:
            body = _included(item, chapter.title, files[item.name].decode())
        yield Piece(anchor_of(item.name), heading + body, _folder(item.name))


def _included(item: Fragment, chapter: str, text: str) -> str:
    """Return a fragment's text with its headings below what it stands under, its links as seen from the report."""
    if not item.title and has_title(text, chapter):
        # The chapter's heading says it already.
        text = text.lstrip().partition("\n")[2].lstrip("\n")
        return demote(relink(text, _folder(item.name), FOLDER), ITEM_LEVEL)
    return demote(relink(text, _folder(item.name), FOLDER), ITEM_LEVEL + bool(item.title))


def _folder(name: str) -> str:
    return PurePosixPath(name).parent.as_posix()
