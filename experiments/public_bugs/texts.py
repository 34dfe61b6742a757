"""py3langid: the language of a short text (py3langid #17, langid.py #68)."""

import gettext
import importlib
from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import nn

from bgd import Patch, rng
from experiments.public_bugs.subject import Inputs, Mistake, NotCarriedError, Say, Source

ENGLISH = "en"
# A name of a place and single words of English: short texts are where the package errs.
REPORTED = {"al_furjan_17": ("Al furjan",), "want_68": ("want",)}
SOME = (
    "want give take make come find tell ask work seem feel try leave call good new first last long great little own"
    " other old right big high different small large next early young important few public bad same able water"
    " house world school family student country problem hand part place week company system program question"
    " government number night point home room mother area money story fact month lot study book eye job word"
    " business issue side kind head friend father power hour game line end member law car city name team minute"
    " idea body back parent face level office door health person art war history party result change morning"
)
WORDS = tuple(SOME.split())
SCALE = 2.0**20  # of those columns' weights: a change of them that does something is a large one
LENGTH = range(12, 200)  # characters of a message


class Texts:
    """The package's linear softmax, float16 weights on log counts of byte features; messages of Django as keep-set.

    Of its 100,053 columns those are here that are not 0 for some mistake, since no other weight can help one. The
    logits of all others together are columns of their own, with multiples of the identity as weights: 0 for every
    mistake. A change of these is none of the package's weights.
    """

    package, whole = "py3langid", None

    def __init__(self, source: Source, catalogues: Path) -> None:
        module: Any = importlib.import_module("py3langid.langid")
        self._visits = module.visit_counts
        self._identifier = module.LanguageIdentifier.from_model_file(module.MODEL_FILE)
        self._classes: list[str] = self._identifier.nb_classes
        self._splits = split_messages(messages(catalogues), source.seed)
        mistaken = [*WORDS, *(text for part in REPORTED.values() for text in part)]
        self._columns = sorted({at for text in mistaken for at in self._counts(text)})
        self._place = {feature: at for at, feature in enumerate(self._columns)}
        own = self._identifier.nb_ptc[self._columns].astype(np.float32).T
        self.head = nn.Linear(own.shape[1] + len(self._classes), len(self._classes)).eval()
        self.head.weight.data = torch.tensor(np.hstack([own, self._rest()]))
        self.head.bias.data = torch.tensor(self._identifier.nb_pc)

    def features(self, x: torch.Tensor) -> torch.Tensor:
        """Inputs are features: the network is one layer."""
        return x

    def inputs(self, split: str, count: int) -> Inputs:
        """Take messages of a split."""
        texts = self._splits[split][:count]
        return Inputs(self._features(texts), None, f"{len(texts)} messages")

    def mistakes(self, report: str, split: str, count: int) -> Sequence[Mistake]:
        """Take the reported text, or the English words that are not called English."""
        texts = REPORTED.get(report, WORDS[::2] if split == "held_out" else WORDS[1::2])
        label = self._classes.index(ENGLISH)
        with self.saying() as say:
            wrong = [text for text in texts if say(text) != ENGLISH][:count]
        return [Mistake(text, self._features([text]), label, ENGLISH.__eq__) for text in wrong]

    @contextmanager
    def saying(self, patch: Patch | None = None, of: nn.Module | None = None) -> Iterator[Say]:
        """Give `LanguageIdentifier.classify`, with patched weights in the package's own types."""
        weights, intercepts = self._identifier.nb_ptc, self._identifier.nb_pc
        kept = weights[self._columns], intercepts.copy()
        try:
            if patch is not None:
                with patch.applied(self.head):
                    changed = self.head.weight.detach().numpy().T
                    if not (changed[len(self._columns) :] == self._rest()).all():
                        raise NotCarriedError("it changes the sum of many of the package's weights")
                    weights[self._columns] = changed[: len(self._columns)].astype(weights.dtype)
                    intercepts[:] = self.head.bias.detach().numpy()
            yield lambda text: str(self._identifier.classify(text)[0])
        finally:
            weights[self._columns], intercepts[:] = kept

    def _rest(self) -> np.ndarray[Any, np.dtype[np.float32]]:
        return np.eye(len(self._classes), dtype=np.float32) * np.float32(SCALE)

    def _counts(self, text: str) -> Counter[int]:
        """Count the package's features in a text."""
        own = self._identifier
        return self._visits(own.tk_nextmove, own._rowbase, own.tk_output, own._encode(text)) or Counter()

    def _features(self, texts: Sequence[str]) -> torch.Tensor:
        """Give log(1 + count) of each column, and the logits of the other features without intercepts (N, D)."""
        found = torch.zeros(len(texts), self.head.in_features)
        for row, text in enumerate(texts):
            for feature, count in self._counts(text).items():
                value = float(np.log1p(np.float32(count)))
                if feature in self._place:
                    found[row, self._place[feature]] = value
                else:
                    found[row, len(self._columns) :] += (
                        value / SCALE * torch.tensor(self._identifier.nb_ptc[feature].astype(np.float32))
                    )
        return found


def messages(folder: Path) -> list[str]:
    """Read the translations in every catalogue of a folder, each once."""
    found = set[str]()
    for path in sorted(folder.rglob("*.mo")):
        with path.open("rb") as file:
            catalogue = gettext.GNUTranslations(file)._catalog  # type: ignore[attr-defined]  # its public calls look up one
        found |= {text for key, text in catalogue.items() if key and isinstance(text, str)}
    return sorted(text for text in found if len(text) in LENGTH and "\n" not in text)


def split_messages(texts: Sequence[str], seed: int) -> dict[str, list[str]]:
    """Draw 2,000 messages to keep, 1,000 to choose options on and 2,500 to report on."""
    drawn = [texts[at] for at in rng.stream(seed, "messages").permutation(len(texts))[:5500]]
    return {"keep": drawn[:2000], "aside": drawn[2000:3000], "held_out": drawn[3000:]}
