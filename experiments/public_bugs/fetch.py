"""Pinned packages: fetched by pip with this machine's settings, held to a SHA-256, unpacked where git ignores them."""

import shutil
import subprocess
import sys
import tarfile
import tempfile
import zipfile
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path

from bgd.errors import ConfigError, nearest
from experiments.records.files import locked, sha256
from experiments.records.strict import build_as, read_yaml

PINS = Path(__file__).with_name("pins.yaml")
SHOWN = 3  # lines of pip's own complaint


class FetchError(ConfigError):
    """A package cannot be fetched, or is not the pinned one."""


@dataclass(frozen=True)
class Pin:
    """One file of a package index: version and SHA-256."""

    version: str
    sha256: str


@dataclass(frozen=True)
class Package(Pin):
    """A package whose files are read.

    Attributes:
        needs: What its own public call imports beyond this project.
        platform: Of the wheel, where it is not this machine's.
        source: Whether the file is a source distribution.
    """

    needs: Mapping[str, Pin] = field(default_factory=dict)
    platform: str = ""
    source: bool = False


@dataclass(frozen=True)
class Pins:
    """All of pins.yaml."""

    packages: Mapping[str, Package]


@cache
def pins() -> Mapping[str, Package]:
    """Read pins.yaml."""
    found: Pins = build_as(Pins, read_yaml(PINS), PINS.name)
    return found.packages


def pin(name: str) -> Package:
    """Look up a package.

    Raises:
        ConfigError: It is not pinned.
    """
    if name not in pins():
        raise ConfigError(f"package={name!r}: not pinned; {nearest(name, pins())}")
    return pins()[name]


def fetched(name: str, root: Path) -> Path:
    """Fetch a package where it is not there yet; return the folder with its files.

    Raises:
        FetchError: pip says why, or the file is another.
    """
    package = pin(name)
    options = ["--no-binary", ":all:"] if package.source else ["--only-binary", ":all:"]
    options += ["--platform", package.platform] if package.platform else []
    return _unpacked(name, package, root, options)


def needs(name: str, root: Path) -> list[Path]:
    """Fetch what a package's own call needs; return the folders for the path of imports.

    Raises:
        FetchError: One of them has no such file for this machine.
    """
    return [
        _unpacked(need, its_pin, root, ["--only-binary", ":all:"])
        for need, its_pin in pin(name).needs.items()
    ]


def _unpacked(name: str, its_pin: Pin, root: Path, options: list[str]) -> Path:
    folder = root / f"{name}-{its_pin.version}-{its_pin.sha256[:8]}"
    root.mkdir(parents=True, exist_ok=True)
    with locked(root / f"{folder.name}.lock", wait=True):
        if not folder.is_dir():
            with tempfile.TemporaryDirectory(dir=root) as place:
                partial = Path(place) / "files"
                unpack(_downloaded(name, its_pin, Path(place), options), partial)
                partial.rename(folder)  # a folder that is there is whole
    return folder


def _downloaded(name: str, its_pin: Pin, place: Path, options: list[str]) -> Path:
    """Have pip download one file, and hold it to its checksum."""
    print(f"fetching {name} {its_pin.version}", flush=True)
    target = place / "file"
    command = [
        sys.executable,
        "-m",
        "pip",
        "download",
        "--quiet",
        "--no-deps",
        "--dest",
        str(target),
        *options,
    ]
    done = subprocess.run([*command, f"{name}=={its_pin.version}"], capture_output=True, text=True)
    files = list(target.glob("*")) if target.is_dir() else []
    if done.returncode or len(files) != 1:
        said = " ".join([line for line in done.stderr.splitlines() if line.startswith("ERROR")][:SHOWN])
        raise FetchError(f"{name}=={its_pin.version}: pip cannot fetch it: {said or done.stderr.strip()}")
    found = sha256(files[0].read_bytes())
    if found != its_pin.sha256:
        raise FetchError(
            f"{files[0].name}: its SHA-256 is {found}, and {its_pin.sha256} is pinned: another file,"
            " or one of another platform"
        )
    return files[0]


def unpack(archive: Path, folder: Path) -> None:
    """Unpack a wheel or a source distribution, the latter without its outermost folder."""
    if archive.suffix == ".whl":
        with zipfile.ZipFile(archive) as wheel:
            wheel.extractall(folder)
        return
    with tarfile.open(archive) as source:
        source.extractall(folder, filter="data")
    (inner,) = folder.iterdir()
    for path in list(inner.iterdir()):
        shutil.move(path, folder / path.name)
    inner.rmdir()
