#!/usr/bin/env bash
# Guess: an operator that is given a loss function is of this loss. KFAC is exact for one
# linear layer and one sample, so it is the Hessian there; or a loss that it does not
# know is refused, as one with soft labels is.
#
# Seen: KFACLinearOperator, EKFACLinearOperator and FisherMCLinearOperator take
# CrossEntropyLoss with weight= or ignore_index=, and BCEWithLogitsLoss with pos_weight=,
# and leave these out, without a word: samples that are ignored count as others do.
# HessianLinearOperator and GGNLinearOperator are right.
#
# Versions: curvlinops-for-pytorch 3.0.1, backpack-for-pytorch 1.7.1, torch 2.14.1,
# Python 3.11.
#
# Why it matters: where a classifier was trained with class weights, the curvature that
# prices a correction is of another loss, most of all for the rare classes. Compare a
# trace with the one of the GGN once per loss.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install --quiet torch==2.14.1 numpy==2.4.6 backpack-for-pytorch==1.7.1 \
    curvlinops-for-pytorch==3.0.1
"$folder/venv/bin/python" -W ignore - <<'EOF'
import sys
from importlib.metadata import version

import torch
from curvlinops import (
    EKFACLinearOperator,
    FisherMCLinearOperator,
    GGNLinearOperator,
    HessianLinearOperator,
    KFACLinearOperator,
)
from torch import nn

torch.manual_seed(0)
layer, x = nn.Linear(4, 3, bias=False), torch.randn(1, 4)
weight = torch.tensor([0.2, 1.0, 3.0])
CASES = {
    "cross entropy": (nn.CrossEntropyLoss(reduction="sum"), torch.tensor([0])),
    "weight=0.2": (nn.CrossEntropyLoss(weight, reduction="sum"), torch.tensor([0])),
    "ignored": (nn.CrossEntropyLoss(ignore_index=0, reduction="sum"), torch.tensor([0])),
    "binary": (nn.BCEWithLogitsLoss(reduction="sum"), torch.ones(1, 3)),
    "pos_weight": (nn.BCEWithLogitsLoss(pos_weight=weight, reduction="sum"), torch.ones(1, 3)),
}
OPERATORS = {
    "Hessian": (HessianLinearOperator, {}),
    "GGN": (GGNLinearOperator, {}),
    "KFAC": (KFACLinearOperator, {"fisher_type": "type-2"}),
    "EKFAC": (EKFACLinearOperator, {"fisher_type": "type-2"}),
    "Fisher": (FisherMCLinearOperator, {"mc_samples": 5_000}),
}


def trace(kind: str, case: str) -> float:
    (operator, options), (loss, y) = OPERATORS[kind], CASES[case]
    made = operator(layer, loss, list(layer.parameters()), [(x, y)], **options)
    return (made @ torch.eye(12)).trace().item()


seen = {case: {kind: trace(kind, case) for kind in OPERATORS} for case in CASES}
print("curvlinops", version("curvlinops-for-pytorch"), "torch", torch.__version__)
print("traces for one linear layer and one sample; expected: those of the Hessian in each row")
for case, row in seen.items():
    print(f"seen: {case:14s}", "  ".join(f"{kind} {value:.3f}" for kind, value in row.items()))


def same(case: str, kind: str, other: str) -> bool:
    """Whether an operator's trace is the Hessian's of a case, to 10 %."""
    return abs(seen[case][kind] - seen[other]["Hessian"]) < 0.1 * seen[other]["Hessian"] + 1e-6


without = {case: "binary" if case in ("binary", "pos_weight") else "cross entropy" for case in CASES}
described = all(
    same(case, kind, case if kind == "GGN" else plain)
    for case, plain in without.items()
    for kind in OPERATORS
    if kind != "Hessian"
)
if not described:
    sys.exit("the behaviour has changed")
EOF
