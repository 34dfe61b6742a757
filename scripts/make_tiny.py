"""Write the tiny subset of MNIST that tests and smoke use, from the full data set.

    python scripts/make_tiny.py data tests/data/tiny

Prints the SHA-256 sums that `experiments.mnist.data.SOURCES["tiny"]` holds.
"""

import gzip
import hashlib
import sys
from pathlib import Path

from experiments.mnist.data import idx_images, idx_labels, read
from experiments.mnist.sources import TEST_IMAGES, TEST_LABELS, TRAIN_IMAGES, TRAIN_LABELS

TRAIN, TEST = 1000, 400


def main(root: Path, target: Path) -> None:
    """Read MNIST from `root`, write the first images of each split to `target`."""
    train, test = read("mnist", root)
    tiny = {
        TRAIN_IMAGES: idx_images(train.images[:TRAIN]),
        TRAIN_LABELS: idx_labels(train.labels[:TRAIN]),
        TEST_IMAGES: idx_images(test.images[:TEST]),
        TEST_LABELS: idx_labels(test.labels[:TEST]),
    }
    folder = target / "MNIST" / "raw"
    folder.mkdir(parents=True, exist_ok=True)
    for file, content in tiny.items():
        (folder / f"{file}.gz").write_bytes(gzip.compress(content, 9, mtime=0))
        print(file, hashlib.sha256(content).hexdigest())


if __name__ == "__main__":
    main(Path(sys.argv[1]), Path(sys.argv[2]))
