"""Pictures as inputs, through steps that the user states: how a picture is prepared decides what is wrong with it.

There are two kinds of steps, in this order, and each kind in the order that it is given in. On the picture:
`grayscale`, `rgb`, `resize=HxW`, `resize=S` (the shorter side), `crop=HxW` (the middle). On its numbers (C, H, W), 0 to
255 at first: `invert` (255 less the number), `scale=A..B` (0 to 255 become A to B), `mean=M/M/M` and `std=S/S/S` (one
number, or one a channel), `last` (channels last, (H, W, C)).
"""

import math
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import torch

from bgd.errors import ConfigError, first_line, nearest
from bgd.outputs import InputError

if TYPE_CHECKING:
    from PIL.Image import Image

SUFFIXES = (".png", ".jpg", ".jpeg", ".bmp", ".gif", ".webp", ".tif", ".tiff", ".pgm", ".ppm")
BILINEAR = 2  # pillow's number of the filter
MODES = (
    "1",
    "L",
    "LA",
    "P",
    "PA",
    "RGB",
    "RGBA",
    "RGBX",
    "CMYK",
    "YCbCr",
)  # that pillow turns into the two it gives

OnPicture = Callable[["Image"], "Image"]
OnNumbers = Callable[[torch.Tensor], torch.Tensor]


@dataclass(frozen=True)
class Transform:
    """The way from a picture to an input.

    Attributes:
        text: The steps as the user states them.
        on_picture, on_numbers: The steps themselves.
    """

    text: str
    on_picture: tuple[OnPicture, ...]
    on_numbers: tuple[OnNumbers, ...]

    @classmethod
    def of(cls, text: str) -> "Transform":
        """Read steps between commas.

        Raises:
            ConfigError: A step is unknown, has no such value, or one on the picture comes after one on numbers.
        """
        on_picture: list[OnPicture] = []
        on_numbers: list[OnNumbers] = []
        for step in text.split(","):
            name, _, value = step.strip().partition("=")
            if name in PICTURE_STEPS:
                if on_numbers:
                    raise ConfigError(
                        f"--transform: {step!r} is a step on the picture: it comes before those on numbers"
                    )
                on_picture.append(_made(PICTURE_STEPS[name], step, value))
            elif name in NUMBER_STEPS:
                on_numbers.append(_made(NUMBER_STEPS[name], step, value))
            else:
                raise ConfigError(
                    f"--transform: {name!r} is no step; {nearest(name, [*PICTURE_STEPS, *NUMBER_STEPS])}"
                )
        return cls(text, tuple(on_picture), tuple(on_numbers))

    def read(self, path: Path) -> torch.Tensor:
        """Read a picture as an input without the first dimension, float32: (C, H, W), or (H, W, C) after `last`.

        Raises:
            InputError: The file is no picture, or one of more than eight bits a channel.
            ModuleNotFoundError: pillow is not installed.
        """
        picture = _opened(path)
        for on_picture in self.on_picture:
            picture = on_picture(picture)
        if picture.mode not in ("L", "RGB"):
            raise InputError(
                f"{path} is a picture of the kind {picture.mode}: a step grayscale or rgb says what it is to become"
            )
        numbers = torch.from_numpy(np.array(picture, dtype=np.float32))
        numbers = numbers[None] if numbers.dim() == 2 else numbers.permute(2, 0, 1)
        for on_numbers in self.on_numbers:
            numbers = on_numbers(numbers)
        return numbers.contiguous()


def _opened(path: Path) -> "Image":
    try:
        from PIL import Image
    except ModuleNotFoundError as error:
        raise ModuleNotFoundError("pictures are read by pillow: pip install pillow") from error
    try:
        with Image.open(path) as picture:
            picture.load()
    except (OSError, ValueError, SyntaxError) as error:
        if isinstance(error, OSError) and error.filename is not None:
            raise
        raise InputError(f"{path} cannot be read as a picture: {first_line(error)}") from error
    if picture.mode not in MODES:
        deep = (
            "has more than eight bits a channel"
            if picture.mode[0] in "IF"
            else "is of a kind that is not read"
        )
        raise InputError(f"{path} {deep} ({picture.mode}): give it as .npy")
    return picture


