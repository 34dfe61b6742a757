"""Markdown of one file made to stand in another: headings and links."""

import posixpath
import re
from collections.abc import Iterator

_HEADING = re.compile(r" {0,3}(#{1,6})(?=[ \t]|$)")
_FENCE = re.compile(r" {0,3}(`{3,}|~{3,})")
# The target of a link or a picture, where it is neither an anchor nor an address nor absolute.
_TARGET = re.compile(r"(?<=\]\()(?![a-zA-Z][a-zA-Z0-9+.-]*:|[#/])[^)\s]+")

DEEPEST = 6


def demote(text: str, top: int) -> str:
    """Return Markdown whose highest heading has the level `top`; the others keep their distance to it, up to 6.

    Headings are those with number signs; lines in fenced code are left alone.
    """
    levels = [len(match[1]) for line, code in _lines(text) if not code and (match := _HEADING.match(line))]
    if not levels:
        return text
    shift = top - min(levels)
    lines = []
    for line, code in _lines(text):
        match = None if code else _HEADING.match(line)
        if match:
            line = "#" * min(len(match[1]) + shift, DEEPEST) + line[match.end() :]
        lines.append(line)
    return "".join(lines)


def has_title(text: str, title: str) -> bool:
    """Return whether Markdown begins with a heading of these words, whatever their case."""
    first = text.lstrip().partition("\n")[0]
    match = _HEADING.match(first)
    return match is not None and first[match.end() :].strip().casefold() == title.casefold()


def relink(text: str, folder: str, new_folder: str) -> str:
    """Return Markdown whose relative links, written in `folder`, hold in `new_folder`.

    Inline links and pictures only: `[text](target)`; lines in fenced code are left alone.
    """
    if folder == new_folder:
        return text

    def moved(match: re.Match[str]) -> str:
        path, mark, anchor = match[0].partition("#")
        return posixpath.relpath(posixpath.join(folder, path), new_folder) + mark + anchor

    return "".join(line if code else _TARGET.sub(moved, line) for line, code in _lines(text))


def _lines(text: str) -> Iterator[tuple[str, bool]]:
    """Yield every line with its end, and whether it is fenced code."""
    fence = ""
    for line in text.splitlines(keepends=True):
        match = _FENCE.match(line)
        if fence:
            yield line, True
            if match and match[1].startswith(fence):
                fence = ""
        else:
            fence = match[1] if match else ""
            yield line, bool(match)
