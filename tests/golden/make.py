"""Make the goldens anew, after a change that is meant to change results: `PYTHONPATH=. python tests/golden/make.py`.

Writes `mlp.pt`, a small MLP trained on the tiny subset, and `mlp.json`, what each method does to its first errors.
The weights are kept so that another machine's training, which rounds otherwise, does not matter. Give `--weights`
to train them anew as well.
"""

import json
import sys
from pathlib import Path

import torch
from hydra import compose, initialize_config_dir

from bgd import data, rng, training
from bgd.build import build
from bgd.bystanders import Bystanders
from bgd.evaluation import FullEvaluator, Images
from bgd.knowledge import Knowledge
from bgd.methods.base import Problem
from bgd.networks import MLP
from bgd.settings import Setting, Stage, samples_of
from experiments.run import CONF
from experiments.spec import RunSpec
from experiments.workbench import TINY

HERE = Path(__file__).parent
FRAGILE = {
    "idealized"
}  # it walks to a margin of rounding: another machine's last digits keep other parameters
KEYS = ("index", "outcome", "altered", "l0", "steps", "forward_passes", "sample_loss_after", "l2")


def methods():
    """Every method's configuration in the smoke profile, by name."""
    names = sorted({path.stem for path in (CONF / "method").glob("*.yaml")} - FRAGILE)
    with initialize_config_dir(str(CONF), version_base="1.3"):
        specs = [
            RunSpec.of(compose("config", overrides=["profile=smoke", f"method={name}"])) for name in names
        ]
    return {spec.method["name"]: spec.method for spec in specs}


def network():
    """The kept network."""
    kept = MLP()
    kept.load_state_dict(torch.load(HERE / "mlp.pt", weights_only=True))
    return kept.eval()


def rows(config, accumulate):
    """What a method does to the first six errors."""
    tiny, base = data.load("tiny", TINY), network()
    images = Images.of(tiny, 100, 100)
    gradient = training.mean_gradient(base, images.train, images.train_labels)
    evaluator = FullEvaluator(base, images)
    samples = samples_of(*tiny.test.tensors(), training.misclassified(base, tiny), 6)
    stage = Stage(
        setting=Setting(accumulate),
        method=build(config, "method"),
        seed=0,
        problem=Problem(base, Knowledge(lambda: gradient)),
        evaluator=evaluator,
        samples=samples,
        bystanders=Bystanders.of(
            evaluator.test_logits(),
            evaluator.base.test_predictions,
            images.test_labels,
            [s.index for s in samples],
        ),
    )
    return [
        {
            **{key: getattr(row, key) for key in KEYS},
            "broken": row.side_effects.broken,
            "train_loss": row.figures.train_loss,
        }
        for row in stage.rows()
    ]


def main():
    """Write the goldens."""
    if "--weights" in sys.argv:
        with rng.torch_seeded(rng.stream(0, "init")):
            fresh = MLP()
        training.train(fresh, training.Recipe(epochs=15, learning_rate=0.02), data.load("tiny", TINY), "cpu")
        torch.save(fresh.state_dict(), HERE / "mlp.pt")
    found = {
        f"{name} {'non_reloading' if accumulate else 'reloading'}": rows(config, accumulate)
        for name, config in methods().items()
        for accumulate in (False, True)
    }
    lines = [
        f'"{name}": [\n  ' + ",\n  ".join(map(json.dumps, value)) + "\n]" for name, value in found.items()
    ]
    (HERE / "mlp.json").write_text("{\n" + ",\n".join(lines) + "\n}\n")


if __name__ == "__main__":
    torch.set_num_threads(1)
    main()
