"""What runs share: the data, N0, its evaluation, its mean training gradient. Made once in a process."""

import logging
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from functools import cached_property, lru_cache
from pathlib import Path

import torch
from torch import nn

from bgd import curvature, rng
from bgd.curvature.base import Curvature, Estimator
from bgd.curvature.gradient import mean_gradient
from bgd.evaluation import Evaluation, FullEvaluator, fast_evaluator
from bgd.evaluation.incremental import MEMORY
from bgd.evaluation.shelf import Shelf
from bgd.flat import FlatNetwork
from bgd.knowledge import Knowledge
from bgd.methods.base import Problem
from bgd.parameters import ParameterSpace
from experiments.config.build import build
from experiments.config.spec import RunSpec
from experiments.jobs.arithmetic import settle
from experiments.jobs.provenance import provenance
from experiments.jobs.stale import SOURCES, sources
from experiments.mnist import data, training
from experiments.mnist.replicas import replica_of
from experiments.mnist.training import Base
from experiments.protocol.bystanders import Bystanders
from experiments.protocol.figures import Images, Summaries, Summary, summarised
from experiments.protocol.generality import Variations
from experiments.protocol.probes.survey import Survey
from experiments.protocol.samples import ordered, samples_of
from experiments.protocol.settings import Stage
from experiments.records.identity import digest
from experiments.records.schema import Header

log = logging.getLogger(__name__)

TINY = Path(__file__).parents[2] / "tests" / "data" / "tiny"


@dataclass(frozen=True)
class Place:
    """Where a run happens: nothing in here changes a number, but for the last bits with more than one thread.

    Attributes:
        data: Folder of the data set.
        output: Folder of `runs/`, `bases/`, `tables/` and `figures/`.
        device: `cpu` or `cuda`.
        threads: CPU threads of this process.
        memory: Bytes for the activations of N0 that evaluations start from, together with those of the other jobs.
        jobs: Processes that work at the same time.
        shared: Folder where they keep large activations together; None where each keeps its own.
        bases_from: Folder of released base networks; None to train each N0.
    """

    data: Path
    output: Path
    device: str
    threads: int
    memory: int = MEMORY
    jobs: int = 1
    shared: Path | None = None
    bases_from: Path | None = None

    @property
    def own_memory(self) -> int:
        """Bytes for what one run keeps of a network that has gone its own way: half of `memory` for all jobs."""
        return self.memory // (2 * self.jobs)


@lru_cache(maxsize=1)
def load_data(name: str, root: Path) -> data.Data:
    """Load a data set, once in a process."""
    return data.load(name, TINY if name == "tiny" else root)


