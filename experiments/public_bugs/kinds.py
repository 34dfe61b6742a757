"""magika: the type of a file by its bytes (magika #1249, #1414, #1132)."""

import importlib
import json
import shutil
import tempfile
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import nn

from bgd import Goal, Patch, rng
from bgd.deployed import OnnxModel, apply_to_file
from experiments.public_bugs.files import split_files
from experiments.public_bugs.scripts import cue_sheet, shell_script
from experiments.public_bugs.subject import Inputs, Mistake, Say, Source
from experiments.public_bugs.words import mash

MODEL = Path("magika", "models", "standard_v3_3")
BLOCK, SIDE, PADDING = (
    4096,
    1024,
    256,
)  # bytes that are read at either end, of them used, what stands for none
SHOWN = 12  # types of a split
TRIES = 400  # generated inputs among which mistakes are looked for


class Kinds:
    """The package's classifier of files, of which there is no source, and files that every machine has."""

    package, whole = "magika", None

    def __init__(self, source: Source, folder: Path, others: Sequence[Path]) -> None:
        self._library: Any = importlib.import_module("magika")
        self._folder = folder / MODEL
        self._seed = source.seed
        self._rule = Rule(json.loads((self._folder / "config.min.json").read_text()))
        self._types = self._rule.types
        self._file = OnnxModel.open(self._folder / "model.onnx", cache=source.features)
        self.head = self._file.network.eval()
        self._splits = split_files((folder, *others), source.seed)
        self._reports: dict[str, tuple[str, Callable[[np.random.Generator], bytes]]] = {
            "mash_1249": ("txt", mash),
            "scripts_1414": ("shell", shell_script),
            "cue_1132": ("cue", cue_sheet),
        }

    def features(self, x: torch.Tensor) -> torch.Tensor:
        """Inputs are features: there is no more of the network in torch."""
        return x

    def inputs(self, split: str, count: int) -> Inputs:
        """Take files of a split."""
        x = self._features(self._splits[split][:count])
        named = Counter(self._types[at] for at in self.head(x).argmax(1).tolist())
        most = ", ".join(f"{kind} {many}" for kind, many in named.most_common(SHOWN))
        return Inputs(x, None, f"{len(x)} files of {len(named)} types by the network: {most} ...")

    def mistakes(self, report: str, split: str, count: int) -> Sequence[Mistake]:
        """Generate inputs of a report, and take those that are wrong."""
        wanted, make = self._reports[report]
        made = dict.fromkeys(make(rng.stream(self._seed, report, split, at)) for at in range(TRIES))
        with self.saying() as say:
            wrong = [content for content in made if say(content) != wanted][:count]
        label = self._types.index(wanted) if wanted in self._types else None
        goal = Goal(decide=lambda logits: label is not None and self._rule.holds(logits, label))
        return [Mistake(each, self._features([each]), label, wanted.__eq__, goal) for each in wrong]

    @contextmanager
    def saying(self, patch: Patch | None = None, of: nn.Module | None = None) -> Iterator[Say]:
        """Give `Magika(model_dir=...).identify_bytes` of a patched file: what it puts out, its thresholds included."""
        with tempfile.TemporaryDirectory() as place:
            folder = self._folder
            if patch is not None:
                folder = Path(place) / folder.name
                shutil.copytree(self._folder, folder)
                model = "model.onnx"
                stored = self._file.stored(patch)
                apply_to_file(stored, self._folder / model, folder / model, overwrite=True)
            library = self._library.Magika(model_dir=folder)
            yield lambda content: str(library.identify_bytes(content).prediction.output.label)

    def _features(self, contents: Sequence[bytes]) -> torch.Tensor:
        return self._file.inputs(torch.tensor(np.stack([ends(content) for content in contents])))


class Rule:
    """What the package puts out: the likeliest type where it is likely enough, else what its kind has in common.

    Attributes:
        types: Names of the classes.
    """

    def __init__(self, settings: dict[str, Any]) -> None:
        self.types: list[str] = settings["target_labels_space"]
        least = settings["medium_confidence_threshold"]
        self._least = [settings["thresholds"].get(kind, least) for kind in self.types]
        self._plain = self.types.index("txt")

    def holds(self, logits: torch.Tensor, label: int) -> bool:
        """Tell whether a type is put out; plain text also stands for any text that is not likely enough."""
        chance, at = logits.softmax(1).max(1)
        return int(at) == label and (label == self._plain or float(chance) >= self._least[label])


def ends(content: bytes) -> np.ndarray[Any, np.dtype[np.int32]]:
    """Give what the network sees of a file (2048,): its first and last bytes without white space around them."""
    found = np.full((2, SIDE), PADDING, np.int32)
    first, last = content[:BLOCK].lstrip()[:SIDE], content[-BLOCK:].rstrip()[-SIDE:]
    found[0, : len(first)] = np.frombuffer(first, np.uint8)
    found[1, SIDE - len(last) :] = np.frombuffer(last, np.uint8)
    return found.reshape(-1)
