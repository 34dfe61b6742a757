"""A row of fixes of one model, one of them undone in the middle.

python examples/row_of_fixes.py [FOLDER]
"""

import sys
import tempfile
from pathlib import Path

import torch
from digits import errors, trained

import bgd

folder = Path(sys.argv[1] if sys.argv[1:] else tempfile.mkdtemp())
folder.mkdir(parents=True, exist_ok=True)
model, digits = trained()
wrong, labels = errors(model, digits)
keep, _ = digits.held_out.tensors()

stack = bgd.Stack(model)


def add(x: torch.Tensor, y: torch.Tensor, note: str) -> None:
    """Correct an image on top of the fixes that are there, and add what comes of it."""
    now = stack.applied_to(model)
    fix = bgd.correct(now, x, y, "least_harm", knowledge=bgd.Knowledge.of(now, keep=keep))
    print(stack.add(fix, x, y, note=note))


# Four reports, each corrected on top of the fixes before it. The images of the earlier ones are run again each time.
for number in range(4):
    add(wrong[number : number + 1], labels[number : number + 1], f"report {number + 1}")

# The second fix is taken out. The values of the others stay, and what that does to their images is said.
print(f"\nUndone: {stack.undo(2)}\n\n{stack}\n")

# A report that is wrong again gets a fix on top.
for each in stack.status():
    if not each.right:
        at = int(each.note.split()[1]) - 1
        add(wrong[at : at + 1], labels[at : at + 1], f"{each.note}, again")

# What is shipped: one patch of the model as it was, and the row itself, to go on with.
stack.squash().save(folder / "all.safetensors", base=model, overwrite=True)
stack.save(folder / "fixes.stack", overwrite=True)
again = bgd.Stack.load(folder / "fixes.stack", model)
print(f"\n{again}\n\nAll as one patch: {len(again.squash())} parameters.")
print(bgd.effects(model, again.squash(), *digits.test.tensors()).words())
