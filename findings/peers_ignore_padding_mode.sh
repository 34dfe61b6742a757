#!/usr/bin/env bash
# Guess: a library that gives gradients of single samples, or a curvature, of `nn.Conv2d`
# computes with the layer's `padding_mode`, or refuses one that it does not know.
#
# Seen: Opacus, BackPACK, NNGeometry and curvlinops' KFAC pad with zeros whatever the layer
# says, and none refuses. The forward pass is the layer's own, so loss and logits are right.
# For "circular", "reflect" and "replicate" the gradients of the weight are off by 0.5 to
# 0.7 of the largest, the curvature by as much as its largest entry. BackPACK is off for
# `padding="same"` too, by more than the largest, where Opacus is right.
#
# Versions: opacus 1.6.0, backpack-for-pytorch 1.7.1, nngeometry 0.4,
# curvlinops-for-pytorch 3.0.1, torch 2.14.1, Python 3.11.
#
# Why it matters: Who picks few weights by gradient over curvature picks by the gradients of
# another network. Audio and panorama models pad in circles, image models reflect.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install --quiet torch==2.14.1 opacus==1.6.0 backpack-for-pytorch==1.7.1 \
    nngeometry==0.4 curvlinops-for-pytorch==3.0.1
"$folder/venv/bin/python" -W ignore - <<'EOF'
import sys
from importlib.metadata import version

import torch
from backpack import backpack, extend
from backpack.extensions import BatchGrad
from curvlinops import GGNLinearOperator, KFACLinearOperator
from nngeometry.metrics import FIM
from nngeometry.object import PMatDense
from opacus import GradSampleModule
from torch import nn
from torch.utils.data import DataLoader, TensorDataset

PACKAGES = ("opacus", "backpack-for-pytorch", "nngeometry", "curvlinops-for-pytorch", "torch")
SUM = {"reduction": "sum"}
torch.manual_seed(0)
images, labels = torch.randn(5, 1, 6, 6), torch.randint(0, 3, (5,))
small, label = torch.randn(1, 1, 3, 3), torch.tensor([1])


def classifier(mode: str, padding: int | str = 1) -> nn.Sequential:
    torch.manual_seed(1)
    layer = nn.Conv2d(1, 2, 3, padding=padding, padding_mode=mode)
    return nn.Sequential(layer, nn.ReLU(), nn.Flatten(), nn.Linear(72, 3))


def one_place(mode: str) -> nn.Sequential:
    """One convolution at one place of one image: there KFAC is the generalised Gauss-Newton matrix."""
    torch.manual_seed(1)
    return nn.Sequential(nn.Conv2d(1, 3, 3, padding=1, stride=5, padding_mode=mode, bias=False), nn.Flatten())


def off(found: torch.Tensor, exact: torch.Tensor) -> float:
    return float((found - exact).abs().max() / exact.abs().max())


def by_loop(*how: int | str) -> torch.Tensor:
    network = classifier(*how)
    losses = [nn.functional.cross_entropy(network(image[None]), name[None]) for image, name in zip(images, labels)]
    return torch.stack([torch.autograd.grad(loss, network[0].weight)[0] for loss in losses])


def by_opacus(*how: int | str) -> torch.Tensor:
    network = GradSampleModule(classifier(*how), loss_reduction="sum")
    nn.functional.cross_entropy(network(images), labels, **SUM).backward()
    return network._module[0].weight.grad_sample


def by_backpack(*how: int | str) -> torch.Tensor:
    network, loss = extend(classifier(*how)), extend(nn.CrossEntropyLoss(**SUM))
    with backpack(BatchGrad()):
        loss(network(images), labels).backward()
    return network[0].weight.grad_batch


def curvatures(mode: str) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    """The exact curvature of `one_place`, by NNGeometry, and by curvlinops' KFAC."""
    network = one_place(mode)
    about = network, nn.CrossEntropyLoss(**SUM), list(network.parameters()), [(small, label)]
    every = torch.eye(27)
    exact = GGNLinearOperator(*about) @ every
    factors = KFACLinearOperator(*about, fisher_type="type-2", kfac_approx="expand") @ every
    loader = DataLoader(TensorDataset(small, label), batch_size=1)
    fisher = FIM(network, loader, PMatDense, variant="classif_logits", device="cpu").to_torch()
    return exact, fisher, factors


print(*(f"{name} {version(name)}" for name in PACKAGES))
print("expected: all right to 1e-5, or refused")
seen: dict[str, list[float]] = {}
for mode in ("zeros", "circular", "reflect", "replicate"):
    gradients, (exact, fisher, factors) = by_loop(mode), curvatures(mode)
    seen[mode] = [off(by_opacus(mode), gradients), off(by_backpack(mode), gradients)]
    seen[mode] += [off(fisher, exact), off(factors, exact)]
    told = ", ".join(f"{name} {value:.1e}" for name, value in zip(PACKAGES, seen[mode]))
    print(f"seen:     {mode}: off by {told}")
gradients = by_loop("zeros", "same")
same = [off(function("zeros", "same"), gradients) for function in (by_opacus, by_backpack)]
print(f"seen:     padding='same': off by opacus {same[0]:.1e}, backpack-for-pytorch {same[1]:.1e}")
if max(seen.pop("zeros")) > 1e-5:
    sys.exit("with zeros they are off as well: this is another matter")
if min(value for values in seen.values() for value in values) < 0.3 or same[0] > 1e-5 or same[1] < 0.5:
    sys.exit("the behaviour has changed")
EOF
