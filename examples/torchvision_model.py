"""A model of torchvision: corrected, the methods side by side in one call, the change loaded into a fresh copy.

    python examples/torchvision_model.py [FOLDER]

Nothing is written for the model. Its weights are random, so that nothing is downloaded; `weights="DEFAULT"` gets those
of ImageNet.
"""

import sys
import tempfile
from pathlib import Path

import torch
from torch import nn
from torchvision.models import mobilenet_v3_small

import bgd

folder = Path(sys.argv[1] if sys.argv[1:] else tempfile.mkdtemp())
folder.mkdir(parents=True, exist_ok=True)
torch.manual_seed(0)
model = mobilenet_v3_small(num_classes=10)
pictures = torch.rand(41, 3, 64, 64) * torch.rand(41, 3, 1, 1)
for layer in model.modules():
    if isinstance(layer, nn.BatchNorm2d):
        layer.momentum = 1.0
with torch.no_grad():
    model(pictures)  # in training mode: BatchNorm has the statistics of these pictures then
torch.save(model.eval().state_dict(), folder / "model.pt")

# One picture gets the class that the model thinks the second likeliest.
x, others = pictures[:1], pictures[1:]
y = int(model(x).argsort(descending=True)[0, 1])
fix = bgd.correct(model, x, y)
print(
    f"Class {int(model(x).argmax())} is to be {y}. By default: {len(fix.patch):,} parameters of "
    f"{sum(each.numel() for each in model.parameters()):,}, in {fix.seconds:.1f} s."
)

# What would have done it otherwise: parameters changed against pictures that change class, on half of the others.
methods = ("output_bias", "last_layer_weight", "bgd_ii", "least_harm")
found = bgd.frontier(model, x, [y], keep=(others, None), methods=methods)
found.figure(folder / "frontier.png")
patch = found.attempt("least_harm").patch
print(f"\n{found}\n\nThe one with the fewest flips: {len(patch)} parameters.\n")

# Whoever has the same weights can load the change, and nobody else.
patch.save(folder / "fix.safetensors", base=model, overwrite=True)
fresh = mobilenet_v3_small(num_classes=10).eval()
patch = bgd.Patch.load(folder / "fix.safetensors")
print(f"A copy with other weights: {patch.verify(fresh).state}.")
fresh.load_state_dict(torch.load(folder / "model.pt", weights_only=True))
print(f"With the same weights: {patch.verify(fresh).state}.")
patch.apply_(fresh)
print(
    f"With the change: {patch.verify(fresh).state}; it says {int(fresh(x).argmax())}. Files are in {folder}."
)
