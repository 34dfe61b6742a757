"""Counts operations on a card that is not there: `tests/pretended.py` of the tree that this file is in.

An operation that gives a view of a tensor starts nothing on a card, and is left out. Each of the others starts a kernel
or more there. What a real card refuses for its lack of a deterministic algorithm is counted too: an earlier commit may
have it.
"""

import importlib
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from bgd.methods.base import Problem

TESTS = Path(__file__).parents[2] / "tests"


class Counts:
    """How many operations there were on the card.

    Attributes:
        everywhere: All of them.
        searching: Those between the beginning and the end of a trial, so without evaluations.
    """

    def __init__(self) -> None:
        self.everywhere = self.searching = 0
        self._trials = 0

    def add(self) -> None:
        """Count one more."""
        self.everywhere += 1
        self.searching += self._trials > 0

    @contextmanager
    def trial(self, trying: Any) -> Iterator[Any]:
        """Have a trial inside the block, as `Problem.trying` gives it."""
        with trying as trial:
            self._trials += 1
            try:
                yield trial
            finally:
                self._trials -= 1


@contextmanager
def card() -> Iterator[Counts]:
    """Have a card inside the block whose operations are counted."""
    sys.path.insert(0, str(TESTS))
    pretended, counts, plain = importlib.import_module("pretended"), Counts(), Problem.trying

    class Counting(pretended._Operations):  # type: ignore[misc, name-defined]
        def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
            given = list(pretended._tensors((args, kwargs or {})))
            there = any(map(pretended.on_card, given)) if given else self.inside
            if there and not func.is_view:
                counts.add()
            return super().__torch_dispatch__(func, types, args, kwargs)

    pretended._Operations, pretended._refuse_nondeterminism = Counting, lambda *_: None
    Problem.trying = lambda problem: counts.trial(plain(problem))  # type: ignore[method-assign, assignment]
    with pretended.pretended_card():
        yield counts
