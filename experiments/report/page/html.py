"""The page: one HTML file that holds its pictures, its style and its program."""

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from html import escape
from importlib.resources import files as package_files

from experiments.report.page.rendering import Heading, Renderer, anchor_link, slug

STYLE = "page.css"
EARLY = "theme.js"  # before anything is drawn: otherwise a dark page would flash white
PROGRAM = ("contents.js", "tables.js", "figures.js")

_PLACE = re.compile(r"\{\{(\w+)\}\}")


@dataclass(frozen=True)
class Piece:
    """One item of a chapter.

    Attributes:
        anchor: Where a link finds it.
        text: Markdown, with links relative to the page's folder.
        kind: The folder of its file: "tables", "figures", "report".
    """

    anchor: str
    text: str
    kind: str


class Page:
    """A page that grows from top to bottom.

    Args:
        title: Plain text.
        files: The build, where pictures are looked up.
        folder: Where the page stands, under the output folder.
        anchors: File of the build -> anchor of the piece that is made of it.
    """

    def __init__(
        self, title: str, files: Mapping[str, bytes], folder: str, anchors: Mapping[str, str]
    ) -> None:
        self._title = title
        self._renderer = Renderer(files, folder, anchors)
        self._lead = ""
        self._chapters: list[tuple[Heading, list[str], list[Heading]]] = []

    def lead(self, text: str) -> None:
        """Set what stands below the title; Markdown."""
        self._lead, _ = self._renderer.render(text, "lead")

    def chapter(self, title: str, intro: str) -> None:
        """Begin a chapter; what is added from now on is in it. The introduction is Markdown."""
        heading = Heading(2, self._renderer.unique(slug(title)), title)
        body, headings = self._renderer.render(intro, heading.anchor)
        self._chapters.append((heading, [f'<div class="intro">{body}</div>\n'], headings))

    def add(self, piece: Piece) -> None:
        """Add an item to the chapter begun last."""
        body, found = self._renderer.render(piece.text, piece.anchor)
        _, parts, headings = self._chapters[-1]
        kind, anchor = escape(piece.kind), escape(piece.anchor)
        parts.append(f'<section class="item {kind}" id="{anchor}">\n{body}</section>\n')
        headings.extend(found)

    def html(self) -> str:
        """Return the whole page."""
        values = {
            "title": escape(self._title),
            "style": _asset(STYLE),
            "early": _asset(EARLY),
            "program": "".join(map(_asset, PROGRAM)),
            "contents": "".join(self._contents()),
            "lead": self._lead,
            "chapters": "".join(self._bodies()),
        }
        return _PLACE.sub(lambda match: values[match[1]], _asset("page.html"))

    def _contents(self) -> Iterator[str]:
        for chapter, _, headings in self._chapters:
            below = [heading for heading in headings if heading.level == chapter.level + 1]
            entries = "".join(f"<li>{_entry(heading)}</li>\n" for heading in below)
            yield f"<li>{_entry(chapter)}{f'<ol>{entries}</ol>' if below else ''}</li>\n"

    def _bodies(self) -> Iterator[str]:
        for chapter, parts, _ in self._chapters:
            link = anchor_link(chapter.anchor, chapter.text)
            yield f'<section class="chapter" id="{escape(chapter.anchor)}">\n'
            yield f"<h2>{escape(chapter.text)}{link}</h2>\n"
            yield from parts
            yield "</section>\n"


def _entry(heading: Heading) -> str:
    return f'<a href="#{escape(heading.anchor)}">{escape(heading.text)}</a>'


def _asset(name: str) -> str:
    return (package_files(__package__) / "assets" / name).read_text(encoding="utf-8")
