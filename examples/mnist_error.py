"""An error on MNIST: corrected in two ways, the side effects in words, the change as a file, applied and undone.

python examples/mnist_error.py [FOLDER]
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
x, y = wrong[:1], int(labels[0])
print(
    f"The network gets {len(wrong)} of {len(digits.test)} test images wrong; the first: "
    f"it says {int(model(x).argmax())}, right is {y}."
)

# BGD-II knows the network and the image, no more. Least harm also knows images whose classes should stay.
keep, _ = digits.held_out.tensors()
fixes = {
    "bgd_ii": bgd.correct(model, x, y, "bgd_ii"),
    "least_harm": bgd.correct(model, x, y, "least_harm", knowledge=bgd.Knowledge.of(model, keep=keep)),
}
for name, fix in fixes.items():
    print(f"\n{name}, parameters of each layer: {fix.patch.layers()}.")
    print(bgd.effects(model, fix, *digits.test.tensors()).words())

# The change is a file of its own. It knows the network that it is for, and goes into no other.
path = folder / "fix.safetensors"
fixes["least_harm"].patch.save(path, base=model, overwrite=True)
patch, before = bgd.Patch.load(path), [each.clone() for each in model.parameters()]
patch.apply_(model)
print(f"\n{path}, {path.stat().st_size} bytes, applied: the network says {int(model(x).argmax())}.")
patch.revert_(model)
same = all(torch.equal(now, then) for now, then in zip(model.parameters(), before, strict=True))
print(f"Undone: it says {int(model(x).argmax())}, and every parameter is what it was: {same}.")
