"""Values that several processes keep together: each is made once, by the first that needs it, and mapped by all.

A mapping is private: what a process writes to, it has for itself, page by page; the others never see it.
"""

import fcntl
from collections.abc import Callable
from pathlib import Path

import numpy as np
import torch

LEAST = 2**29


class Shelf:
    """A folder of tensors. Whoever made it removes it.

    Args:
        folder: For one network and one set of images; made where it is not there.
        least: Smallest tensor, in bytes, worth sharing; each process makes smaller ones for itself.
    """

    def __init__(self, folder: Path, least: int = LEAST) -> None:
        self._folder, self.least = folder, least

    def get(self, name: str, make: Callable[[], torch.Tensor]) -> torch.Tensor:
        """Return a tensor on the CPU, and `make` it where no process has made it yet.

        Args:
            name: Of the tensor.
            make: Gives it, contiguous. Processes that need the same one meanwhile wait.
        """
        self._folder.mkdir(parents=True, exist_ok=True)
        path = self._folder / f"{name}.npy"
        with (self._folder / f"{name}.lock").open("w") as lock:
            fcntl.flock(lock, fcntl.LOCK_EX)  # given back with the file, also by a process that is killed
            if not path.exists():
                partial = path.with_suffix(".partial")
                with partial.open("wb") as file:
                    np.lib.format.write_array(file, make().numpy())
                partial.replace(path)
        return torch.from_numpy(np.load(path, mmap_mode="c"))
