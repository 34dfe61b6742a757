"""What a pass must leave as it is, for a network to be corrected: looked at once, before the first correction."""

import torch

from bgd.flat import FlatNetwork, NetworkError
from bgd.outputs import CLOSE, check_alone
from bgd.patch import bits

# Where other parameters go up to, row by row: first zeros alone; then a slope, for zeros may be what a last layer has.
OTHERS = (0.0, 0.01)


@torch.no_grad()
def check_steady(network: FlatNetwork, original: torch.Tensor, image: torch.Tensor) -> None:
    """Pass an image through a network a few times; what a pass changed is put back before an error is raised.

    Args:
        network: The private copy, in eval mode. It is as before at the end.
        original: Its parameters (|W|,), in other memory.
        image: One input (1, ...).

    Raises:
        NetworkError: A pass writes over its input, changes a buffer or a parameter, gives other outputs each time or
            beside other inputs, or gives outputs that do not follow the copy's own parameters.
    """
    passed = image.clone()
    buffers = {name: value.clone() for name, value in network.module.named_buffers()}
    first = network.module(passed)
    if not isinstance(first, torch.Tensor) or first.dim() != 2:
        return  # no logits: said where they are read
    first = first.clone()
    written = not torch.equal(bits(passed), bits(image)) if image.is_floating_point() else False
    moved = [name for name, value in network.module.named_buffers() if not _same(value, buffers[name])]
    changed = not torch.equal(bits(network.flat), bits(original))
    for name, value in network.module.named_buffers():
        value.copy_(buffers[name])
    if changed:
        network.flat.copy_(original)
    if written:
        raise NetworkError("the network writes over its input: have forward copy it first, x = x.clone()")
    if moved:
        raise NetworkError(f"the network changes its buffer {moved[0]} in eval mode: freeze it there")
    if changed:
        raise NetworkError(
            "the network changes its own parameters when it runs: a patch could not be told from that"
        )
    if not torch.allclose(first, network.module(image), rtol=CLOSE, atol=CLOSE, equal_nan=True):
        raise NetworkError("the network gives other outputs for one image from pass to pass in eval mode")
    check_alone(network.module, first, torch.cat([image, _another(image)]))
    if original.any() and all(torch.equal(first, _elsewhere(network, top, image)) for top in OTHERS):
        raise NetworkError(
            "the outputs do not follow the parameters of a copy of the network: forward was replaced by a function "
            "that holds the network itself; define it in the class"
        )


def _elsewhere(network: FlatNetwork, top: float, image: torch.Tensor) -> torch.Tensor:
    """Return the outputs of a network with other parameters, from 0 to `top` row by row, which take no memory."""
    for parameter in network.module.parameters():
        rows = parameter.shape[0] if parameter.dim() else 1
        slope = torch.linspace(0, top, rows, device=parameter.device).to(parameter.dtype)
        column = slope.view(parameter.shape[:1] + (1,) * (parameter.dim() - 1))
        parameter.data = column.expand(parameter.shape)
    try:
        outputs: torch.Tensor = network.module(image)
    finally:
        network.link()
    return outputs


def _another(image: torch.Tensor) -> torch.Tensor:
    """Return an input that differs, in sum and size too, and holds no number that a network could not take."""
    turned = image.flip(tuple(range(1, image.dim())))
    return 2 * turned if turned.is_floating_point() else turned


def _same(now: torch.Tensor, before: torch.Tensor) -> bool:
    return now.shape == before.shape and torch.equal(now, before)
