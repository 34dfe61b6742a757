"""A public bug, from the report to a patched file: magika 1.0.3 takes keyboard mash for an ignore file (its #1249).

    python examples/public_bug.py [FOLDER]

There is no training data, no source in torch, no gradient: the wheel, which pip fetches, holds an ONNX file.
"""

import sys
import tempfile
from pathlib import Path

import numpy as np
import torch
from magika_files import mash, prepare
from matplotlib.figure import Figure

import bgd
from bgd.deployed import apply_to_file, load

folder = Path(sys.argv[1] if sys.argv[1:] else tempfile.mkdtemp())
prepare(folder)
types = (folder / "types.txt").read_text().split()
model = load(folder / "model.onnx", cache=folder / "features")
x, keep, check = (torch.from_numpy(np.load(folder / f"{name}.npy")) for name in ("mash", "keep", "check"))

# The change: of the last layer, in closed form and by quadratic programs. ONNX Runtime rounds otherwise in a batch than
# for a file alone, so that the margin is a wide one.
knowledge = bgd.Knowledge.of(model.network, keep=model.inputs(keep))
goal = bgd.Goal(margin=0.3)
fix = bgd.correct(
    model.network, model.inputs(x), types.index("txt"), "least_harm", knowledge=knowledge, goal=goal, budget=3
)
patch = model.stored(fix.patch)
patch.save(folder / "fix.safetensors", overwrite=True)
effects = bgd.effects(model.network, fix, model.inputs(check), classes=types)
print(f"{mash().decode()}{len(patch)} of the parameters changed.\n{effects.words()}")

# The patched file, as ONNX Runtime runs it.
apply_to_file(patch, folder / "model.onnx", folder / "fixed.onnx", overwrite=True)
fixed = load(folder / "fixed.onnx", cache=folder / "features")
scores = [each.outputs(x)[0] for each in (model, fixed)]
print("before, after:", *(f"{types[int(each.argmax())]} {float(each.max()):.3f}" for each in scores))
assert types[int(scores[1].argmax())] == "txt"

# The picture: the scores of the report, and those of the files that had no say.
figure = Figure(figsize=(10, 4), layout="constrained")
left, right = figure.subplots(1, 2)
likely = scores[0].maximum(scores[1]).argsort()[-5:]
for each, label, shift in zip(scores, ("model.onnx", "fixed.onnx"), (0.2, -0.2), strict=True):
    left.barh(torch.arange(5) + shift, each[likely], 0.4, label=label)
left.set(yticks=range(5), yticklabels=[types[at] for at in likely], title="The reported text", xlabel="score")
left.legend()
with torch.no_grad():
    before, after = (each.network(model.inputs(check)).softmax(1) for each in (model, fixed))
classes = before.argmax(1, keepdim=True)
same = after.argmax(1, keepdim=True) == classes
for mask, label, marker in ((same, "same class", "."), (~same, "another class", "x")):
    right.scatter(*(each.gather(1, classes)[mask] for each in (before, after)), marker=marker, label=label)
right.set(title=f"{len(check)} other files: {int((~same).sum())} change class")
right.set(xlabel="score of the file's class before", ylabel="and after")
right.legend()
figure.savefig(folder / "public_bug.png", dpi=120)
print(f"Files are in {folder}: fix.safetensors, fixed.onnx, public_bug.png.")
