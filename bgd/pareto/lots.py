"""Inputs divided between those that may choose a fix and those that show its effects."""

import hashlib
from dataclasses import dataclass

import torch

from bgd import rng
from bgd.errors import ConfigError
from bgd.outputs import InputError, check_inputs

Inputs = torch.Tensor | tuple[torch.Tensor, torch.Tensor]


@dataclass(frozen=True, eq=False)
class Lots:
    """Inputs divided.

    Attributes:
        keep: Those for methods that know a keep-set (N, ...); None for none.
        held_out: Those to see the effects on (M, ...).
        labels: Their classes (M,); None where nobody gave them.
        said: Where they come from, in words.
    """

    keep: torch.Tensor | None
    held_out: torch.Tensor
    labels: torch.Tensor | None
    said: str


def divided(
    x: torch.Tensor, keep: Inputs | None, held_out: Inputs | None, training: torch.Tensor | None, seed: int
) -> Lots:
    """Divide inputs into a keep-set and held-out ones that are none of those that choose a fix.

    Args:
        x: The inputs that are to be corrected: they go into neither.
        keep: For the keep-set, alone or with labels.
        held_out: To hold out, likewise; None for half of `keep`.
        training: Training images.
        seed: Of the shuffle that halves `keep`.

    Raises:
        ConfigError: Nothing is left to hold out.
        InputError: The inputs are none.
    """
    kept, kept_labels = _pair(keep, "keep")
    seen, labels = _pair(held_out, "held_out")
    said = f"The keep-set has {0 if kept is None else len(kept):,} inputs."
    if seen is None:
        if kept is None:
            raise ConfigError(
                "keep and held_out are missing: the effects are seen on inputs that are given as one of them"
            )
        order = torch.from_numpy(rng.stream(seed, "frontier").permutation(len(kept))).to(kept.device)
        first, second = order[: len(order) // 2], order[len(order) // 2 :]
        seen, labels = kept[second], None if kept_labels is None else kept_labels[second]
        kept = kept[first]
        said = (
            f"Of {len(order):,} inputs a shuffle with seed {seed} gives {len(first):,} to the keep-set and holds "
            f"{len(second):,} out."
        )
    if kept is not None:
        kept = kept[_strange(kept, _digests(x))]
    used: set[bytes] = set().union(*(_digests(each) for each in (x, kept, training) if each is not None))
    fresh = _strange(seen, used)
    if not len(fresh):
        raise ConfigError("every held-out input is also among x, the keep-set or the training data")
    said += f" Effects are those on {len(fresh):,} held-out inputs, none of which chose a fix"
    left = len(seen) - len(fresh)
    said += f"; {left:,} that might have are left out." if left else "."
    return Lots(
        kept if kept is not None and len(kept) else None,
        seen[fresh],
        None if labels is None else labels[fresh],
        said,
    )


def _pair(inputs: Inputs | None, where: str) -> tuple[torch.Tensor | None, torch.Tensor | None]:
    """Return inputs and their labels, None for what there is not."""
    if inputs is None:
        return None, None
    if isinstance(inputs, tuple | list):
        if len(inputs) != 2:
            raise InputError(
                f"{where} has {len(inputs)} parts: inputs, or a pair (inputs, labels), is wanted"
            )
        check_inputs(*inputs, where)
        return inputs[0], inputs[1]
    check_inputs(inputs, None, where)
    return inputs, None


def _digests(inputs: torch.Tensor) -> set[bytes]:
    return set(map(_digest, inputs))


def _strange(inputs: torch.Tensor, used: set[bytes]) -> torch.Tensor:
    """Return the numbers of the inputs that are not among those used (k,)."""
    places = [place for place, each in enumerate(inputs) if _digest(each) not in used]
    return torch.tensor(places, dtype=torch.int64, device=inputs.device)


def _digest(value: torch.Tensor) -> bytes:
    """Return a digest of an input's bytes."""
    plain = value.detach().cpu().contiguous().reshape(-1).view(torch.uint8)
    return hashlib.blake2b(plain.numpy().data, digest_size=16).digest()
