"""From Markdown to the HTML of a page's body."""

import base64
import io
import posixpath
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from html import escape
from itertools import pairwise

from markdown_it import MarkdownIt
from markdown_it.token import Token
from PIL import Image

from experiments.report.page.cells import Looks, badges, dress, html_token, plain

# Pixels of a picture for one of the page: sharp on a screen with a finer grid, as wide as the text at most.
DENSITY = 1.4
# Of WebP without loss: 18 % below the png of the thesis' figures, in 0.05 s each; half the effort leaves 17 % more.
METHOD, EFFORT = 2, 40

THUMBNAIL = 320  # pixels, of its width

LOUD = {"WARNING": "warning", "missing:": "missing"}  # beginning of a paragraph -> its class

_ADDRESS = re.compile(r"[a-zA-Z][a-zA-Z0-9+.-]*:")
_PARSER = MarkdownIt("commonmark", {"html": True}).enable("table")


@dataclass(frozen=True)
class Heading:
    """A heading of the text: what a table of contents needs."""

    level: int
    anchor: str
    text: str


@dataclass
class Renderer:
    """Renders pieces of one page: anchors are unique in all of them.

    Attributes:
        files: The build, where pictures are looked up.
        folder: Where the page stands, under the output folder: links are relative to it.
        anchors: File of the build -> where it stands in the page; a link to the file becomes one to there.
        looks: The words that become badges, see `experiments.report.page.cells`.
        elsewhere: File of the build -> where it stands in another page.
        taken: Anchors used so far.
    """

    files: Mapping[str, bytes]
    folder: str
    anchors: Mapping[str, str]
    looks: Looks = field(default_factory=dict)
    elsewhere: Mapping[str, str] = field(default_factory=dict)
    taken: set[str] = field(default_factory=set)

    def __post_init__(self) -> None:
        self.taken.update(self.anchors.values())

    def render(self, text: str, anchor: str) -> tuple[str, list[Heading]]:
        """Return the HTML of Markdown with tables and raw HTML, and its headings; tables are named after the anchor."""
        tokens = _PARSER.parse(text)
        dress(tokens, self.looks)
        headings = list(self._headings(tokens))
        tables = 0
        for place, token in enumerate(tokens):
            if token.type == "inline":
                token.children = [self._inline(child) for child in token.children or ()]
            elif token.type == "paragraph_open":
                for beginning, look in LOUD.items():
                    if plain(tokens[place + 1]).startswith(beginning):
                        token.attrSet("class", look)
            elif token.type == "html_block":
                token.content = badges(token.content, self.looks)
            elif token.type == "table_open":  # in a box that scrolls
                tables += 1
                name = self.unique(f"{anchor}-{tables}")
                box = f'<div class="box" id="{escape(name)}" tabindex="0">'
                token.type, token.content = "html_block", f"{box}{anchor_link(name, 'this table')}<table>\n"
            elif token.type == "table_close":
                token.type, token.content = "html_block", "</table></div>\n"
        return _PARSER.renderer.render(tokens, _PARSER.options, {}), headings

    def unique(self, name: str) -> str:
        """Return an anchor that no other has, and take it."""
        anchor, number = name, 1
        while anchor in self.taken:
            number += 1
            anchor = f"{name}-{number}"
        self.taken.add(anchor)
        return anchor

    def _headings(self, tokens: list[Token]) -> Iterator[Heading]:
        """Give every heading an anchor and a link to itself; yield them."""
        for token, content in pairwise(tokens):
            if token.type == "heading_open":
                words = plain(content)
                anchor = self.unique(slug(words))
                token.attrSet("id", anchor)
                content.children = [*(content.children or ()), html_token(anchor_link(anchor, words))]
                yield Heading(int(token.tag[1:]), anchor, words)

    def _inline(self, token: Token) -> Token:
        if token.type == "image":
            return html_token(self._image(token))
        target, _, place = str(token.attrs.get("href", "#")).partition("#")
        if token.type == "link_open" and target and not _ADDRESS.match(target):
            path = self._path(target)
            if path in self.anchors:
                token.attrSet("href", "#" + (place or self.anchors[path]))
            elif path in self.elsewhere:
                page, _, anchor = self.elsewhere[path].partition("#")
                token.attrSet("href", f"{page}#{place or anchor}")
        return token

    def _image(self, token: Token) -> str:
        source = str(token.attrs["src"])
        if _ADDRESS.match(source):
            raise ValueError(f"a picture from outside the build: {source}")
        name = self._path(source)
        if name not in self.files:
            return f'<span class="missing">missing: {escape(name)}</span>'
        small = token.attrs.get("title") == "thumbnail"
        uri, width, height = inline(self.files[name], THUMBNAIL if small else 0)
        size = f'width="{width / DENSITY:.0f}" height="{height / DENSITY:.0f}"'
        return f'<img src="{uri}" alt="{escape(token.content)}" {size} decoding="async">'

    def _path(self, target: str) -> str:
        """Return the name of the file that a relative link leads to."""
        return posixpath.normpath(posixpath.join(self.folder, target))


def inline(png: bytes, most: int = 0) -> tuple[str, int, int]:
    """Return a png file as a data URI, with its width and height in pixels: as WebP where that is smaller.

    The pixels are the same, but where the picture is made no wider than `most`. What is transparent becomes white, as
    the paper of every figure.
    """
    with Image.open(io.BytesIO(png)) as image:
        paper = Image.new("RGBA", image.size, "white")
        paper.alpha_composite(image.convert("RGBA"))
        if most and paper.width > most:
            paper.thumbnail((most, paper.height))
            png = _png(paper)
        buffer = io.BytesIO()
        paper.convert("RGB").save(buffer, format="WEBP", lossless=True, method=METHOD, quality=EFFORT)
        content, kind = min((png, "png"), (buffer.getvalue(), "webp"), key=lambda found: len(found[0]))
        return f"data:image/{kind};base64,{base64.b64encode(content).decode()}", *paper.size


def _png(image: Image.Image) -> bytes:
    buffer = io.BytesIO()
    image.convert("RGB").save(buffer, format="PNG", optimize=True)
    return buffer.getvalue()


def slug(text: str) -> str:
    """Return a heading's anchor as GitHub makes it: lower case, hyphens for spaces, no punctuation."""
    kept = "".join(char for char in text.lower() if char.isalnum() or char in " -_")
    return kept.strip().replace(" ", "-") or "section"


def anchor_link(anchor: str, words: str) -> str:
    """Return a link of something to itself, for people who want to point at it."""
    return f'<a class="anchor" href="#{escape(anchor)}" aria-label="Link to {escape(words)}">#</a>'
