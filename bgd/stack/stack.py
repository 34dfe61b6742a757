"""The stack itself.

A fix is kept as the absolute values that it writes over those of the unpatched model. The stacked model is what writing
the fixes' values in their order gives, and nothing else of the past enters: after any row of additions and undoings it
has the bits of the fixes that remain, applied afresh. So where fixes overlap the later one's values stand, also when
the one beneath it is undone; `Step` and `status` name the overlap and whose inputs suffer.
"""

from collections.abc import Sequence
from dataclasses import replace
from os import PathLike
from typing import Any

import torch
from torch import nn

from bgd.corrector import Labels
from bgd.errors import ConfigError
from bgd.flat import private_copy
from bgd.goals import Goal
from bgd.markdown import markdown
from bgd.methods.base import Correction
from bgd.methods.trial import patch_of
from bgd.patch import Conflict, Patch, PatchError
from bgd.stack import archive
from bgd.stack.checker import Checker
from bgd.stack.fix import Fix, Status, Step

Right = tuple[bool | None, ...]  # of each fix's inputs; None where it has none


class Stack:
    """Fixes of one model, in the order in which they were added.

    Args:
        model: The unpatched model. It is copied, never changed; the copy is in eval mode.
    """

    def __init__(self, model: nn.Module) -> None:
        self._checker = Checker(model)
        self._fixes: list[Fix] = []
        self._right: list[Right] = []  # with the first one, two, ... fixes: made when asked for
        self._next = 1

    @property
    def fixes(self) -> tuple[Fix, ...]:
        """Those in the stack, the earliest first."""
        return tuple(self._fixes)

    def __len__(self) -> int:
        """Number of fixes."""
        return len(self._fixes)

    def add(
        self,
        patch: Patch | Correction,
        x: torch.Tensor | None = None,
        y: Labels | None = None,
        note: str = "",
        goal: Any = None,
    ) -> Step:
        """Put a fix on top, and look at the inputs of all.

        A fix whose own inputs are not right on top of the others is taken all the same: the step says so.

        Args:
            patch: Made on top of this stack, or of the unpatched model.
            x: The inputs that it makes right (n, ...); without them nobody can say who breaks it.
            y: The right class, or one for each input.
            note: Words to know it by.
            goal: What right means, where that is more than arg-max: see `bgd.correct`. It is judged in the model's own
                arithmetic.

        Raises:
            PatchError: The patch starts from neither.
            ConfigError: There is no patch, or no class for the inputs.
            InputError: The model does not take the inputs.
        """
        wanted, labels = Goal.of(goal), self._checker.labels(x, y)
        values = self._checker.rebased(patch_of(patch), self._whole(len(self._fixes)))
        before = self._right_with(len(self._fixes))
        fix = Fix(self._next, values, None if x is None else x.detach().clone(), labels, wanted, note)
        self._fixes.append(fix)
        try:
            after = self._right_with(len(self._fixes))
        except BaseException:
            self._fixes.pop()
            raise
        self._next += 1
        return self._step(fix, self._fixes[:-1], before, after[:-1], after[-1])

    def undo(self, number: int) -> Step:
        """Take a fix out, wherever it is; the others stay as they are.

        Raises:
            ConfigError: There is no fix of that number.
        """
        fix = self.fix(number)
        at, before = self._fixes.index(fix), self._right_with(len(self._fixes))
        del self._fixes[at], self._right[at:]
        after = self._right_with(len(self._fixes))
        with self._checker.patched(self._whole(len(self._fixes))):
            holds = self._checker.is_right(fix)
        return self._step(fix, self._fixes, before[:at] + before[at + 1 :], after, holds)

    def fix(self, number: int) -> Fix:
        """Return the fix of a number.

        Raises:
            ConfigError: There is none.
        """
        if isinstance(number, bool):  # which counts as 0 or 1
            raise ConfigError(f"fix={number!r}: the number of a fix is wanted")
        found = [each for each in self._fixes if each.number == number]
        if not found:
            numbers = ", ".join(str(each.number) for each in self._fixes) or "none"
            raise ConfigError(f"fix={number!r}: there is no such fix in the stack; there are {numbers}")
        return found[0]

    def conflicts(self, number: int | None = None) -> tuple[Conflict, ...]:
        """Return each value of a fix that a later one gives another value, with the numbers of both.

        Args:
            number: Of a fix: those that it is part of; None for all.
        """
        if not self._fixes:
            return ()
        found = Patch.compose([fix.patch for fix in self._fixes])[1]
        numbers = [fix.number for fix in self._fixes]
        numbered = [
            replace(each, patches=(numbers[each.patches[0]], numbers[each.patches[1]])) for each in found
        ]
        return tuple(each for each in numbered if number is None or number in each.patches)

    def squash(self) -> Patch:
        """Return one patch that leads from the unpatched model to the stacked one; empty if that is the same."""
        names = "; ".join(map(str, self._fixes))
        return replace(self._whole(len(self._fixes)), metadata={"stack": names})

    def applied_to(self, model: nn.Module) -> nn.Module:
        """Return a copy of an unpatched model with all fixes.

        Raises:
            PatchError: It is another model than the stack is of.
        """
        copied = private_copy(model)
        self.squash().apply_(copied)
        return copied

    def status(self) -> list[Status]:
        """Look at every fix: is it still right, and if not, since which later one."""
        with self._checker.patched(self._whole(len(self._fixes))):
            overwritten = [self._checker.overwritten(fix.patch) for fix in self._fixes]
        final = self._right_with(len(self._fixes))
        return [
            Status(fix.number, fix.note, len(fix.patch), over, len(fix.labels), right, self._broken_by(at))
            for at, (fix, over, right) in enumerate(zip(self._fixes, overwritten, final, strict=True))
        ]

    def table(self) -> str:
        """Write the status as a table in Markdown."""
        said = {True: "yes", False: "no", None: "unknown"}
        columns = ("fix", "note", "parameters", "overwritten", "inputs", "right", "broken by fix")
        rows = [
            (each.number, each.note, each.parameters, each.overwritten, each.inputs, said[each.right], each.broken_by)
            for each in self.status()
        ]  # fmt: skip
        return markdown(columns, rows)

    def save(self, path: str | PathLike[str], overwrite: bool = False) -> None:
        """Write the stack into one file, whole or not at all: a zip of patches, inputs and a manifest in JSON.

        Raises:
            PatchError: A fix has a goal with a rule of one's own, which no file can hold.
            FileExistsError: There is a file, and `overwrite` is False.
        """
        fixes = [replace(fix, patch=fix.patch.hashed(self._checker.module)) for fix in self._fixes]
        archive.write(path, fixes, self._next, overwrite)

    @classmethod
    def load(cls, path: str | PathLike[str], model: nn.Module) -> "Stack":
        """Read a stack, and compare it with the unpatched model that it is of.

        Raises:
            PatchError: The file is not whole, or no stack, or the model is another one.
            OSError: It cannot be read.
        """
        stack = cls(model)
        checker = stack._checker
        fixes, stack._next = archive.read(path)
        for fix in fixes:
            verdict = fix.patch.verify(checker.module)
            if verdict.state != "base":
                raise PatchError(
                    f"{fix} is of another model: {verdict.reason or 'this one holds it already'}"
                )
            checker.labels(fix.x, fix.labels if fix.labels else None)
            stack._fixes.append(replace(fix, patch=checker.rebased(fix.patch, checker.nothing)))
        return stack

    def __str__(self) -> str:
        return self.table()

    def _whole(self, count: int) -> Patch:
        """Return the first so many fixes as one patch."""
        patches = [fix.patch for fix in self._fixes[:count]]
        return Patch.compose(patches)[0] if patches else self._checker.nothing

    def _right_with(self, count: int) -> Right:
        """Say whether the inputs of each of the first fixes are right with all of these."""
        while len(self._right) < count:
            made = len(self._right) + 1
            with self._checker.patched(self._whole(made)):
                self._right.append(tuple(self._checker.is_right(fix) for fix in self._fixes[:made]))
        return self._right[count - 1] if count else ()

    def _broken_by(self, at: int) -> int | None:
        """Return the number of the later fix since which the inputs of one are wrong."""
        rows = [self._right_with(count)[at] for count in range(at + 1, len(self._fixes) + 1)]
        if rows[-1] is not False or True not in rows:
            return None
        last = max(place for place, right in enumerate(rows) if right)
        return self._fixes[at + last + 1].number

    @staticmethod
    def _step(
        fix: Fix,
        others: Sequence[Fix],
        before: Right,
        after: Right,
        holds: bool | None,
    ) -> Step:
        pairs = list(zip(others, before, after, strict=True))
        broken = tuple(each for each, was, now in pairs if was and now is False)
        mended = tuple(each for each, was, now in pairs if was is False and now)
        overlaps = {each.number: fix.disagreement(each) for each in others}
        return Step(
            fix, holds, broken, mended, {number: count for number, count in overlaps.items() if count}
        )
