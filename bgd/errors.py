"""Errors of options: each names the key, the value and the nearest valid choice."""

import difflib
import re
from collections.abc import Iterable

LISTED = 60  # choices
COLOURS = re.compile(r"\x1b\[[0-9;]*m")  # of terminals, which some libraries put into their messages


class ConfigError(ValueError):
    """An option is unknown, of the wrong type or out of range."""


def nearest(word: str, choices: Iterable[str]) -> str:
    """Return advice: the nearest of the valid choices, then all of them, or the first where there are very many."""
    known = sorted(choices)
    close = difflib.get_close_matches(word, known, n=1, cutoff=0.5)
    more = f" and {len(known) - LISTED:,} more" if len(known) > LISTED else ""
    return (
        f"did you mean {close[0]!r}? " if close else ""
    ) + f"valid: {', '.join(known[:LISTED]) or 'none'}{more}"


def first_line(error: BaseException) -> str:
    """Return the first line of an error's message, its type where it has none."""
    lines = COLOURS.sub("", str(error)).splitlines()
    return lines[0] if lines else type(error).__name__
