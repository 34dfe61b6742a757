"""What many tests share: the tiny data, a small trained MLP with misclassified samples, one thread.

`make test-anywhere` asks for more threads by OMP_NUM_THREADS, and for a pretended processor by BGD_TEST_ROUNDING.
"""

import os
import signal
from contextlib import nullcontext
from functools import cache, lru_cache
from pathlib import Path

import pytest
import torch
from hydra import initialize_config_dir
from rounding import OtherRounding

from bgd import rng
from bgd.curvature.gradient import mean_gradient
from bgd.flat import FlatNetwork
from bgd.knowledge import Knowledge
from bgd.methods.base import Problem
from bgd.parameters import ParameterSpace
from experiments.config.overrides import composed
from experiments.config.presets import specs_of_presets
from experiments.config.spec import RunSpec
from experiments.jobs.arithmetic import WORKSPACE, WORKSPACES
from experiments.mnist import data, training
from experiments.mnist.networks import MLP, AlexNet
from experiments.protocol.samples import samples_of
from experiments.report import metrics
from experiments.run import CONF

TINY = Path(__file__).parent / "data" / "tiny"
NOT_NUMERIC = (  # records in, text out; programs; what reads code or counts calls
    *("report", "experiments", "cli", "public_bugs", "test_examples.py", "test_readme.py", "test_smoke.py"),
    *(
        "test_compare.py",
        "test_anywhere.py",
        "test_bench.py",
        "test_layers.py",
        "test_store.py",
        "test_archive.py",
    ),
)
torch.set_num_threads(int(os.environ.get("OMP_NUM_THREADS", "1")))


def pytest_collection_modifyitems(items):
    """Mark as numeric whatever is not known to compute nothing with a network."""
    here = Path(__file__).parent
    for item in items:
        if item.path.is_relative_to(here) and item.path.relative_to(here).parts[0] not in NOT_NUMERIC:
            item.add_marker(pytest.mark.numeric)


@pytest.fixture
def few_are_enough(monkeypatch):
    """A report that judges on one run and on one sample."""
    monkeypatch.setattr(metrics, "ENOUGH_RUNS", 1)
    monkeypatch.setattr(metrics, "ENOUGH_SAMPLES", 1)


@pytest.fixture(scope="session", autouse=True)
def rounding():
    """The processor's own rounding, or that of a pretended one."""
    seed = os.environ.get("BGD_TEST_ROUNDING")
    with OtherRounding(int(seed)) if seed else nullcontext():
        yield


@pytest.fixture(scope="session")
def tiny():
    return data.load("tiny", TINY)


@pytest.fixture(scope="session")
def trained(tiny):
    """A small MLP that gets some test images wrong; nobody may change it."""
    with rng.torch_seeded(rng.stream(0, "init")):
        network = MLP()
    training.train(network, training.Recipe(epochs=15, learning_rate=0.02), tiny, "cpu")
    return network


@pytest.fixture(scope="session")
def trained_alexnet(tiny):
    """A narrow AlexNet that gets some test images wrong; nobody may change it."""
    with rng.torch_seeded(rng.stream(0, "init")):
        network = AlexNet(width=0.1)
    training.train(network, training.Recipe(epochs=3, learning_rate=0.05), tiny, "cpu")
    return network


@pytest.fixture(scope="session")
def samples(tiny, trained):
    """Misclassified samples of the small MLP."""
    return samples_of(*tiny.test.tensors(), training.misclassified(trained, tiny), 12)


def interruptible():
    """Heed SIGINT in a child process: a shell has what it starts with & ignore it, and children inherit that."""
    signal.signal(signal.SIGINT, signal.SIG_DFL)


def known(network, tiny, device="cpu"):
    """Everything that a method may ask for of a network, with D and the keep-set of the tiny data."""
    images, labels = tiny.train.tensors(device)
    there = FlatNetwork(network, device).module

    def curvature(estimator):
        space, first = ParameterSpace.of(there), slice(estimator.images)
        return estimator.estimate(there, space, images[first], labels[first], rng.stream(0, "curvature"))

    return Knowledge(
        mean_gradient=lambda: mean_gradient(there, images[:200], labels[:200]),
        curvature=curvature,
        keep_images=lambda: tiny.held_out.tensors(device)[0],
        training=lambda: (images, labels),
    )


@pytest.fixture
def card_facts(monkeypatch):
    """What a machine with a card says of it, for runs on a pretended one; the arithmetic of the CPU afterwards."""
    monkeypatch.setattr(torch.cuda, "get_device_name", lambda: "a pretended card")
    monkeypatch.setattr(torch.backends.cudnn, "version", lambda: 0)
    monkeypatch.setenv(WORKSPACE, WORKSPACES[0])
    yield
    torch.use_deterministic_algorithms(False)
    torch.backends.cudnn.deterministic = False


@pytest.fixture
def problem(trained, tiny):
    return Problem(trained, known(trained, tiny))


@pytest.fixture(scope="session")
def spec_of():
    """Compose a run from overrides."""

    def spec(*overrides):
        with initialize_config_dir(str(CONF), version_base="1.3"):
            return RunSpec.of(composed(["profile=smoke", *overrides]))

    return spec


@pytest.fixture(scope="session")
def small_method(spec_of):
    """A method's configuration with a small budget, and what it may know: where its search is not what is tested."""
    most = {"budget": 3, "singles": 8}

    def smaller(config):
        found = {}
        for key, value in config.items():
            bounded = min(value, most[key]) if value and key in most else value
            found[key] = smaller(value) if isinstance(value, dict) else bounded
        return found

    @cache
    def composed(name, *overrides):
        spec = spec_of(f"method={name}", *overrides)
        return smaller(spec.method), spec.knows

    return composed


@pytest.fixture(scope="session")
def every_run():
    """The runs of every preset of a profile, or of some; composing is what takes time, so each profile once."""
    members = lru_cache(specs_of_presets)

    def runs(profile, *names):
        chosen = [
            spec for name, each in members(profile).items() if not names or name in names for spec in each
        ]
        return list({spec.run_id: spec for spec in chosen}.values())

    runs.members = members
    return runs
