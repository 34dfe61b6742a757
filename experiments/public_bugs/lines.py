"""rapidocr-onnxruntime: is a line of text upside down; lines rendered by us that it takes for the other."""

import importlib
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import matplotlib
import numpy as np
import torch
from PIL import Image, ImageDraw, ImageFont
from torch import nn

from bgd import Patch, rng
from bgd.deployed import OnnxModel, apply_to_file
from experiments.public_bugs.subject import Inputs, Mistake, Say, Source, run
from experiments.public_bugs.words import name

MODEL = Path("rapidocr_onnxruntime", "models", "ch_ppocr_mobile_v2.0_cls_infer.onnx")
FONTS = (
    "DejaVuSans",
    "DejaVuSans-Bold",
    "DejaVuSansMono",
    "DejaVuSerif",
    "DejaVuSerif-Bold",
)  # matplotlib's own
PAD = 6  # white pixels around a line
ANSWERS = ("0", "180")  # degrees
BATCH = 200


class Lines:
    """The package's classifier of text lines, of which there is no source, and lines that it has not seen."""

    package, whole = "rapidocr-onnxruntime", None

    def __init__(self, source: Source, folder: Path) -> None:
        self._library: Any = importlib.import_module("rapidocr_onnxruntime")
        self._seed = source.seed
        self._engine = self._library.RapidOCR()
        self._path = folder / MODEL
        self._file = OnnxModel.open(self._path, cache=source.features)
        self.head = self._file.network.eval()

    def features(self, x: torch.Tensor) -> torch.Tensor:
        """Inputs are features: there is no more of the network in torch."""
        return x

    def inputs(self, split: str, count: int) -> Inputs:
        """Render lines of a split, half of them upside down."""
        images, turned = lines(rng.stream(self._seed, "lines", split), count)
        truth = torch.tensor(turned)
        return Inputs(self._features(images), lambda classes: classes == truth, f"{count} lines of text")

    def mistakes(self, report: str, split: str, count: int) -> Sequence[Mistake]:
        """Find lines that are turned, or left, wrongly: the package turns what it is sure of by 0.9."""
        stream, found, surest = rng.stream(self._seed, "lines", "errors", split), list[Mistake](), 0.9
        while len(found) < count:
            images, turned = lines(stream, BATCH)
            x = self._features(images)
            chances = run(self.head, x).softmax(1)
            for at, truth in enumerate(turned):
                if float(chances[at, 1 - truth]) > surest:
                    found.append(Mistake(images[at], x[at : at + 1], truth, ANSWERS[truth].__eq__))
        return found[:count]

    @contextmanager
    def saying(self, patch: Patch | None = None, of: nn.Module | None = None) -> Iterator[Say]:
        """Give `RapidOCR(cls_model_path=...)` of a patched file."""
        with tempfile.TemporaryDirectory() as folder:
            engine = self._engine
            if patch is not None:
                path = Path(folder) / "patched.onnx"
                apply_to_file(self._file.stored(patch), self._path, path)
                engine = self._library.RapidOCR(cls_model_path=str(path))
            yield lambda image: str(engine(image, use_det=False, use_cls=True, use_rec=False)[0][0][0])

    def _features(self, images: Sequence[np.ndarray[Any, Any]]) -> torch.Tensor:
        """Prepare images as the package does, and run its graph up to the last layer."""
        prepared = np.stack([self._engine.text_cls.resize_norm_img(image) for image in images])
        return self._file.inputs(torch.tensor(prepared))


def lines(stream: np.random.Generator, count: int) -> tuple[list[np.ndarray[Any, Any]], list[int]]:
    """Render lines (H, W, 3), of words or numbers, and say of each whether it is upside down, 1, or not, 0."""
    folder = Path(matplotlib.get_data_path()) / "fonts" / "ttf"
    images, turned = [], []
    for _ in range(count):
        font = ImageFont.truetype(folder / f"{stream.choice(FONTS)}.ttf", int(stream.integers(16, 40)))
        words = " ".join(name(stream) for _ in range(int(stream.integers(1, 5))))
        text = (words, words.title(), str(stream.integers(10**4, 10**9)))[stream.choice(3, p=(0.5, 0.3, 0.2))]
        left, top, right, bottom = font.getbbox(text)
        size = int(right - left) + 2 * PAD, int(bottom - top) + 2 * PAD
        image = Image.new("RGB", size, "white")
        ImageDraw.Draw(image).text((PAD - left, PAD - top), text, "black", font)
        turned.append(int(stream.integers(2)))
        images.append(np.ascontiguousarray(np.rot90(np.array(image), 2 * turned[-1])))
    return images, turned
