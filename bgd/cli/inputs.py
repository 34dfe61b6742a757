"""Inputs as the user names them: an array, a picture, a folder or a glob of them."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from glob import glob, has_magic
from pathlib import Path

import torch

from bgd.cli import arrays, pictures
from bgd.cli.arrays import array, converted
from bgd.cli.pictures import Transform
from bgd.cli.progress import note
from bgd.cli.words import counted
from bgd.outputs import InputError
from bgd.progress import followed


@dataclass(frozen=True, eq=False)
class Inputs:
    """Some inputs.

    Attributes:
        values: The tensor (N, ...) that the model gets.
        names: Of each: its file, and its place in it where that holds several.
        text: As the user names them.
        transform: The steps that pictures went through; empty for arrays.
    """

    values: torch.Tensor
    names: tuple[str, ...]
    text: str
    transform: str

    def __len__(self) -> int:
        return len(self.values)

    def name(self, number: int) -> str:
        """Name of an input for people: its file, and its place in it where there are several."""
        return self.names[number]

    def taken(self, numbers: Sequence[int]) -> "Inputs":
        """Return those of some numbers.

        Raises:
            InputError: There is no such input.
        """
        if max(numbers) >= len(self):
            raise InputError(
                f"--index={max(numbers)}: {self.text} holds {counted(len(self), 'input')}, 0 to {len(self) - 1}"
            )
        names = tuple(self.names[number] for number in numbers)
        return replace(self, values=self.values[list(numbers)], names=names)


@dataclass(frozen=True)
class Reader:
    """Reads inputs in one way.

    Attributes:
        transform: How a picture becomes an input; None where nobody said.
        dtype: The type that arrays are turned into; None for their own.
    """

    transform: Transform | None
    dtype: str | None

    @classmethod
    def of(cls, transform: str | None, dtype: str | None) -> "Reader":
        """Return the reader for what the user says.

        Raises:
            ConfigError: The steps are none.
        """
        return cls(Transform.of(transform) if transform else None, dtype)

    def read(self, text: str, where: str) -> Inputs:
        """Read inputs.

        Args:
            text: A file, a folder or a glob.
            where: What they are called, for messages.

        Raises:
            InputError: They are no inputs, or of several shapes or types.
            OSError: A file cannot be read.
        """
        if Path(text).is_dir() or (has_magic(text) and not Path(text).exists()):
            return self._many(text, where)
        values, is_picture = self._one(text, where)
        return self._checked(Inputs(values, _names(text, values), text, self._steps(is_picture)), where)

    def _many(self, text: str, where: str) -> Inputs:
        """Read the files of a folder or a glob, in the order of their names."""
        known = (*arrays.SUFFIXES, *pictures.SUFFIXES)
        found = sorted(glob(text)) if not Path(text).is_dir() else sorted(map(str, Path(text).iterdir()))
        files = [each for each in found if Path(each).suffix.lower() in known and Path(each).is_file()]
        if not files:
            raise InputError(f"{where}: {text} has no file of {', '.join(known)}")
        read = [self._one(each, where) for each in followed(f"files of {text}", files)]
        first = read[0][0]
        for each, (values, _) in zip(files, read, strict=True):
            if values.shape[1:] != first.shape[1:] or values.dtype != first.dtype:
                raise InputError(
                    f"{where}: {each} is {_shape(values)}, {files[0]} is {_shape(first)}: one shape and type are wanted"
                )
        names = tuple(
            name for each, (values, _) in zip(files, read, strict=True) for name in _names(each, values)
        )
        values = torch.cat([values for values, _ in read])
        note(
            f"{where}: {counted(len(values), 'input')} of {counted(len(files), 'file')} in {text}, in the order of "
            "their names"
        )
        return self._checked(
            Inputs(values, names, text, self._steps(any(picture for _, picture in read))), where
        )

    def _one(self, text: str, where: str) -> tuple[torch.Tensor, bool]:
        """Read a file (N, ...), and say whether it is a picture."""
        if Path(text).suffix.lower() not in pictures.SUFFIXES:
            values = converted(array(text, where), self.dtype, where)
            if not values.dim():
                raise InputError(f"{where}: {text} is a single number: the first dimension counts inputs")
            return values, False
        if self.transform is None:
            raise InputError(
                f"{where}: {text} is a picture: --transform says how it becomes an input, such as --transform "
                "grayscale,resize=28x28,scale=0..1"
            )
        return converted(self.transform.read(Path(text))[None], self.dtype, where), True

    def _steps(self, is_picture: bool) -> str:
        return self.transform.text if self.transform and is_picture else ""

    @staticmethod
    def _checked(inputs: Inputs, where: str) -> Inputs:
        if not len(inputs):
            raise InputError(f"{where}: {inputs.text} holds no input")
        return inputs


def _names(text: str, values: torch.Tensor) -> tuple[str, ...]:
    return (text,) if len(values) == 1 else tuple(f"{text}[{number}]" for number in range(len(values)))


def _shape(values: torch.Tensor) -> str:
    return f"{tuple(values.shape[1:])} {str(values.dtype).removeprefix('torch.')}"
