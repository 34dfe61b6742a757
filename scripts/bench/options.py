"""The command line of the bench, checked."""

import argparse
import os
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from bgd.errors import nearest

PARTS = (
    "evaluation",
    "search",
    "small",
    "descents",
    "large",
    "methods",
    "growth",
    "commands",
    "against",
)
ALONE = "against"  # hours: only where it is asked for, then without others
ASKED = (ALONE, "commands")  # half an hour and more
ROWS = ("search", "in_a_row", "least_harm", "dense", "descents", "start", "profile")  # of `against`
NETWORKS = ("mlp", "alexnet")
FULL = 64_000  # images: all of D and the test set, as in the thesis
IMAGES = {"mlp": FULL, "alexnet": 2_000}  # by default: some minutes on two cores
AGAINST = "782a196"  # before large networks were looked at
SAMPLES = {"mlp": 40, "alexnet": 6}
GIB = 2**30


@dataclass(frozen=True)
class Options:
    """What to measure, and how much of it.

    Attributes:
        images: Training and test images together, by network.
        samples: Misclassified samples that each method corrects, by network.
        threads: Of the evaluation; a search is measured on one, as `make reproduce` runs it.
        parts: Some of `PARTS`, in that order.
        networks: Some of `NETWORKS`.
        memory: Bytes that the incremental evaluator may keep.
        data: Folder of MNIST.
        output: Folder of `bases/` and `bench/`.
        against: Commit that `large` and `against` measure beside this one.
        corrections: Of each network of `large`.
        of_each: Samples of each run of `against`; None for as many as its targets are for.
        repeats: Of each process of `against` and `commands`.
        rows: Some of `ROWS`.
    """

    images: dict[str, int]
    samples: dict[str, int]
    threads: int
    parts: tuple[str, ...]
    networks: tuple[str, ...]
    memory: int
    data: Path
    output: Path
    against: str = AGAINST
    corrections: int = 10
    of_each: int | None = None
    repeats: int = 5
    rows: tuple[str, ...] = ROWS

    @property
    def folder(self) -> Path:
        """Where the files go."""
        return self.output / "bench"

    def plan(self) -> str:
        """Return in a line what will be measured."""
        each = ", ".join(
            f"{n} on {self.images[n]:,} images, {self.samples[n]} samples" for n in self.networks
        )
        return f"plan: {', '.join(self.parts)}; {each}; {self.threads} thread(s); json to {self.folder}"


def parse(arguments: Sequence[str] | None = None) -> Options:
    """Read the command line; what is wrong with it is said with the nearest valid choice."""
    parser = _parser()
    given = parser.parse_args(arguments)
    for key in ("images", "samples", "threads", "memory", "repeats"):
        value = getattr(given, key)
        if value is not None and value < 1:
            parser.error(f"--{key} {value}: must be at least 1")
    if given.images is not None and given.images < 10:
        parser.error(f"--images {given.images}: must be at least 10, for training and test images")
    if given.full and given.images is not None:
        parser.error(f"--full is --images {FULL}: give one of them")
    usual = [part for part in PARTS if part not in ASKED] if given.against is None else [ALONE]
    parts = _chosen(parser, "parts", given.parts or ",".join(usual), PARTS)
    images = FULL if given.full else given.images
    return Options(
        images={name: images or IMAGES[name] for name in NETWORKS},
        samples={name: given.samples or SAMPLES[name] for name in NETWORKS},
        threads=given.threads or os.cpu_count() or 1,
        parts=parts,
        networks=_chosen(parser, "networks", given.networks, NETWORKS),
        memory=(given.memory or (16 if given.full else 6)) * GIB,
        data=given.data,
        output=given.output,
        against=given.against or AGAINST,
        corrections=given.samples or 10,
        of_each=given.samples,
        repeats=given.repeats,
        rows=_chosen(parser, "rows", given.rows, ROWS),
    )


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m scripts.bench",
        description="Every fast way beside the obvious one, in the same run.",
    )
    parser.add_argument("--images", type=int, help=f"of each network, training and test; default {IMAGES}")
    parser.add_argument(
        "--full",
        action="store_true",
        help=f"{FULL:,} images for AlexNet too: the targets' scale, about an hour",
    )
    parser.add_argument("--samples", type=int, help=f"that each method corrects; default {SAMPLES}")
    parser.add_argument("--threads", type=int, help="of the evaluation; default: all cores")
    parser.add_argument("--parts", help=f"some of {','.join(PARTS)}; default: all but {', '.join(ASKED)}")
    parser.add_argument("--networks", default=",".join(NETWORKS), help=f"some of {','.join(NETWORKS)}")
    parser.add_argument(
        "--memory", type=int, help="GiB that the incremental evaluator may keep; 6, 16 with --full"
    )
    parser.add_argument(
        "--against", help=f"a commit to run the same rows as this tree ({AGAINST}); also of --parts large"
    )
    parser.add_argument(
        "--repeats", type=int, default=5, help="of each process of --against and of commands; fewer: a look"
    )
    parser.add_argument("--rows", default=",".join(ROWS), help=f"of --against: some of {','.join(ROWS)}")
    parser.add_argument("--data", type=Path, default=Path(os.environ.get("BGD_DATA", "data")))
    parser.add_argument("--output", type=Path, default=Path(os.environ.get("BGD_OUTPUT", "outputs")))
    return parser


def _chosen(parser: argparse.ArgumentParser, key: str, given: str, known: Sequence[str]) -> tuple[str, ...]:
    names = [name for name in given.split(",") if name]
    for name in names:
        if name not in known:
            parser.error(f"--{key} {name!r}: there is no such thing; {nearest(name, known)}")
    if not names:
        parser.error(f"--{key}: choose some of {', '.join(known)}")
    return tuple(name for name in known if name in names)