class Workbench:
    """The data, N0 and its evaluation, which runs of the same network and scale share."""

    def __init__(self, spec: RunSpec, place: Place) -> None:
        settle(place.device)  # before anything is computed
        self.place = place
        self.scale = spec.scale
        self.data = load_data(spec.dataset, place.data)
        self._bases = place.output / "bases"
        self._variations = Variations()
        self.trained: Base = training.obtain(
            self._bases,
            spec.base_id,
            lambda: build(spec.network, "network"),
            spec.scale.recipe,
            self.data,
            place.device,
            place.bases_from,
        )
        self.base = replica_of(self.trained, spec.replica, self.data)
        self.report_errors()

    def report_errors(self) -> None:
        """Say how many test images N0 gets wrong, and whether that is what was expected."""
        low, high = self.scale.expected_errors
        inside = low <= len(self.base.errors) <= high
        log.log(
            logging.INFO if inside else logging.WARNING,
            "N0 %s gets %d test images wrong, expected %d to %d%s",
            self.base.id, len(self.base.errors), low, high,
            "" if inside else ": OUTSIDE ITS BAND, every caption says so",
        )  # fmt: skip

    @cached_property
    def images(self) -> Images:
        """The images that N0's figures are over, on the device."""
        counts = self.scale.train_images, self.scale.test_images
        by_pixel = self.place.device == "cpu" and not self._has_convolutions
        return Images.of(self.data, *counts, self.place.device, by_pixel)

    @cached_property
    def _on_n0(self) -> tuple[Evaluation, torch.Tensor]:
        """Evaluation of N0, and its logits on the test images (N, C)."""
        images = self.images
        evaluator = FullEvaluator(self.base.network, images.images, images.labels, self.batch_size)
        return evaluator.base, evaluator.logits(images.test)

    @cached_property
    def _evaluated(self) -> tuple[Images, Evaluation]:
        """The images that corrected networks are evaluated on, and the evaluation of N0 on them."""
        base, part = self._on_n0[0], self.scale.part
        return (self.images, base) if part is None else self.images.part(base, part)

    @cached_property
    def summary(self) -> Summary:
        """N0 in figures."""
        return summarised(self._on_n0[0], self.images)

    @cached_property
    def _summaries(self) -> Summaries:
        """Of N0; what it keeps is shared by the runs of this workbench, and where it is large by those of all jobs."""
        memory, shelf = self.place.memory // self.place.jobs, None
        own = self.base.sha256 == self.trained.sha256  # a replica serves a few runs, of one job
        if self.place.shared and self.place.device == "cpu" and own:
            name = (
                f"{self.base.sha256[:16]}-{len(self.images.train)}-{self.scale.part}-{len(self.images.test)}"
            )
            memory, shelf = self.place.memory, Shelf(self.place.shared / name)
        images, on_n0 = self._evaluated
        evaluator = fast_evaluator(
            self.base.network, images.images, images.labels, self.batch_size, on_n0, memory, shelf
        )
        return Summaries(evaluator, images)

    @property
    def batch_size(self) -> int:
        """Images at a time that keep the activations in the cache: measured, no number depends on it."""
        return 100 if self._has_convolutions else 1000

    @cached_property
    def _has_convolutions(self) -> bool:
        return any(isinstance(layer, nn.Conv2d) for layer in self.base.network.modules())

    @cached_property
    def _gradient(self) -> torch.Tensor:
        path = self._bases / f"{self.base.id}.{self.base.sha256[:8]}.gradient-{len(self.images.train)}.pt"
        kept = training.kept_tensors(path)
        if kept is not None:
            return kept["gradient"]
        log.info("mean gradient of N0 over %d training images", len(self.images.train))
        network = FlatNetwork(self.base.network, self.place.device).module
        gradient = mean_gradient(network, self.images.train, self.images.train_labels).cpu()
        training.keep_tensors({"gradient": gradient}, path)
        return gradient

    def _curvature(self, estimator: Estimator) -> Curvature:
        name = digest([type(estimator).__name__, asdict(estimator), curvature.VERSION])  # type: ignore[call-overload]
        path = self._bases / f"{self.base.id}.{self.base.sha256[:8]}.curvature-{name}.pt"
        space = ParameterSpace.of(self.base.network)
        tensors = training.kept_tensors(path)
        if tensors is None:
            log.info("curvature of N0, %s", estimator)
            images, labels = self.data.train.first(estimator.images).tensors(self.place.device)
            network = FlatNetwork(self.base.network, self.place.device).module
            stream = rng.stream(0, "curvature")
            tensors = estimator.estimate(network, space, images, labels, stream).tensors()
            training.keep_tensors(tensors, path)
        return estimator.restore({name: x.to(self.place.device) for name, x in tensors.items()}, space)

    @cached_property
    def _knowledge(self) -> Knowledge:
        """Everything that a method may ask for."""
        return Knowledge(
            mean_gradient=lambda: self._gradient,
            curvature=self._curvature,
            keep_images=lambda: self._held_out,
            training=lambda: self._training,
        )

    @cached_property
    def _held_out(self) -> torch.Tensor:
        return self.data.held_out.tensors(self.place.device)[0]

    @cached_property
    def _training(self) -> tuple[torch.Tensor, torch.Tensor]:
        return self.data.train.tensors(self.place.device)

    def stage(self, spec: RunSpec) -> Stage | Survey:
        """Return a run of this network, ready to begin."""
        test = self.data.test
        images, labels = test.tensors(self.place.device)
        problem = Problem(self.base.network, self._knowledge.restricted(spec.knows), self.place.device)
        summaries = self._summaries.fork(self.place.own_memory)
        chosen = (self.base.errors, spec.scale.samples, spec.order)
        samples = samples_of(images, labels, *chosen, test.mean, test.std)
        if spec.probe is not None:
            return Survey(build(spec.probe, "probe"), problem, summaries, samples)
        return Stage(
            setting=build(spec.setting, "setting"),
            method=build(spec.method, "method"),
            seed=spec.seed,
            problem=problem,
            summaries=summaries,
            samples=samples,
            bystanders=self._bystanders([sample.index for sample in samples]),
            variations=self._variations,
            goal=spec.goal,
            survival=spec.survival,
        )

    def _bystanders(self, samples: Sequence[int]) -> Bystanders:
        predictions, logits = self.summary.test_predictions, self._on_n0[1]
        return Bystanders.of(logits, predictions, self.images.test_labels, samples)

    def header(self, spec: RunSpec) -> Header:
        """Return the header of a run of this network."""
        errors = self.base.errors
        samples = ordered(errors, spec.scale.samples, spec.order)
        return Header(
            run_id=spec.run_id,
            spec=spec.identity,
            base={
                "id": self.base.id,
                "sha256": self.trained.sha256,
                **({"replica_sha256": self.base.sha256} if spec.replica else {}),
                "errors": len(errors),
                "expected_errors": list(self.scale.expected_errors),
                "parameters": sum(parameter.numel() for parameter in self.base.network.parameters()),
                "tensors": {
                    name: list(parameter.shape) for name, parameter in self.base.network.named_parameters()
                },
            },
            figures=self.summary.figures,
            baseline=self._bystanders(samples).baseline,
            samples=len(samples),
            train_images=len(self.images.train),
            test_images=len(self.images.test),
            train_part=self.scale.part,
            provenance={
                "profile": spec.profile,
                **provenance(spec.dataset, self.place.device, self.place.threads),
                SOURCES: sources(spec),
            },
        )


class Workbenches:
    """Hands out workbenches; keeps the last one, since runs of one network follow each other."""

    def __init__(self, place: Place) -> None:
        self.place = place
        self._key = ""
        self._bench: Workbench | None = None

    def bench(self, spec: RunSpec) -> Workbench:
        """Return the workbench of a run that is about to begin."""
        settle(self.place.device)  # the runs before may have left it otherwise
        if self._bench is None or spec.bench_id != self._key:
            self._bench = None  # its memory goes first
            self._key, self._bench = spec.bench_id, Workbench(spec, self.place)
        return self._bench
