#!/usr/bin/env bash
# Guess: the importance that Avalanche's EWC gives to a parameter, the diagonal of the empirical
# Fisher matrix, does not depend on how many samples a batch has, which only bounds the memory.
#
# Seen: The gradient of a batch's mean loss is squared, not each sample's. The gradients of a
# batch cancel, so the importance falls as the batch grows: of a network with random weights,
# on 512 samples with random labels, it is 5 times smaller with 64 samples a batch than with 8,
# and 40 times smaller than with one. The plugin takes the size of the training batches.
#
# Versions: avalanche-lib 0.6.0, torch 2.14.1, torchvision 0.29.1, Python 3.11.
#
# Why it matters: EWC is what corrections in a row are compared with. The same `ewc_lambda`
# protects less where somebody trains with larger batches: a strength that was tuned with one
# size, or taken from a paper, is another with the next.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install --quiet avalanche-lib==0.6.0 torch==2.14.1 torchvision==0.29.1
"$folder/venv/bin/python" - <<'EOF'
import sys
import warnings
from importlib.metadata import version

warnings.simplefilter("ignore")
import torch
from avalanche.training.plugins.ewc import EWCPlugin
from torch import nn

torch.manual_seed(0)
NETWORK = nn.Sequential(nn.Linear(8, 16), nn.ReLU(), nn.Linear(16, 3))
INPUTS, LABELS = torch.randn(512, 8), torch.randint(0, 3, (512,))
# inputs, class and task of each sample, as Avalanche's data sets give them
SAMPLES = [(one, int(label), 0) for one, label in zip(INPUTS, LABELS)]


def importance(batch: int) -> float:
    """The sum over all parameters."""
    optimizer = torch.optim.SGD(NETWORK.parameters(), 0.1)
    found = EWCPlugin(1.0).compute_importances(
        NETWORK, nn.CrossEntropyLoss(), optimizer, SAMPLES, "cpu", batch
    )
    return sum(float(each.data.sum()) for each in found.values())


def fisher() -> float:
    """The same by its definition: the mean square of each sample's gradient, at its label."""
    total = 0.0
    for one, label in zip(INPUTS, LABELS):
        loss = nn.functional.cross_entropy(NETWORK(one[None]), label[None])
        gradients = torch.autograd.grad(loss, list(NETWORK.parameters()))
        total += sum(float(each.pow(2).sum()) for each in gradients)
    return total / len(INPUTS)


print(*(f"{name} {version(name)}" for name in ("avalanche-lib", "torch")))
right = fisher()
print(f"expected: {right:.3f} for each size of the batches, as by the definition")
seen = {batch: importance(batch) for batch in (1, 8, 64, 512)}
for batch, total in seen.items():
    print(f"seen:     {total:.3f} with batches of {batch}, {right / total:.0f} times less")
if abs(seen[1] / right - 1) > 1e-3:
    sys.exit("with batches of one it is no empirical Fisher matrix either: this is another matter")
if not (seen[8] > 4 * seen[64] and seen[1] > 30 * seen[64] > 30 * seen[512]):
    sys.exit("the behaviour has changed")
EOF
