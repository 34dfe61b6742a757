"""A fix in a stack, and what is said of one."""

from collections.abc import Mapping
from dataclasses import dataclass, field

import torch

from bgd.goals import Goal
from bgd.patch import Patch, bits


@dataclass(frozen=True, eq=False)
class Fix:
    """A patch with the inputs that it is for.

    Attributes:
        number: Its name in the stack: 1 for the first that was ever added; never given again.
        patch: The values that it writes, as a patch of the unpatched model, whatever it was made on top of.
        x: The inputs that it makes right (n, ...); None where nobody gave them.
        labels: Their classes, one for each.
        goal: What right means for them.
        note: Words of whoever added it.
    """

    number: int
    patch: Patch
    x: torch.Tensor | None = None
    labels: tuple[int, ...] = ()
    goal: Goal = field(default_factory=Goal)
    note: str = ""

    def disagreement(self, other: "Fix") -> int:
        """Return to how many parameters this fix and another one give different values."""
        one, two = self.patch, other.patch
        mine, theirs = torch.isin(one.indices, two.indices), torch.isin(two.indices, one.indices)
        return int((bits(one.new[mine]) != bits(two.new[theirs])).sum())  # both ascend

    def __str__(self) -> str:
        return f"fix {self.number}" + (f" ({self.note})" if self.note else "")


@dataclass(frozen=True, eq=False)
class Step:
    """What it did to a stack that a fix was added, or undone.

    Attributes:
        fix: The one.
        holds: Whether its own inputs are right now; None where it has none.
        broken: The other fixes in the stack whose inputs were right before and are not now.
        mended: Those whose inputs were not right before and are now.
        overlaps: To how many parameters this fix and another one give different values, by the other's number; the
            later fix's stands. `Stack.conflicts` names them.
    """

    fix: Fix
    holds: bool | None
    broken: tuple[Fix, ...]
    mended: tuple[Fix, ...]
    overlaps: Mapping[int, int]

    def __str__(self) -> str:
        said = [
            f"{self.fix}: its inputs are {'right' if self.holds else 'not right'}"
            if self.holds is not None
            else f"{self.fix}"
        ]
        said += [f"breaks {', '.join(map(str, self.broken))}"] if self.broken else []
        said += [f"mends {', '.join(map(str, self.mended))}"] if self.mended else []
        said += [
            f"disagrees with fix {number} in {count:,} {'values' if count > 1 else 'value'}, and the later fix's stand"
            for number, count in self.overlaps.items()
        ]
        return "; ".join(said)


@dataclass(frozen=True)
class Status:
    """How a fix stands in a stack, in plain values.

    Attributes:
        number: Of the fix.
        note: Of whoever added it.
        parameters: That it writes.
        overwritten: Of them, those that later fixes leave at another value.
        inputs: That it is for.
        right: Whether all of them are right with the whole stack; None where it has none.
        broken_by: Number of the later fix since which they are not; None where they are, or never were.
    """

    number: int
    note: str
    parameters: int
    overwritten: int
    inputs: int
    right: bool | None
    broken_by: int | None
