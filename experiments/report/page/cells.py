"""Cells of a table dressed for a page: numbers, verdicts as badges, marks, and labels that hold for several rows."""

import re
from collections.abc import Mapping, Sequence
from itertools import pairwise

from markdown_it.token import Token

MARKS = {"✓": "good", "✗": "bad"}
SHORT, LONG = 20, 40  # characters: a name, which is not broken into lines; prose, which gets room

RIGHT = "text-align:right"
_BOLD = re.compile(r"<b>([^<>]+)</b>")

Looks = Mapping[str, str]  # words in lower case, a whole cell or in bold in raw HTML -> how they look


def dress(tokens: Sequence[Token], looks: Looks) -> None:
    """Change the tokens of all tables in a text, in place.

    A right-aligned cell gets the class `num`, a name `short`, prose `long`. A cell that is a word of `looks` holds a
    badge, a tick or cross at a cell's end a colour. An empty first cell means the label above it, which it
    carries as `data-ditto`: a sorted table has to show it.
    """
    label, first = "", True
    for token, content in pairwise(tokens):
        if token.type == "tbody_open":
            label = ""
        elif token.type == "tr_open":
            first = True
        elif token.type in ("th_open", "td_open"):
            if token.attrs.pop("style", None) == RIGHT:
                token.attrJoin("class", "num")
            if token.type == "td_open":
                text = plain(content)
                label = text or label if first else label
                if first and not text and label:
                    token.attrJoin("class", "ditto")
                    token.attrSet("data-ditto", label)
                if len(text) > LONG:
                    token.attrJoin("class", "long")
                elif 0 < len(text) <= SHORT and not token.attrGet("class"):
                    token.attrJoin("class", "short")
                _decorate(content, text, looks)
            first = False


def plain(inline: Token) -> str:
    """Return the text of an inline token without its marks."""
    breaks, silent = ("softbreak", "hardbreak"), ("html_inline", "image")
    return "".join(
        " " if child.type in breaks else child.content
        for child in inline.children or ()
        if child.type not in silent
    ).strip()


def badges(html: str, looks: Looks) -> str:
    """Return raw HTML, the summary of a folded part for example, with its bold words of `looks` as badges."""

    def badge(match: re.Match[str]) -> str:
        look = looks.get(match[1].casefold())
        return f'<span class="badge {look}">{match[1]}</span>' if look else match[0]

    return _BOLD.sub(badge, html)


def _decorate(inline: Token, text: str, looks: Looks) -> None:
    children = inline.children or []
    look = looks.get(text.casefold())
    if look:
        inline.children = [html_token(f'<span class="badge {look}">'), *children, html_token("</span>")]
    elif children and children[-1].type == "text" and text[-1:] in MARKS:
        children[-1].content = children[-1].content.rstrip()[:-1]
        inline.children = [*children, html_token(f'<span class="mark {MARKS[text[-1]]}">{text[-1]}</span>')]


def html_token(html: str) -> Token:
    """Return a token for a piece of HTML inside a line."""
    return Token("html_inline", "", 0, content=html)
