"""Where a command writes: looked at before anything long begins, so that no work is done in vain."""

import os
from argparse import Namespace
from collections.abc import Iterable, Iterator
from pathlib import Path

from bgd.cli.arrays import split
from bgd.cli.parser import UsageError


def files_in(arguments: Namespace, *but: str) -> Iterator[str]:
    """Yield whatever a command line may mean a file by that is read: every text in it, but those of some keys."""
    for key, value in vars(arguments).items():
        if key not in ("output", *but):
            yield from (
                each for each in (value if isinstance(value, tuple) else (value,)) if isinstance(each, str)
            )


def refuse_target(output: str | None, overwrite: bool, inputs: Iterable[str]) -> None:
    """Refuse a file that may not be written.

    Args:
        output: The file; None for none.
        overwrite: Whether one that is there may be replaced.
        inputs: What the command reads: never written over.

    Raises:
        UsageError: It is one of the inputs, it is there already, or its folder is not.
    """
    if output is None:
        return
    path = Path(output)
    for each in inputs:
        if path.exists() and _same(path, each):
            raise UsageError(
                f"--output={output!r}: it is {each}, which is read, and no input is written over"
            )
    if path.is_dir():
        raise UsageError(f"--output={output!r}: it is a folder, and a file is wanted")
    if path.exists() and not overwrite:
        raise UsageError(f"--output={output!r}: it is there already; --overwrite replaces it")
    if not path.parent.is_dir():
        raise UsageError(f"--output={output!r}: there is no folder {path.parent}")


def _same(path: Path, given: str) -> bool:
    own, _ = split(given)
    return own.exists() and os.path.samefile(path, own)
