"""How far long loops are, for whoever wants to say it: no loop is handed a callback.

A loop over `followed(...)` is seen by the thread that observes; where nobody does, it costs nothing.
"""

import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass, field
from typing import TypeVar

Part = TypeVar("Part")


@dataclass(eq=False)
class Loop:
    """A loop that is on its way.

    Attributes:
        what: Its parts, in words.
        total: How many there are. A search may end before.
        done: How many are over.
        started: When it began, by `time.monotonic`.
    """

    what: str
    total: int
    done: int = 0
    started: float = field(default_factory=time.monotonic)


_LOOPS: ContextVar[list[Loop] | None] = ContextVar("loops", default=None)


@contextmanager
def observed() -> Iterator[list[Loop]]:
    """Give the list of the loops on their way inside the block, the outermost first; any thread may read it."""
    loops: list[Loop] = []
    token = _LOOPS.set(loops)
    try:
        yield loops
    finally:
        _LOOPS.reset(token)


def followed(what: str, parts: Sequence[Part]) -> Iterator[Part]:
    """Yield parts one after another.

    Args:
        what: The parts, in words.
        parts: All of them.
    """
    loops = _LOOPS.get()
    if loops is None:
        yield from parts
        return
    loop = Loop(what, len(parts))
    loops.append(loop)
    try:
        for done, part in enumerate(parts):
            loop.done = done
            yield part
    finally:
        loops.remove(loop)


def told(what: str, done: int, total: int) -> None:
    """Say how far a loop is that calls back: a loop of these words, begun at its first call and over at its last."""
    loops = _LOOPS.get()
    if loops is None:
        return
    known = next((each for each in loops if each.what == what), None)
    if known is None:
        known = Loop(what, total)
        loops.append(known)
    known.done, known.total = done, total
    if done >= total:
        loops.remove(known)
