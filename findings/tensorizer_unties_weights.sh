#!/usr/bin/env bash
# Guess: TensorDeserializer.load_into_module fills a module's parameters, as load_state_dict
# does: what is one parameter stays one, and an optimizer of them goes on working.
#
# Seen: It puts new parameters into the module. A weight that two layers shared is two
# weights from then on, which training or a patch of one moves apart, and an optimizer made
# before trains nothing: it has parameters that the module no longer has.
#
# Versions: tensorizer 2.12.1, torch 2.14.1, Python 3.11.
#
# Why it matters: A patch is a list of parameters and their changes. Made on a network with tied
# weights it means one change at two places; applied to the network as loaded it is made at one.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install --quiet torch==2.14.1 tensorizer==2.12.1
cd "$folder"
venv/bin/python - <<'EOF'
import sys
from importlib.metadata import version

import torch
from tensorizer import TensorDeserializer, TensorSerializer
from torch import nn


class Tied(nn.Module):
    def __init__(self):
        super().__init__()
        self.embedding = nn.Embedding(10, 4)
        self.head = nn.Linear(4, 10, bias=False)
        self.head.weight = self.embedding.weight

    def forward(self, words):
        return self.head(self.embedding(words))


def with_tensorizer(network):
    TensorDeserializer("network.tensors", device="cpu").load_into_module(network)


def with_torch(network):
    network.load_state_dict(saved.state_dict())


def after(load):
    """Whether the weight is still one, how many parameters there are, and whether an optimizer still trains it."""
    network = Tied()
    optimizer = torch.optim.SGD(network.parameters(), lr=1.0)
    load(network)
    before = network.head.weight.detach().clone()
    network(torch.tensor([1])).sum().backward()
    optimizer.step()
    count = sum(parameter.numel() for parameter in network.parameters())
    return network.head.weight is network.embedding.weight, count, not torch.equal(before, network.head.weight)


saved = Tied()
serializer = TensorSerializer("network.tensors")
serializer.write_module(saved)
serializer.close()
guess, seen = after(with_torch), after(with_tensorizer)
print(*(f"{name} {version(name)}" for name in ("tensorizer", "torch")))
print("expected: tied {}, {} parameters, the optimizer trains it {}".format(*guess))
print("seen:     tied {}, {} parameters, the optimizer trains it {}".format(*seen))
if seen == guess:
    sys.exit("the behaviour has changed")
if (guess, seen) != ((True, 40, True), (False, 80, False)):
    sys.exit("neither: this is another matter")
EOF
