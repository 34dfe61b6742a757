#!/usr/bin/env bash
# Guess: a LoRA adapter that PEFT saves has all that tuning changed: loaded onto the same base
# network it gives the tuned network, and disable_adapter() gives the base network back.
#
# Seen: Batch normalisation goes on averaging while the adapter is trained. Its statistics are not
# saved, so the adapter as loaded gives other outputs than as trained; and they stay with the
# base network, so that with the adapter disabled its outputs are others, too. PEFT's page on
# troubleshooting says that they are not saved; with the layers in modules_to_save, or their
# statistics frozen, both hold.
#
# Versions: peft 0.21.2, transformers 5.24.0, accelerate 1.15.0, torch 2.14.1, Python 3.11.
#
# Why it matters: A low-rank adapter is a patch: small, to be shipped alone and taken back. Of an
# image classifier with batch normalisation it is neither unless somebody thought of that.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install --quiet torch==2.14.1 peft==0.21.2 transformers==5.24.0 accelerate==1.15.0
cd "$folder"
venv/bin/python - <<'EOF'
import copy
import sys
from importlib.metadata import version

import torch
from peft import LoraConfig, PeftModel, get_peft_model
from torch import nn


def tuned(frozen=False, **options):
    """Tune an adapter; how far it is off as loaded, and the base network with it disabled."""
    torch.manual_seed(0)
    base = nn.Sequential(
        nn.Conv2d(1, 4, 3), nn.BatchNorm2d(4), nn.ReLU(), nn.Flatten(), nn.Linear(4 * 36, 10)
    )
    images, labels = torch.randn(64, 1, 8, 8) + 2, torch.randint(0, 10, (64,))
    network = get_peft_model(copy.deepcopy(base), LoraConfig(target_modules=["0", "4"], r=2, **options))
    network.train()
    if frozen:
        for module in network.modules():
            if isinstance(module, nn.BatchNorm2d):
                module.eval()
    optimizer = torch.optim.SGD([each for each in network.parameters() if each.requires_grad], lr=0.1)
    for _ in range(20):
        optimizer.zero_grad()
        nn.functional.cross_entropy(network(images), labels).backward()
        optimizer.step()
    network.save_pretrained("adapter")
    loaded = PeftModel.from_pretrained(copy.deepcopy(base), "adapter").eval()
    network.eval()
    base.eval()
    with torch.no_grad():
        off = float((loaded(images) - network(images)).abs().max())
        with network.disable_adapter():
            return off, float((network(images) - base(images)).abs().max())


print(*(f"{name} {version(name)}" for name in ("peft", "transformers", "accelerate", "torch")))
print("expected: off by 0 as loaded, by 0 with the adapter disabled")
seen = {"as it is": tuned(), "frozen": tuned(frozen=True), "modules_to_save": tuned(modules_to_save=["1"])}
for name, (loaded, disabled) in seen.items():
    print(f"{name}: off by {loaded:.2g} as loaded, {disabled:.2g} disabled")
if max(seen["as it is"]) < 1e-4:
    sys.exit("the behaviour has changed")
if min(seen["as it is"]) < 0.1 or max(*seen["frozen"], *seen["modules_to_save"]) > 1e-4:
    sys.exit("neither: this is another matter")
EOF
