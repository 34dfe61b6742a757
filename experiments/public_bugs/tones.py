"""torchcrepe: pitch of tones by formula; its octave errors (torchcrepe #15, crepe #78)."""

import importlib
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, nullcontext
from functools import partial
from typing import Any

import numpy as np
import torch
from torch import nn

from bgd import Goal, Patch, rng
from experiments.public_bugs.subject import Inputs, Mistake, Say, Source, run

RATE, WINDOW = 16000, 1024  # Hz, samples
HARMONICS = 16
LOW, HIGH = 80.0, 1000.0  # Hz: voices and most instruments
LOWEST = 31.7  # Hz: the first bin; the default of 50 Hz would leave bins out, which the network has
CENTS, FIRST = (
    20.0,
    1997.3794084376191,
)  # width of a bin and its first, in cents above 10 Hz, as the package has them
NEAR, DITHER = 50.0, 20.0  # cents: what counts as right, and what the package adds to it at random
OCTAVE = 1200.0  # cents
BATCH = 500


class Tones:
    """The package's small network and tones whose pitch is known.

    A tone is a sum of 16 harmonics of a random pitch, with random amplitudes that fall off and random phases, in noise
    of up to 0.3 of its deviation.
    """

    package = "torchcrepe"

    def __init__(self, source: Source) -> None:
        self._library: Any = importlib.import_module("torchcrepe")
        self._library.load.model("cpu", "tiny")
        self._network: Any = self._library.infer.model
        self.head: nn.Module = self._network.classifier
        self.whole = Logits(self._network).eval()
        self._seed = source.seed

    def features(self, x: torch.Tensor) -> torch.Tensor:
        """Run the network up to its last layer."""
        return run(self.whole.before, x)

    def inputs(self, split: str, count: int) -> Inputs:
        """Make tones of a split, with their pitch."""
        audio, cents = tones(rng.stream(self._seed, "tones", split), count)
        return Inputs(self._frames(audio), partial(_near, cents), f"{count} tones")

    def mistakes(self, report: str, split: str, count: int) -> Sequence[Mistake]:
        """Find tones that are called an octave too low or too high."""
        stream, found = rng.stream(self._seed, "tones", "octave errors", split), list[Mistake]()
        while len(found) < count:
            audio, cents = tones(stream, BATCH)
            x = self._frames(audio)
            off = (_cents(run(self.whole, x).argmax(1)) - cents).abs()
            for at in ((off - OCTAVE).abs() <= NEAR).nonzero().flatten().tolist():
                near = (_cents(torch.arange(360)) - cents[at]).abs() <= NEAR
                labels = tuple(near.nonzero().flatten().tolist())
                hears = partial(_hears, float(cents[at]))
                found.append(Mistake(audio[at : at + 1], x[at : at + 1], labels[0], hears, Goal(labels)))
        return found[:count]

    @contextmanager
    def saying(self, patch: Patch | None = None, of: nn.Module | None = None) -> Iterator[Say]:
        """Give `torchcrepe.predict` of one frame; `head` and `whole` are the package's own."""
        library = self._library

        def say(audio: torch.Tensor) -> str:
            decoder = (
                library.decode.argmax
            )  # of one frame the default, Viterbi, is the same, and needs scikit-learn
            pitch = library.predict(audio, RATE, model="tiny", fmin=LOWEST, decoder=decoder, pad=False)
            return f"{float(pitch):.1f} Hz"

        with patch.applied(of) if patch is not None and of is not None else nullcontext():
            yield say

    def _frames(self, audio: torch.Tensor) -> torch.Tensor:
        """Prepare frames (N, 1024) as the package does."""
        long = audio.reshape(1, -1)
        (frames,) = self._library.preprocess(long, RATE, hop_length=WINDOW, pad=False)
        found: torch.Tensor = frames
        return found


class Logits(nn.Module):
    """A network of the package without the sigmoid at its end, which no arg-max depends on."""

    def __init__(self, network: Any) -> None:
        super().__init__()
        self.net = network

    def before(self, frames: torch.Tensor) -> torch.Tensor:
        """Give the input of the last layer (N, 256) of frames (N, 1024)."""
        x: torch.Tensor = self.net.layer(self.net.embed(frames), self.net.conv6, self.net.conv6_BN)
        return x.permute(0, 2, 1, 3).reshape(-1, self.net.in_features)

    def forward(self, frames: torch.Tensor) -> torch.Tensor:
        """Give logits (N, 360) of frames (N, 1024)."""
        logits: torch.Tensor = self.net.classifier(self.before(frames))
        return logits


def tones(stream: np.random.Generator, count: int) -> tuple[torch.Tensor, torch.Tensor]:
    """Make tones (N, 1024) and their pitch (N,) in cents above 10 Hz."""
    at = np.arange(WINDOW) / RATE
    pitch = np.exp(stream.uniform(np.log(LOW), np.log(HIGH), count))[:, None]
    number = np.arange(1, HARMONICS + 1)
    amplitude = stream.uniform(0, 1, (count, HARMONICS)) * number ** -stream.uniform(0, 1.5, (count, 1))
    amplitude[number * pitch >= RATE / 2] = 0
    phase = stream.uniform(0, 2 * np.pi, (count, HARMONICS))
    audio = np.zeros((count, WINDOW))
    for k in range(HARMONICS):
        audio += amplitude[:, k, None] * np.sin(2 * np.pi * (k + 1) * pitch * at + phase[:, k, None])
    noise = stream.uniform(0, 0.3, (count, 1)) * audio.std(1, keepdims=True)
    audio += noise * stream.standard_normal((count, WINDOW))
    return torch.tensor(audio, dtype=torch.float32), torch.tensor(1200 * np.log2(pitch[:, 0] / 10))


def _cents(bins: torch.Tensor) -> torch.Tensor:
    return CENTS * bins.double() + FIRST


def _near(cents: torch.Tensor, bins: torch.Tensor) -> torch.Tensor:
    return (_cents(bins) - cents).abs() <= NEAR


def _hears(cents: float, answer: str) -> bool:
    return bool(abs(1200 * np.log2(float(answer.removesuffix(" Hz")) / 10) - cents) <= NEAR + DITHER)
