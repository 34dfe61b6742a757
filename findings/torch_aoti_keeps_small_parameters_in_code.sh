#!/usr/bin/env bash
# Guess: a package that AOTInductor makes of a network has each parameter as a constant, which
# load_constants replaces: a corrected state dict is put into the deployed package.
#
# Seen: A vector of at most 8 numbers, such as the bias of the last layer for 8 classes or
# fewer, is written into the compiled code as literals. get_constant_fqns leaves it out,
# load_constants with the whole state dict raises for it, and with the constants that are
# listed, even with check_full_update=True, the old bias stays, without a word. Compiled with
# always_keep_tensor_constants, all of them are constants.
#
# Versions: torch 2.14.1, Python 3.11; needs a C++ compiler.
#
# Why it matters: The last layer's bias is where the smallest corrections are made, one to ten
# numbers, and a package is updated so that nobody has to compile again.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install --quiet torch==2.14.1
cat > "$folder/script.py" <<'EOF'
import copy
import sys
from importlib.metadata import version

import torch
from torch import nn

inductor = torch._inductor
torch.manual_seed(0)
inputs = torch.randn(2, 4)


def updated(classes, **options):
    """Compile a network, correct its last bias, and put that into the package: as a whole, then what is listed."""
    network = nn.Sequential(nn.Linear(4, 2, bias=False), nn.Linear(2, 2, bias=False), nn.ReLU(), nn.Linear(2, classes)).eval()
    program = torch.export.export(network, (inputs,))
    path = inductor.aoti_compile_and_package(program, package_path=f"{classes}.pt2", inductor_configs=dict(options))
    package = inductor.aoti_load_package(path)
    corrected = copy.deepcopy(network)
    with torch.no_grad():
        corrected[3].bias.add_(1.0)
    state, names = corrected.state_dict(), package.get_constant_fqns()
    try:
        package.load_constants(state, check_full_update=True)
        whole = "taken"
    except RuntimeError as error:
        whole = str(error).splitlines()[0]
    package.load_constants({name: state[name] for name in names}, check_full_update=True)
    with torch.no_grad():
        off = float((package(inputs) - corrected(inputs)).abs().max())
    print(f"{classes} classes, {options}: constants {sorted(names)}; the whole state dict: {whole}; off by {off:.2g}")
    return "3.bias" in names, whole == "taken", off < 1e-4


print("torch", version("torch"))
print("expected: 3.bias among the constants, the whole state dict taken, off by 0")
seen = [updated(9), updated(8), updated(8, always_keep_tensor_constants=True)]
if seen[1] == (True, True, True):
    sys.exit("the behaviour has changed")
if seen != [(True, True, True), (False, False, False), (True, True, True)]:
    sys.exit("neither: this is another matter")
EOF
cd "$folder" && TORCHINDUCTOR_CACHE_DIR="$folder/cache" venv/bin/python script.py
