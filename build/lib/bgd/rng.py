"""Named random streams: the only module that seeds anything.

A stream is addressed by what it is for, `stream(seed, "method", sample_index)`, never by how many draws came
before it. Sample 7 alone, sample 7 after samples 0 to 6 and sample 7 in another worker see the same numbers.
Streams are drawn on the CPU, so the device does not change them; dropout alone draws where the network is.
"""

import contextlib
import hashlib
import json
from collections.abc import Iterator

import numpy as np


def _entropy(seed: int, *name: str | int) -> int:
    key = json.dumps([seed, *name], separators=(",", ":"))
    return int.from_bytes(hashlib.sha256(key.encode()).digest()[:16], "big")


def stream(seed: int, *name: str | int) -> np.random.Generator:
    """Return the random stream with this name.

    Args:
        seed: The seed of the run.
        *name: What the stream is for, for example `"method", 17`.
    """
    return np.random.default_rng(_entropy(seed, *name))


@contextlib.contextmanager
def torch_seeded(generator: np.random.Generator) -> Iterator[None]:
    """Seed torch's generators from `generator` inside the block and restore them afterwards.

    For code that draws from torch's global generator and takes no other: weight initialisation and dropout.
    """
    import torch  # here, since the report draws its bootstraps from streams and never loads torch

    with torch.random.fork_rng(devices=range(torch.cuda.device_count())):
        torch.manual_seed(int(generator.integers(2**63)))
        yield
