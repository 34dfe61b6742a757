"""Base networks from a folder of released files, each held to the SHA-256 that this repository lists for it.

Training N0 takes hours on a CPU, and its last bits depend on the machine: a released file spares the one and settles
the other. The list is of the format of `sha256sum`, so `sha256sum -c` in such a folder says the same.
"""

import logging
from collections.abc import Iterable, Mapping
from pathlib import Path

from bgd.errors import ConfigError
from experiments.mnist.errors import DataError
from experiments.records.files import sha256, write
from experiments.records.members import REFERENCE_RECORDS
from experiments.records.sums import SUMS, read_sums

log = logging.getLogger(__name__)

LISTED = REFERENCE_RECORDS / "bases"  # a folder with the list, and with those that are small
SMALL = (
    1_000_000  # bytes of weights that are committed beside the list at the most; the MLP's have 41 thousand
)


def bases_folder(name: str | Path) -> Path:
    """Return the folder that `bases_from` names.

    Raises:
        ConfigError: There is none.
    """
    path = Path(name)
    if not path.is_dir():
        raise ConfigError(f"bases_from={str(name)!r}: there is no such folder; leave it out to train each N0")
    return path


def weights_name(base_id: str) -> str:
    """Name the file of an N0's weights, in a folder of base networks and in a release."""
    return f"{base_id}.pt"


def facts_name(name: str) -> str:
    """Name the file of what is known of an N0, given that of its weights."""
    return str(Path(name).with_suffix(".json"))


def listed() -> Mapping[str, str]:
    """Read the SHA-256 of each released file, by name."""
    return read_sums(LISTED) or {}


def is_released(release: Path | None, base_id: str) -> bool:
    """Return whether a folder has a listed N0; whether it is the one listed is for `released` to find out."""
    name = weights_name(base_id)
    return release is not None and name in listed() and (release / name).is_file()


def released(release: Path, base_id: str) -> bytes | None:
    """Read the weights of an N0 from a folder; None, with a line that says why, where it has to be trained.

    Args:
        release: The folder.
        base_id: From `experiments.mnist.training.identity`.

    Raises:
        DataError: The file is not the one that is listed.
    """
    name = weights_name(base_id)
    wanted, path = listed().get(name), release / name
    if wanted is None or not path.is_file():
        why = f"{LISTED / SUMS} does not list it" if wanted is None else f"{path} is not there"
        log.info("N0 %s is trained: %s", base_id, why)
        return None
    content = path.read_bytes()
    found = sha256(content)
    if found != wanted:
        raise DataError(
            f"{path}: SHA-256 is {found}, {LISTED / SUMS} lists {wanted}; fetch it again, or leave bases_from out to"
            " train N0"
        )
    log.info("N0 %s is taken from %s", base_id, path)
    return content


def enlist(bases: Path, base_ids: Iterable[str]) -> Path:
    """Write the checksums of base networks that are to be released into the list, beside those that are there.

    Small ones, with what is known of them, come to lie beside it.

    Args:
        bases: Folder with the networks.
        base_ids: Which of them; those that are no longer there keep the line they have.
    """
    sums = dict(listed())
    for name in filter(lambda name: (bases / name).is_file(), map(weights_name, base_ids)):
        content = (bases / name).read_bytes()
        sums[name] = sha256(content)
        facts = bases / facts_name(name)
        if len(content) <= SMALL and facts.is_file():
            write(LISTED / name, content)
            write(LISTED / facts.name, facts.read_bytes())
    write(LISTED / SUMS, "".join(f"{digits}  {name}\n" for name, digits in sorted(sums.items())).encode())
    return LISTED / SUMS


def place_committed(bases: Path, base_ids: Iterable[str]) -> None:
    """Put those base networks that are committed into a folder; what is there stays.

    Raises:
        DataError: A committed file is not the one that is listed.
    """
    for name in map(weights_name, base_ids):
        if (LISTED / name).is_file() and not (bases / name).exists():
            content = released(LISTED, name.removesuffix(".pt"))
            if content is None:  # not listed
                continue
            bases.mkdir(parents=True, exist_ok=True)
            write(bases / name, content)
            write(bases / facts_name(name), (LISTED / facts_name(name)).read_bytes())
