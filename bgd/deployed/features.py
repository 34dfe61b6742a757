"""Features of many inputs, computed once and kept on disk: what is read back is compared with its checksum."""

import hashlib
import warnings
from collections.abc import Iterable
from pathlib import Path

import torch

from bgd.patch.container import packed, read_header, read_rows
from bgd.patch.file import put
from bgd.patch.parts import PatchError, bits

FEATURES = "features"


def key_of(files: Iterable[Path], raw: torch.Tensor, *words: str) -> str:
    """Return the SHA-256 of all that features depend on.

    Args:
        files: The model.
        raw: The inputs (N, ...).
        *words: What else may change them: the layer, the runtime's version, its providers.
    """
    digest = hashlib.sha256(repr((raw.dtype, tuple(raw.shape), words)).encode())
    for path in files:
        with path.open("rb") as file:
            digest.update(hashlib.file_digest(file, "sha256").digest())
    digest.update(raw.contiguous().view(-1).view(torch.uint8).numpy().data)
    return digest.hexdigest()


def write(path: Path, features: torch.Tensor) -> None:
    """Keep features (N, D): whole or not at all."""
    path.parent.mkdir(parents=True, exist_ok=True)
    about = {"shape": ",".join(map(str, features.shape)), "sha256": _digest(features)}
    put(path, packed({FEATURES: features.reshape(-1)}, about), overwrite=True)


def read(path: Path) -> torch.Tensor | None:
    """Return the features (N, D) that a file keeps; None, with a warning, where it is damaged, or is not there."""
    if not path.exists():
        return None
    try:
        about, entries, start = read_header(content := path.read_bytes())
        features = read_rows(content, entries, start)[FEATURES]
        if _digest(features) != about["sha256"]:
            raise PatchError("its checksum is another")
        return features.view([int(size) for size in about["shape"].split(",")])
    except (PatchError, KeyError, ValueError, RuntimeError) as error:
        damaged(path, str(error))
        return None


def damaged(path: Path, reason: str) -> None:
    """Warn that kept features cannot be used."""
    warnings.warn(f"the features kept in {path} are computed anew: {reason}", stacklevel=2)


def _digest(features: torch.Tensor) -> str:
    return hashlib.sha256(bits(features.contiguous().view(-1)).numpy().data).hexdigest()
