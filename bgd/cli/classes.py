"""Classes by name and by number, and the labels of inputs."""

import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import torch

from bgd.cli import arrays
from bgd.errors import ConfigError, nearest
from bgd.outputs import InputError


@dataclass(frozen=True)
class Classes:
    """The names of a model's classes, from 0 on; empty where nobody gave them."""

    names: tuple[str, ...] = ()

    @classmethod
    def of(cls, text: str | None) -> "Classes":
        """Read names: one a line, or JSON, a list of names or a mapping from number to name or from name to number.

        Args:
            text: The file; `file.json:key` for what JSON has at a key. None for no names.

        Raises:
            InputError: They are no names.
            OSError: The file cannot be read.
        """
        if text is None:
            return cls()
        path, _, key = text.partition(":") if ".json:" in text else (text, "", "")
        try:
            content = Path(path).read_text(encoding="utf-8-sig")
            if Path(path).suffix != ".json":
                return cls(tuple(line.strip() for line in content.splitlines() if line.strip()))
            held = json.loads(content)
            return cls(_of_json(held[key] if key else held))
        except (ValueError, KeyError, TypeError):
            raise InputError(f"--classes: {text} holds no names of classes: one a line, or JSON") from None

    def name(self, number: int) -> str:
        """Name of a class for people: with its number where it has a name."""
        return f"{self.names[number]} ({number})" if 0 <= number < len(self.names) else f"class {number}"

    def named(self, number: int) -> dict[str, int | str]:
        """Return a class for programs: its number, and its name where it has one."""
        name = {"name": self.names[number]} if 0 <= number < len(self.names) else {}
        return {"class": number, **name}

    def number(self, word: str, where: str) -> int:
        """Return the class of a name or a number.

        Raises:
            ConfigError: It is none, or the name of several.
        """
        word = word.strip()
        if self.names.count(word) > 1:
            alike = ", ".join(str(number) for number, name in enumerate(self.names) if name == word)
            raise ConfigError(
                f"{where}={word!r}: it is the name of several classes; give the number: {alike}"
            )
        if word in self.names:
            return self.names.index(word)
        if word.isdecimal():
            return int(word)
        advice = (
            nearest(word, self.names)
            if self.names
            else "a class index from 0 on is wanted; --classes gives names"
        )
        raise ConfigError(f"{where}={word!r}: no such class; {advice}")

    def numbers(self, words: str, where: str) -> list[int]:
        """Return the classes of names or numbers between commas; a name may have some itself."""
        if words.strip() in self.names:
            return [self.number(words, where)]
        return [self.number(word, where) for word in words.split(",")]


def labels(text: str, classes: Classes, where: str) -> torch.Tensor:
    """Read the labels (N,) of inputs: an array of class indices, or text, a name or a number a line.

    Raises:
        InputError: The file holds something else.
        ConfigError: A name is none of the classes.
    """
    path, _ = arrays.split(text)
    if path.suffix in arrays.SUFFIXES:
        found = arrays.array(text, where)
        if found.dim() != 1 or found.is_floating_point() or found.dtype == torch.bool:
            raise InputError(
                f"{where}: {text} is {tuple(found.shape)} {str(found.dtype).removeprefix('torch.')}: a class index for "
                "each input is wanted, whole numbers (N,)"
            )
        return found.long()
    lines = path.read_text(encoding="utf-8").splitlines()
    return torch.tensor([classes.number(line, where) for line in lines if line.strip()], dtype=torch.int64)


def _of_json(found: Sequence[str] | dict[str, str] | dict[str, int]) -> tuple[str, ...]:
    """Return names by number."""
    if isinstance(found, dict):
        turned = all(isinstance(value, int) for value in found.values())
        pairs = (
            {value: key for key, value in found.items()}
            if turned
            else {int(key): value for key, value in found.items()}
        )
        found = [str(pairs[number]) for number in range(len(pairs))]
    if not isinstance(found, list) or not all(isinstance(each, str) for each in found):
        raise ValueError
    return tuple(found)
