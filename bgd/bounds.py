"""How many of some inputs a bound allows: one that counts them, or a share of all."""

import math
from operator import index
from typing import Any, SupportsIndex

from bgd.errors import ConfigError


def allowed(key: str, bound: Any, inputs: int, counts: bool = False) -> int:
    """Return the most inputs that a bound allows.

    Args:
        key: What the bound is called.
        bound: A share of all, in [0, 1]; where `counts`, a whole number counts them.
        inputs: How many there are.
        counts: Whether the bound may be a count.

    Raises:
        ConfigError: The bound is out of range.
    """
    truth = isinstance(bound, bool)
    if counts and isinstance(bound, SupportsIndex) and not truth and index(bound) >= 0:
        return index(bound)
    if truth or not isinstance(bound, int | float) or not 0 <= bound <= 1:
        count = "a count of inputs such as 3, or " if counts else ""
        raise ConfigError(f"{key}={bound!r}: must be {count}a share of the inputs in [0, 1], such as 0.01")
    most = math.floor(bound * inputs)
    return most + ((most + 1) / inputs <= bound)  # 0.29 of 100 are 29, and 0.29 * 100 is below that
