"""Subjects by the name of their package: fetched, on the path of imports, built."""

import sys
from collections.abc import Callable, Mapping
from pathlib import Path

from experiments.public_bugs.fetch import fetched, needs
from experiments.public_bugs.subject import Source, Subject

FOLDER = "packages"  # under the folder of data
# What gives files of many types beside Python's own library and generated ones.
FILES = ("pygments", "django", "torchcrepe", "py3langid", "digit-recognizer-py", "rapidocr-onnxruntime")


def subject_of(package: str, source: Source) -> Subject:
    """Build a package's subject. Its modules, and those it needs, come first on this process' path from then on."""
    root = source.data / FOLDER
    folder = fetched(package, root)
    sys.path[:0] = [str(folder), *map(str, needs(package, root))]
    return SUBJECTS[package](source, folder)


def _kinds(source: Source, folder: Path) -> Subject:
    from experiments.public_bugs.kinds import Kinds

    return Kinds(source, folder, [fetched(name, source.data / FOLDER) for name in FILES])


def _tones(source: Source, folder: Path) -> Subject:
    from experiments.public_bugs.tones import Tones

    return Tones(source)


def _texts(source: Source, folder: Path) -> Subject:
    from experiments.public_bugs.texts import Texts

    return Texts(source, fetched("django", source.data / FOLDER))


def _digits(source: Source, folder: Path) -> Subject:
    from experiments.public_bugs.digits import Digits

    return Digits(source)


def _lines(source: Source, folder: Path) -> Subject:
    from experiments.public_bugs.lines import Lines

    return Lines(source, folder)


SUBJECTS: Mapping[str, Callable[[Source, Path], Subject]] = {
    "magika": _kinds,
    "torchcrepe": _tones,
    "py3langid": _texts,
    "digit-recognizer-py": _digits,
    "rapidocr-onnxruntime": _lines,
}
