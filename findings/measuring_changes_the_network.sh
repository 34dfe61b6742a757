#!/usr/bin/env bash
# Guess: counting a network's operations or parameters, or measuring its curvature, leaves
# it as it was: mode, parameters, buffers, state dict.
#
# Seen, with a network in training mode: ptflops and PyHessian leave it in evaluation mode.
# thop leaves two entries in the state dict for each layer that it does not know (here
# Flatten). fvcore and torchsummary run it as it is, on the example or on random numbers,
# so running statistics of batch normalisation move.
#
# Versions: torch 2.14.1, ptflops 0.7.5, PyHessian 0.1, thop 0.1.1.post2209072238,
# fvcore 0.1.5.post20221221, torchsummary 1.5.1, torchvision 0.29.1, numpy 2.4.6, Python 3.11.
#
# Why it matters: Training that measures as it goes is without dropout from then on; a
# checkpoint written after a count does not load strictly; a network whose statistics moved
# is another base than the one that a patch was made and verified for.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install --quiet torch==2.14.1 ptflops==0.7.5 PyHessian==0.1 thop==0.1.1.post2209072238 \
  fvcore==0.1.5.post20221221 torchsummary==1.5.1 torchvision==0.29.1 numpy==2.4.6
"$folder/venv/bin/python" -W ignore - <<'EOF'
import contextlib
import copy
import io
import logging
import sys
from importlib.metadata import version

import fvcore.nn
import ptflops
import pyhessian
import thop
import torch
import torchsummary

logging.disable(logging.WARNING)
images, labels = torch.randn(16, 1, 8, 8), torch.randint(3, (16,))
MEASURES = {
    "ptflops": lambda net: ptflops.get_model_complexity_info(net, (1, 8, 8), print_per_layer_stat=False),
    "PyHessian": lambda net: pyhessian.hessian(
        net, torch.nn.CrossEntropyLoss(), data=(images, labels), cuda=False
    ).eigenvalues(),
    "thop": lambda net: thop.profile(net, (images,), verbose=False),
    "fvcore": lambda net: fvcore.nn.FlopCountAnalysis(net, images).total(),
    "torchsummary": lambda net: torchsummary.summary(net, (1, 8, 8), device="cpu"),
}
EXPECTED = {
    "ptflops": {"mode"},
    "PyHessian": {"mode"},
    "thop": {"entries"},
    "fvcore": {"statistics"},
    "torchsummary": {"statistics"},
}


def network():
    torch.manual_seed(0)
    layers = torch.nn.Conv2d(1, 4, 3), torch.nn.BatchNorm2d(4), torch.nn.ReLU(), torch.nn.Flatten()
    return torch.nn.Sequential(*layers, torch.nn.Dropout(), torch.nn.Linear(4 * 36, 3)).train()


def changed(measure):
    net = network()
    before = copy.deepcopy(net.state_dict())
    with contextlib.redirect_stdout(io.StringIO()):
        measure(net)
    after = net.state_dict()
    modes = {"mode"} if not any(each.training for each in net.modules()) else set()
    more = {"entries"} if set(after) - set(before) == {"3.total_ops", "3.total_params"} else set(after) - set(before)
    moved = {name for name, value in before.items() if not torch.equal(value, after[name])}
    statistics = {f"1.{name}" for name in ("running_mean", "running_var", "num_batches_tracked")}
    return modes | more | ({"statistics"} if moved == statistics else moved)


print(*(f"{name} {version(name)}" for name in ("torch", *MEASURES)))
print("expected: nothing has changed")
seen = {name: changed(measure) for name, measure in MEASURES.items()}
for name, found in seen.items():
    print(f"{name}: changed: {', '.join(sorted(found)) or 'nothing'}")
if seen != EXPECTED:
    sys.exit("the behaviour has changed")
EOF
