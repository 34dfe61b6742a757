"""A network given as an ONNX file: its head as a network that is corrected, its inputs as features.

    model = OnnxModel.open("model.onnx")
    fix = bgd.correct(model.network, model.inputs(x), y, "last_layer_weight")
    model.patched(fix.patch).outputs(x)     # the file with the patch, through ONNX Runtime
    model.stored(fix.patch).save("fix.safetensors")

ONNX Runtime computes the input of the last MatMul or Gemm, once. From there on a correction needs neither the source of
the network nor a gradient of what comes before: methods work on the head as on any network of one linear layer.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cached_property
from os import PathLike
from pathlib import Path

import torch
from torch import nn

from bgd.deployed import features as kept
from bgd.deployed.onnx_graph import TAPS, Graph
from bgd.deployed.onnx_layout import Layout
from bgd.deployed.onnx_product import head_of
from bgd.deployed.onnx_run import CPU, Runner
from bgd.deployed.onnx_tail import Tail, apart
from bgd.deployed.packages import needed
from bgd.flat import NetworkError
from bgd.outputs import InputError
from bgd.patch import Patch

LOT = 100  # inputs between two looks at what came out
DRAWN = "two passes differ by up to {:g}: it draws random numbers, as a Dropout that trains"
PROBES = 4  # inputs with which the rest of the graph is looked at
Progress = Callable[[int, int], None]


@dataclass(frozen=True)
class Setup:
    """How a file is read; see `OnnxModel.open`."""

    head: str | None
    cache: Path | None
    providers: Sequence[str]
    progress: Progress | None


class OnnxModel:
    """An ONNX file as a head and its features; `open` makes it.

    Attributes:
        network: The head: features (N, D) to logits (N, C), what comes after them in the graph taken off. A graph with
            one column before a sigmoid has two classes here, with the logits (0, z).
        source: The file.
    """

    def __init__(self, graph: Graph, setup: Setup) -> None:
        self._graph, self._setup = graph, setup
        self._layout = Layout(head_of(graph, setup.head))
        self.source: Path | None = graph.path
        self.network: nn.Module = self._layout.network(self._layout.tensors)
        self._own = self._layout.network(self._layout.tensors)  # whatever is done to `network`
        self._whole = self._runner(graph.content)
        self._tail: Tail | None = None

    @classmethod
    def open(
        cls,
        path: str | PathLike[str],
        head: str | None = None,
        *,
        cache: str | PathLike[str] | None = None,
        providers: Sequence[str] = CPU,
        progress: Progress | None = None,
    ) -> "OnnxModel":
        """Read a file.

        Args:
            path: The ONNX file.
            head: The name of a MatMul or Gemm, of its weight or of its output, where the last one before the scores is
                not meant.
            cache: A folder to keep features in.
            providers: Of ONNX Runtime.
            progress: Is told from time to time how many inputs are done, and of how many.

        Raises:
            NetworkError: It is no ONNX file, or has no head that a patch can change.
            ModuleNotFoundError: onnx or onnxruntime is not installed.
            OSError: The file cannot be read.
        """
        folder = None if cache is None else Path(cache)
        return cls(Graph(Path(path)), Setup(head, folder, tuple(providers), progress))

    def inputs(self, raw: torch.Tensor) -> torch.Tensor:
        """Return the features (N, D) of inputs (N, ...): what `network` takes.

        Logits of the head and scores are compared with those of the graph, and a few features are computed again.

        Raises:
            InputError: The graph does not take the inputs, or what it gives is not finite.
            NetworkError: The head does not give the graph's scores, or two passes differ.
        """
        raw = self._whole.check(raw)
        if self._setup.cache is None:
            return self._computed(raw)
        path = self._setup.cache / f"{self._key(raw)}.features"
        found = kept.read(path)
        if found is not None:
            if not self._again(raw, found):
                return found
            kept.damaged(path, "those of a few inputs are others now")
        found = self._computed(raw)
        kept.write(path, found)
        return found

    def outputs(self, raw: torch.Tensor) -> torch.Tensor:
        """Return the scores (N, C) of inputs (N, ...), as the graph gives them; of a single column, both classes.

        Raises:
            InputError: The graph does not take the inputs, or its scores are not finite.
            NetworkError: The scores are no rows (N, C).
        """
        raw = self._whole.check(raw)
        (scores,) = self._whole([self._layout.head.scores], raw)
        self._check_scores(scores, len(raw))
        return torch.cat([1 - scores, scores], 1) if self._layout.binary else scores

    def stored(self, patch: Patch) -> Patch:
        """Return a patch of `network` in the file's names and shapes, with SHA-256 of the tensors as the file has them.

        Raises:
            PatchError: It does not start from the network.
        """
        return self._layout.stored(patch)

    def loaded(self, patch: Patch) -> Patch:
        """Return a patch in the file's names and shapes as one of `network`.

        Raises:
            PatchError: It does not start from the file, or changes other tensors of it.
        """
        return self._layout.loaded(patch)

    def patched(self, patch: Patch) -> "OnnxModel":
        """Return the same, running with a patch of `network`, or with one in the file's names.

        Raises:
            PatchError: It does not start from the model.
        """
        return OnnxModel(self._graph.replaced(self._layout.patched(patch)), self._setup)

    @cached_property
    def _tapped(self) -> Runner:
        """The graph with features and logits of the head beside its own outputs."""
        return self._runner(self._graph.tapped(self._layout.head.features, self._layout.head.logits))

    def _runner(self, model: Path | bytes) -> Runner:
        return Runner(model, self._graph.path.parent, self._setup.providers)

    def _key(self, raw: torch.Tensor) -> str:
        version = str(needed("onnxruntime").__version__)
        files = [self._graph.path, *self._graph.companions()]
        return kept.key_of(files, raw, self._layout.head.features, version, *self._setup.providers)

    def _computed(self, raw: torch.Tensor) -> torch.Tensor:
        """Return the features (N, D) of inputs, all computed and compared."""
        found: list[torch.Tensor] = []
        for some in torch.split(raw, LOT):
            found.append(self._pass(some))
            if self._setup.progress is not None:
                self._setup.progress(sum(map(len, found)), len(raw))
        features = torch.cat(found)
        if reason := self._again(raw, features):
            raise self._graph.fault(reason)
        return features

    def _again(self, raw: torch.Tensor, features: torch.Tensor) -> str:
        """Compute the features of a few inputs again; say how they differ, or nothing."""
        some = sorted({0, len(raw) // 2, len(raw) - 1})
        again = self._pass(raw[some])
        if features.shape != (len(raw), *again.shape[1:]) or features.dtype != again.dtype:
            return f"there are other features, {tuple(features.shape)}"
        if difference := apart(features[some], again):
            return DRAWN.format(difference)
        return ""

    def _pass(self, some: torch.Tensor) -> torch.Tensor:
        """Return the features (n, D) of some inputs, whose logits and scores are those of the graph."""
        head = self._layout.head
        features, logits, scores = self._tapped([*TAPS, head.scores], some)
        self._check_scores(scores, len(some))
        if logits.dim() not in (2, 3) or features.dim() != logits.dim() or len(logits) != len(some):
            raise self._graph.fault(
                f"{head.node} makes logits {tuple(logits.shape)} of {len(some)} inputs: a row for each is wanted"
            )
        if self._tail is None:
            self._tail = self._look(some[:PROBES], logits[:PROBES])
        features, logits = self._tail.row(features), self._tail.row(logits)
        if not bool(torch.isfinite(features).all() and torch.isfinite(logits).all()):
            raise InputError("features or logits are not finite")
        with torch.no_grad():
            own = self._own(features)
        own = own[:, 1:] if self._layout.binary else own
        for name, mine, theirs in (("logits", own, logits), ("scores", self._tail(logits), scores)):
            if difference := apart(mine, theirs):
                raise self._graph.fault(
                    f"the {name} of the head {head.node} and those of the graph differ by up to {difference:g}: it is "
                    "not the head, or more than one row of an input matters"
                )
        return features

    def _look(self, some: torch.Tensor, logits: torch.Tensor) -> Tail:
        """Tell what the graph does to the logits of its head."""
        head = self._layout.head
        if head.logits == head.scores:
            tail = Tail("nothing", None)
        else:
            rest = self._runner(self._graph.cut(head.logits, head.weight.value.dtype))
            try:
                tail = Tail.of(lambda probe: rest([head.scores], some, **{head.logits: probe})[0], logits)
            except NetworkError as error:
                raise self._graph.fault(self._random(some) or str(error)) from error
        if self._layout.binary and tail.name != "sigmoid":
            raise self._graph.fault(
                "the head has one column and no sigmoid after it: a number, and no classes"
            )
        return tail

    def _random(self, some: torch.Tensor) -> str:
        """Say how the scores of two passes differ, or nothing."""
        (one,), (other,) = (self._whole([self._layout.head.scores], some) for _ in range(2))
        return DRAWN.format(difference) if (difference := apart(one, other)) else ""

    def _check_scores(self, scores: torch.Tensor, count: int) -> None:
        """Refuse what are no scores (N, C)."""
        name = self._layout.head.scores
        if scores.dim() != 2 or len(scores) != count:
            raise self._graph.fault(
                f"the output {name!r} is {tuple(scores.shape)} for {count} inputs: scores (N, C) are wanted"
            )
        odd = (~torch.isfinite(scores)).nonzero()
        if len(odd):
            place, label = odd[0].tolist()
            said = scores[place, label].item()
            raise InputError(
                f"the output {name!r} is not finite: {said} for class {label}; the input itself is finite"
            )
