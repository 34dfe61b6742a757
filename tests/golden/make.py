"""Make the goldens anew, after a change that is meant to change results.

    PYTHONPATH=.:tests python tests/golden/make.py

Writes `mlp.pt`, a small MLP trained on the tiny subset, and `mlp.json`, what the thesis's methods do to some of its
errors. The weights are kept so that another machine's training, which rounds otherwise, does not matter. Give
`--weights` to train them anew as well.

No other processor may come to another golden, so everything is in float64, and a sample is left out where a decision
on the way is close to a tie. Two weights of a unit that lead from pixels of the same value, for one, do exactly the
same: whether a search swaps one for the other is up to rounding, in float64 too. Two things are asked of a sequence:

- its smallest `margin`, of every look at a sample and every comparison of two losses, is at least `LEAST`;
- it stays what it is, decision by decision, where every parameter of the network is moved by one part in 10^10.
"""

import json
import sys
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from unittest import mock

import torch
import torch.nn.functional as F
from hydra import compose, initialize_config_dir
from oracles import bystanders_of

from bgd import rng
from bgd.knowledge import Knowledge
from bgd.methods.base import Answer, Problem
from bgd.methods.bgd.followed import AtHand
from experiments.config.build import build
from experiments.config.spec import RunSpec
from experiments.jobs.workbench import TINY
from experiments.mnist import data, training
from experiments.mnist.networks import MLP
from experiments.protocol.figures import Images, full
from experiments.protocol.samples import samples_of
from experiments.protocol.settings import Setting, Stage
from experiments.run import CONF

HERE = Path(__file__).parent
# Not the idealized selector: it walks along the boundary, where no decision has a distance from a tie.
METHODS = ("bgd_c", "bgd_i", "bgd_ii", "bgd_norm", "fine_tune", "l1", "random", "retrain", "top_k")
DECIDED = ("index", "outcome", "altered", "l0", "steps", "forward_passes", "prediction_after")
MEASURED = ("sample_loss_after", "l2")
SAMPLES = 6
LEAST = 1e-6  # of what is compared: float64 rounds by some 1e-15
NUDGE = 1e-10
NUDGES = 8  # tries of a sample before it becomes a golden: an exact tie turns in one of two


def methods():
    """Each method's configuration in the smoke profile, by name."""
    with initialize_config_dir(str(CONF), version_base="1.3"):
        specs = [
            RunSpec.of(compose("config", overrides=["profile=smoke", f"method={name}"])) for name in METHODS
        ]
    return {spec.method["name"]: spec.method for spec in specs}


def network(nudge=None):
    """The kept network in float64; with a seed, each parameter a little larger or smaller."""
    kept = MLP()
    kept.load_state_dict(torch.load(HERE / "mlp.pt", weights_only=True))
    kept = kept.double().eval()
    if nudge is not None:
        generator = torch.Generator().manual_seed(nudge)
        with torch.no_grad():
            for parameter in kept.parameters():
                way = 2 * torch.randint(2, parameter.shape, generator=generator) - 1
                parameter.mul_(1 + NUDGE * way)
    return kept


def problem_of(images, base):
    """The problem, with the mean gradient of the network over D in float64."""

    def mean_gradient():
        loss = F.cross_entropy(base(images.train), images.train_labels)
        return torch.cat([each.flatten() for each in torch.autograd.grad(loss, list(base.parameters()))])

    return Problem(base, Knowledge(mean_gradient))


def samples_for(indices):
    """Samples of the tiny test set, in float64."""
    chosen = samples_of(*data.load("tiny", TINY).test.tensors(), indices)
    return [replace(sample, image=sample.image.double()) for sample in chosen]


@contextmanager
def margins():
    """Collect how far, in parts of what is compared, each decision is from a tie: what is right, what is lower."""
    found = []
    look, is_lower = Answer.of.__func__, AtHand.is_lower

    def looking(kind, logits, sample):
        others = logits[0].clone()
        others[int(sample.label)] = -torch.inf
        found.append(float((logits[0, int(sample.label)] - others.max()).abs() / logits.abs().max()))
        return look(kind, logits, sample)

    def comparing(self, one, other):
        losses = one.answer.loss, other.answer.loss
        found.append(abs(losses[0] - losses[1]) / max(losses))
        return is_lower(self, one, other)

    with (
        mock.patch.object(Answer, "of", classmethod(looking)),
        mock.patch.object(AtHand, "is_lower", comparing),
    ):
        yield found


def sequence(config, accumulate, indices, nudge=None):
    """What a method does to samples, one row each, and the smallest margin of its decisions."""
    tiny, base = data.load("tiny", TINY), network(nudge)
    images = Images.of(tiny, 100, 100)
    images = replace(images, images=images.images.double())
    stage = Stage(
        setting=Setting(accumulate),
        method=build(config, "method"),
        seed=0,
        problem=problem_of(images, base),
        summaries=full(base, images),
        samples=samples_for(indices),
        bystanders=bystanders_of(base, images, list(indices)),
    )
    with margins() as found:
        rows = [described(row) for row in stage.rows()]
    return rows, min(found)


def described(row):
    """The golden of a row: what was decided, with the subset where it is small, and what was measured."""
    decided = {key: getattr(row, key) for key in DECIDED}
    if row.patch and row.l0 <= 100:
        decided["subset"] = row.patch["index"]
    measured = {key: getattr(row, key) for key in MEASURED} | {"train_loss": row.figures.train_loss}
    return {**decided, "broken": row.side_effects.broken, **measured}


def decisions(rows):
    """The part of rows that is decided, not measured."""
    return [{key: value for key, value in row.items() if not isinstance(value, float)} for row in rows]


def golden(config, accumulate, errors):
    """Take errors, in their order, as long as no decision on them is close to a tie."""
    chosen, kept = [], None
    for index in errors:
        rows, margin = sequence(config, accumulate, [*chosen, index])
        if margin < LEAST:
            continue
        nudged = (sequence(config, accumulate, [*chosen, index], nudge)[0] for nudge in range(NUDGES))
        if all(decisions(each) == decisions(rows) for each in nudged):
            chosen, kept = [*chosen, index], {"margin": margin, "rows": rows}
        if len(chosen) == SAMPLES:
            return kept
    raise RuntimeError(f"{config['name']}: only {len(chosen)} samples are far enough from ties")


def main():
    """Write the goldens."""
    if "--weights" in sys.argv:
        with rng.torch_seeded(rng.stream(0, "init")):
            fresh = MLP()
        training.train(fresh, training.Recipe(epochs=15, learning_rate=0.02), data.load("tiny", TINY), "cpu")
        torch.save(fresh.state_dict(), HERE / "mlp.pt")
    images, labels = data.load("tiny", TINY).test.tensors()
    with torch.no_grad():
        errors = (network()(images.double()).argmax(1) != labels).nonzero().flatten().tolist()
    parts = []
    for name, config in methods().items():
        for accumulate in (False, True):
            made = golden(config, accumulate, errors)
            rows = ",\n  ".join(map(json.dumps, made["rows"]))
            key = f"{name} {'non_reloading' if accumulate else 'reloading'}"
            parts.append(f'"{key}": {{"margin": {made["margin"]:.3g}, "rows": [\n  {rows}\n]}}')
            print(key, made["margin"], [row["index"] for row in made["rows"]], flush=True)
    (HERE / "mlp.json").write_text("{\n" + ",\n".join(parts) + "\n}\n")


if __name__ == "__main__":
    torch.set_num_threads(1)
    main()
