"""From a document and its files to the report as one Markdown text, and as one page that needs no other file."""

import re
from collections.abc import Mapping, Sequence
from html import escape
from importlib.resources import files as package_files
from pathlib import PurePosixPath

from experiments.report.page.document import Chapter, Document, Item
from experiments.report.page.markdown import demote, has_title, relink
from experiments.report.page.rendering import Heading, Renderer, anchor_link, slug

FOLDER = "report"
THUMBNAILS = "report/thumbnails.md"  # of the document's own figures
CHAPTER_LEVEL, ITEM_LEVEL = 2, 3  # of headings; 1 is the report's title

STYLE = "page.css"
EARLY = "theme.js"  # before anything is drawn: otherwise a dark page would flash white
PROGRAM = ("contents.js", "tables.js", "figures.js")

_PLACE = re.compile(r"\{\{(\w+)\}\}")


def compose(
    document: Document,
    files: Mapping[str, bytes],
    notes: Mapping[str, str] | None = None,
    others: Sequence[Document] = (),
) -> dict[str, bytes]:
    """Return a report in both forms; the same document and files give the same bytes.

    Args:
        document: What to show. A file that it names and `files` lacks becomes the words "missing: name".
        files: The build, by name under the output folder, with the pictures that a fragment shows.
        notes: By an item's name, Markdown that stands below it, with links as seen from the item's folder.
        others: Documents whose pages stand beside this one's: a link to a file that they show leads there.

    Returns:
        The Markdown, whose links are relative to its folder, and the page, which holds its pictures, style and
        program and loads nothing.

    Raises:
        ValueError: A fragment shows a picture from outside the build.
    """
    files = {**files, THUMBNAILS: document.thumbnails.encode()}
    texts = {
        item.name: _text(item, chapter.title, files, (notes or {}).get(item.name, ""))
        for chapter in document.chapters
        for item in chapter.items
    }
    anchors = {item.name: item.anchor for item in document.items}
    elsewhere = {item.name: f"{other.page}#{item.anchor}" for other in others for item in other.items}
    renderer = Renderer(files, FOLDER, anchors, document.badges, elsewhere)
    made = {document.page: _page(document, texts, renderer)}
    if document.text:
        made[document.text] = _markdown(document, texts)
    return {f"{FOLDER}/{name}": content.encode() for name, content in made.items()}


def _text(item: Item, chapter: str, files: Mapping[str, bytes], note: str) -> str:
    """Return an item as Markdown that stands in the report: headings below the chapter's, links from its folder."""
    heading = f"### {item.title}\n\n" if item.title else ""
    if item.name not in files:
        return f"{heading}missing: {item.name}\n"
    if item.name.endswith(".png"):
        text = f"![{item.alt}]({PurePosixPath(item.name).name})\n\n{f'{item.caption} {note}'.strip()}"
        return heading + relink(text, item.folder, FOLDER)
    text = files[item.name].decode()
    if note:
        text = f"{text.rstrip()}\n\n{note}\n"
    level = ITEM_LEVEL + bool(item.title)
    if not item.title and has_title(text, chapter):  # the chapter's heading says it already
        text = text.lstrip().partition("\n")[2].lstrip("\n")
    return heading + demote(relink(text, item.folder, FOLDER), level)


def _markdown(document: Document, texts: Mapping[str, str]) -> str:
    parts = [f"# {document.title}", document.lead]
    for chapter in document.chapters:
        parts += [f"## {chapter.title}", chapter.intro]
        for item in chapter.items:
            parts += [f'<a id="{item.anchor}"></a>', texts[item.name]]
    return "\n".join(part.rstrip("\n") + "\n" for part in parts if part)


def _page(document: Document, texts: Mapping[str, str], renderer: Renderer) -> str:
    lead, _ = renderer.render(document.lead, "lead")
    contents, chapters = "", ""
    for chapter in document.chapters:
        anchor = renderer.unique(slug(chapter.title))
        intro, headings = renderer.render(chapter.intro, anchor)
        body = f'<div class="intro">{intro}</div>\n'
        for item in chapter.items:
            text, found = renderer.render(texts[item.name], item.anchor)
            headings += found
            body += (
                f'<section class="item {escape(item.folder)}" id="{escape(item.anchor)}">\n{text}</section>\n'
            )
        contents += _entries(chapter, anchor, headings)
        title = f"{escape(chapter.title)}{anchor_link(anchor, chapter.title)}"
        chapters += f'<section class="chapter" id="{escape(anchor)}">\n<h2>{title}</h2>\n{body}</section>\n'
    values = {
        **{"title": escape(document.title), "lead": lead, "contents": contents, "chapters": chapters},
        **{"style": _asset(STYLE), "early": _asset(EARLY), "program": "".join(map(_asset, PROGRAM))},
    }
    return _PLACE.sub(lambda match: values[match[1]], _asset("page.html"))


def _entries(chapter: Chapter, anchor: str, headings: Sequence[Heading]) -> str:
    """Return a chapter in the table of contents, with the headings one level below its own."""
    below = [heading for heading in headings if heading.level == CHAPTER_LEVEL + 1]
    entries = "".join(f"<li>{_entry(heading.anchor, heading.text)}</li>\n" for heading in below)
    return f"<li>{_entry(anchor, chapter.title)}{f'<ol>{entries}</ol>' if below else ''}</li>\n"


def _entry(anchor: str, text: str) -> str:
    return f'<a href="#{escape(anchor)}">{escape(text)}</a>'


def _asset(name: str) -> str:
    return (package_files(__package__) / "assets" / name).read_text(encoding="utf-8")
