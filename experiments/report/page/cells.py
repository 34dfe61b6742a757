"""Cells of a table dressed for a page: numbers, verdicts as badges, marks, and labels that hold for several rows."""

import re
from collections.abc import Sequence
from itertools import pairwise

from markdown_it.token import Token

# Words that are a whole cell, or stand in bold in raw HTML, and how they look.
VERDICTS = {
    "reproduced": "good",
    "agrees": "good",
    "holds": "good",
    "direction only": "partly",
    "similar": "partly",
    "not reproduced": "bad",
    "differs": "bad",
    "fails": "bad",
    "not comparable": "none",
    "missing": "none",
}
MARKS = {"✓": "good", "✗": "bad"}
SHORT, LONG = 20, 40  # characters: a name, which is not broken into lines; prose, which gets room

RIGHT = "text-align:right"
_BOLD = re.compile(r"<b>([^<>]+)</b>")


def dress(tokens: Sequence[Token]) -> None:
    """Change the tokens of all tables in a text, in place.

    A right-aligned cell gets the class `num`, a name `short`, prose `long`. A cell that is a verdict holds a
    badge, a tick or cross at a cell's end a colour. An empty first cell means the label above it, which it
    carries as `data-ditto`: a sorted table has to show it.
    """
    label, column = "", 0
    for token, content in pairwise(tokens):
        if token.type == "tbody_open":
            label = ""
        elif token.type == "tr_open":
            column = 0
        elif token.type in ("th_open", "td_open"):
            _align(token)
            column += 1
            if token.type == "td_open":
                text = plain(content)
                if column == 1 and text:
                    label = text
                elif column == 1 and label:
                    token.attrJoin("class", "ditto")
                    token.attrSet("data-ditto", label)
                if len(text) > LONG:
                    token.attrJoin("class", "long")
                elif 0 < len(text) <= SHORT and not token.attrGet("class"):
                    token.attrJoin("class", "short")
                _decorate(content, text)


def plain(inline: Token) -> str:
    """Return the text of an inline token without its marks."""
    parts = []
    for child in inline.children or ():
        if child.type in ("softbreak", "hardbreak"):
            parts.append(" ")
        elif child.type not in ("html_inline", "image"):
            parts.append(child.content)
    return "".join(parts).strip()


def badges(html: str) -> str:
    """Return raw HTML, the summary of a folded part for example, with its bold verdicts as badges."""

    def badge(match: re.Match[str]) -> str:
        look = VERDICTS.get(match[1].casefold())
        return f'<span class="badge {look}">{match[1]}</span>' if look else match[0]

    return _BOLD.sub(badge, html)


def _align(cell: Token) -> None:
    if cell.attrs.pop("style", None) == RIGHT:
        cell.attrJoin("class", "num")


def _decorate(inline: Token, text: str) -> None:
    children = inline.children or []
    look = VERDICTS.get(text.casefold())
    if look:
        inline.children = [html_token(f'<span class="badge {look}">'), *children, html_token("</span>")]
    elif children and children[-1].type == "text" and text[-1:] in MARKS:
        children[-1].content = children[-1].content.rstrip()[:-1]
        inline.children = [*children, html_token(f'<span class="mark {MARKS[text[-1]]}">{text[-1]}</span>')]


def html_token(html: str) -> Token:
    """Return a token for a piece of HTML inside a line."""
    return Token("html_inline", "", 0, content=html)
