"""The arithmetic of a run: float32 in full and, on a card, the same bits every time.

Torch keeps two sets of switches, `allow_tf32` with `set_float32_matmul_precision` and the newer `fp32_precision`. Each
writes to the other in part, and what they say together can be a contradiction that torch refuses to read. Other
libraries set either, whenever they like. So a run sets both, the older ones first, and looks at them after every row.
"""

import os
from collections.abc import Iterator
from typing import Any, TypeVar

import torch

from bgd.errors import ConfigError

FULL = "ieee"
ROUNDED = {  # what may round its factors to TF32 or bfloat16, on a card or on the CPU
    "torch.backends.cuda.matmul": torch.backends.cuda.matmul,
    "torch.backends.cudnn.conv": torch.backends.cudnn.conv,  # type: ignore[attr-defined]
    "torch.backends.cudnn.rnn": torch.backends.cudnn.rnn,
    "torch.backends.mkldnn.matmul": torch.backends.mkldnn.matmul,  # type: ignore[attr-defined]
    "torch.backends.mkldnn.conv": torch.backends.mkldnn.conv,  # type: ignore[attr-defined]
}
WORKSPACE = "CUBLAS_WORKSPACE_CONFIG"
WORKSPACES = (":4096:8", ":16:8")  # with which cuBLAS gives the same bits every time

T = TypeVar("T")


class ArithmeticChanged(RuntimeError):
    """Something else in the process changed how a run computes."""


def settle(device: str) -> None:
    """Make this process compute in full float32 and, on a card, by deterministic algorithms alone.

    On the CPU everything is deterministic with one thread, and those algorithms would only take longer.

    Args:
        device: `cpu` or `cuda`.

    Raises:
        ConfigError: cuBLAS is set up, or has started, in a way that may give other bits the next time.
    """
    torch.set_float32_matmul_precision("highest")
    torch.backends.cudnn.allow_tf32 = False
    for switches in ROUNDED.values():
        switches.fp32_precision = FULL
    if device == "cuda":
        _settle_workspace()
        torch.backends.cudnn.benchmark = False
        torch.backends.cudnn.deterministic = True
        torch.use_deterministic_algorithms(True)


def _settle_workspace() -> None:
    """Set what cuBLAS reads once, when it starts."""
    value = os.environ.get(WORKSPACE)
    if value in WORKSPACES:
        return
    if value is not None:
        raise ConfigError(f"{WORKSPACE}={value!r}: must be {' or '.join(WORKSPACES)}, or not set")
    if torch.cuda.is_initialized():
        raise ConfigError(
            f"CUDA has started without {WORKSPACE}: set it to {WORKSPACES[0]} before this process starts"
        )
    os.environ[WORKSPACE] = WORKSPACES[0]


def facts(device: str) -> dict[str, Any]:
    """Return how this process computes, for a run's header."""
    precisions = sorted({switches.fp32_precision for switches in ROUNDED.values()})
    found: dict[str, Any] = {
        "float32": ", ".join(precisions),
        "deterministic_algorithms": torch.are_deterministic_algorithms_enabled(),
    }
    if device == "cuda":
        found |= {"cuda": torch.version.cuda, "cudnn": torch.backends.cudnn.version()}
    return found


def unsettled(device: str) -> dict[str, Any]:
    """Return the switches that are no longer as `settle` has them, by name with their values."""
    wanted: dict[str, tuple[Any, Any]] = {
        f"{name}.fp32_precision": (switches.fp32_precision, FULL) for name, switches in ROUNDED.items()
    }
    if device == "cuda":
        warns = torch.is_deterministic_algorithms_warn_only_enabled()
        wanted |= {
            "torch.are_deterministic_algorithms_enabled()": (
                torch.are_deterministic_algorithms_enabled(),
                True,
            ),
            "torch.is_deterministic_algorithms_warn_only_enabled()": (warns, False),
            "torch.backends.cudnn.deterministic": (torch.backends.cudnn.deterministic, True),
            "torch.backends.cudnn.benchmark": (torch.backends.cudnn.benchmark, False),
        }
    return {name: value for name, (value, right) in wanted.items() if value != right}


def held(rows: Iterator[T], device: str) -> Iterator[T]:
    """Yield rows as they are made, each once it is certain that the arithmetic is still what `settle` made it.

    Raises:
        ArithmeticChanged: It is not; the row that was made meanwhile is not handed out.
    """
    for row in rows:
        other = unsettled(device)
        if other:
            named = ", ".join(f"{name} is {value!r}" for name, value in other.items())
            raise ArithmeticChanged(
                f"the arithmetic was changed while a run was under way: {named}; a method, or a library that it"
                " uses, has to leave these alone"
            )
        yield row
