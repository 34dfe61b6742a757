"""Networks of every kind of parameter, patches of them, and how to compare both bit for bit."""

import torch
from oracles import flat
from torch import nn

from bgd.parameters import ParameterSpace
from bgd.patch import Patch

KINDS = [torch.float16, torch.bfloat16, torch.float32, torch.float64]
SPECIAL = [float("nan"), float("inf"), float("-inf"), 0.0, -0.0]
SEVERAL = 8  # seeds


def odd_model(stream, kind):
    """Parameters of none to four dimensions, some of them non-contiguous or frozen, some values no numbers."""
    model = nn.Module()
    for at in range(int(stream.integers(1, 5))):
        shape = tuple(stream.integers(1, 5, size=int(stream.integers(0, 5))).tolist())
        values = torch.from_numpy(stream.standard_normal(shape)).to(kind).reshape(shape)
        values.view(-1)[:: int(stream.integers(1, 9))] = SPECIAL[at]
        if stream.random() < 0.5:
            values = values.mT.clone(memory_format=torch.contiguous_format).mT if len(shape) > 1 else values
        model.register_module(f"part{at}", nn.ParameterDict({"weight": nn.Parameter(values)}))
        model.get_submodule(f"part{at}").weight.requires_grad_(bool(stream.random() < 0.8))
    return model


def odd_patch(model, stream, near=None):
    """Some parameters, half of the places of the patch `near` among them, with values that may be no numbers."""
    values = flat(model)
    count = int(stream.integers(1, len(values) + 1))
    chosen = set(stream.choice(len(values), count, replace=False).tolist())
    if near is not None:
        chosen |= set(near.indices.tolist()[::2])
    new = {index: float(stream.standard_normal()) for index in sorted(chosen)}
    new |= {index: SPECIAL[int(stream.integers(5))] for index in new if stream.random() < 0.3}
    return patch_of(model, new)


def patch_of(model, new):
    """The patch that gives some parameters, by flat index, new values."""
    index, old = torch.tensor(sorted(new)), flat(model)
    values = torch.tensor([new[at] for at in sorted(new)]).to(old.dtype)
    kept = [at for at in range(len(index)) if bytes_of(old[index[at]]) != bytes_of(values[at])]
    return Patch(ParameterSpace.of(model), index[kept], old[index[kept]].clone(), values[kept])


def bytes_of(tensor):
    return tensor.detach().contiguous().reshape(-1).view(torch.uint8).numpy().tobytes()


def state(model):
    """Every tensor's bytes, by name."""
    return {name: bytes_of(tensor) for name, tensor in model.state_dict().items()}


def same(one, other):
    """Whether two patches are the same, bit for bit, whatever their spaces are called."""
    return (
        one.tensors == other.tensors
        and torch.equal(one.indices, other.indices)
        and one.new.dtype == other.new.dtype
        and bytes_of(one.old) == bytes_of(other.old)
        and bytes_of(one.new) == bytes_of(other.new)
    )