def _made(step: Callable[[str], Any], text: str, value: str) -> Any:
    """Make a step of its value.

    Raises:
        ConfigError: It is none.
    """
    try:
        return step(value)
    except ValueError:
        wanted = WANTED.get(text.partition("=")[0].strip(), "no value")
        raise ConfigError(f"--transform: {text.strip()!r}: {wanted} is wanted") from None


def _mode(kind: str) -> Callable[[str], OnPicture]:
    def step(value: str) -> OnPicture:
        _refuse(value)
        return lambda picture: picture.convert(kind)

    return step


def _resize(value: str) -> OnPicture:
    sides = _sides(value)
    if len(sides) == 2:
        return lambda picture: picture.resize(
            (sides[1], sides[0]), 2
        )  # pillow has the width first; 2 is bilinear
    (shorter,) = sides

    def step(picture: "Image") -> "Image":
        width, height = (max(1, round(each * shorter / min(picture.size))) for each in picture.size)
        return picture.resize((width, height), BILINEAR)

    return step


def _crop(value: str) -> OnPicture:
    height, width = (_sides(value) * 2)[:2]

    def step(picture: "Image") -> "Image":
        left, top = (picture.width - width) // 2, (picture.height - height) // 2
        if left < 0 or top < 0:
            raise InputError(f"--transform: crop={value} of a picture of {picture.height}x{picture.width}")
        return picture.crop((left, top, left + width, top + height))

    return step


def _scale(value: str) -> OnNumbers:
    low, high = map(float, value.split(".."))
    if low == high or not math.isfinite(low - high):
        raise ValueError
    return lambda numbers: low + (high - low) * (numbers / 255)


def _invert(value: str) -> OnNumbers:
    _refuse(value)
    return lambda numbers: 255 - numbers


def _mean(value: str) -> OnNumbers:
    mean = _channels(value)
    return lambda numbers: numbers - _fit(mean, numbers, f"mean={value}")


def _std(value: str) -> OnNumbers:
    deviation = _channels(value)
    if not bool((deviation > 0).all()):
        raise ValueError
    return lambda numbers: numbers / _fit(deviation, numbers, f"std={value}")


def _last(value: str) -> OnNumbers:
    _refuse(value)
    return lambda numbers: numbers.permute(1, 2, 0)


def _fit(values: torch.Tensor, numbers: torch.Tensor, step: str) -> torch.Tensor:
    if len(values) not in (1, len(numbers)):
        raise InputError(
            f"--transform: {step} has {len(values)} numbers, and the picture {len(numbers)} channels"
        )
    return values


def _channels(value: str) -> torch.Tensor:
    numbers = [float(each) for each in value.split("/")]
    if not all(map(math.isfinite, numbers)):
        raise ValueError
    return torch.tensor(numbers).view(-1, 1, 1)


def _sides(value: str) -> tuple[int, ...]:
    """Read HxW or S."""
    sides = tuple(map(int, value.split("x")))
    if len(sides) > 2 or min(sides) < 1:
        raise ValueError
    return sides


def _refuse(value: str) -> None:
    if value:
        raise ValueError


PICTURE_STEPS: dict[str, Callable[[str], OnPicture]] = {
    "grayscale": _mode("L"),
    "rgb": _mode("RGB"),
    "resize": _resize,
    "crop": _crop,
}
NUMBER_STEPS: dict[str, Callable[[str], OnNumbers]] = {
    "invert": _invert,
    "scale": _scale,
    "mean": _mean,
    "std": _std,
    "last": _last,
}
WANTED = {
    "resize": "HEIGHTxWIDTH, or the shorter side,",
    "crop": "HEIGHTxWIDTH, or one side,",
    "scale": "two numbers such as 0..1",
    "mean": "a number, or one a channel as in 0.485/0.456/0.406,",
    "std": "a number above 0, or one a channel as in 0.229/0.224/0.225,",
}
