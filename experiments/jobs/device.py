"""Which device runs are made on, found out without torch where there is nothing to find."""

import sys
from pathlib import Path

from bgd.errors import ConfigError

DEVICES = ("auto", "cpu", "cuda")
DRIVERS = (
    "/dev/nvidiactl",
    "/dev/dxg",
    "/dev/kfd",
)  # of CUDA, of CUDA in WSL, of ROCm: torch calls both cuda


def choose_device(name: str) -> str:
    """Find the device for `auto`, `cpu` or `cuda`.

    Raises:
        ConfigError: It is none of them, or there is no such device here.
    """
    if name not in DEVICES:
        raise ConfigError(f"device={name!r}: must be one of {', '.join(DEVICES)}")
    if name == "cpu" or (name == "auto" and not _may_have_a_card()):
        return "cpu"
    import torch  # takes seconds

    if name == "cuda" and not torch.cuda.is_available():
        raise ConfigError("device='cuda': there is no such device here; use device=cpu")
    return "cuda" if torch.cuda.is_available() else "cpu"


def _may_have_a_card() -> bool:
    """Return whether torch has to be asked: it is there anyway, or a driver's file is, or this is no Linux."""
    return "torch" in sys.modules or sys.platform != "linux" or any(Path(name).exists() for name in DRIVERS)
