"""What is refused before a change is looked for: an input that nothing can be judged by, a contradiction."""

import torch

from bgd.knowledge import Knowledge
from bgd.methods.sample import SampleError
from bgd.outputs import InputError


def refuse_infinite(x: torch.Tensor, logits: torch.Tensor) -> None:
    """Refuse an input for which a network, as it is, gives logits (1, C) that are not all finite.

    Raises:
        SampleError: It says whether the input is.
    """
    if torch.isfinite(logits).all():
        return
    first = int((~torch.isfinite(logits[0])).nonzero()[0])
    sound = not x.is_floating_point() or bool(torch.isfinite(x).all())
    raise SampleError(
        f"the model's output for class {first} is {logits[0, first].item()}, and no change can be judged by that; the "
        f"input itself is {'finite' if sound else 'not finite'}"
    )


def refuse_kept(x: torch.Tensor, knowledge: Knowledge) -> None:
    """Refuse a keep-set that holds the input (1, ...) itself: its class cannot change and stay what it is.

    Raises:
        InputError: Names its place in the keep-set.
    """
    place = None if knowledge.keep_images is None else place_of(x, knowledge.keep_images())
    if place is not None:
        raise InputError(
            f"keep: its input {place} is the sample itself, whose class cannot both change and stay: take it out"
        )


def place_of(x: torch.Tensor, images: torch.Tensor) -> int | None:
    """Return the number of the first of some images (N, ...) that equals an input (1, ...); None for none."""
    if images.shape[1:] != x.shape[1:] or not x.numel():
        return None
    own, rows = x.to(images.device).reshape(-1), images.reshape(len(images), -1)
    at = int(own.double().abs().argmax())  # where few others have the same: on a background all have
    alike = (rows[:, at] == own[at]).nonzero().flatten()
    same = alike[(rows[alike] == own).all(1)]
    return int(same[0]) if len(same) else None
