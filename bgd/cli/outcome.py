"""What a command has to say: a record for programs, the same in words for people, a status."""

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

DONE, REFUSED, WRONG, FAULT, STOPPED = 0, 1, 2, 3, 130  # exit statuses, see docs/command-line.md


@dataclass(frozen=True)
class Outcome:
    """The end of a command that ran.

    Attributes:
        record: Keys as in docs/command-line.md.
        words: The same for people.
        error: Why the answer is no, in a sentence; empty where it is yes.
    """

    record: Mapping[str, Any]
    words: str
    error: str = ""

    @property
    def status(self) -> int:
        """The exit status."""
        return REFUSED if self.error else DONE


def plain(value: Any) -> Any:
    """Return a value as JSON has it: mappings and lists of plain ones, a number that is not finite as text."""
    if isinstance(value, Mapping):
        return {str(key): plain(each) for key, each in value.items()}
    if isinstance(value, (list, tuple)):
        return [plain(each) for each in value]
    if isinstance(value, float) and not math.isfinite(value):
        return str(value)
    return value
