"""How much sooner lanes are trained together than one by one, measured side by side."""

import time
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

from experiments.companions.compose import content_of, training_of
from experiments.companions.stops import Steps
from experiments.companions.study import study_of
from experiments.companions.train import train

STEPS, LANES = 100, 10
STUDIES = ("xor", "xord", "synthetic", "toy")  # whose networks are small


def ratios(data: Path, steps: int = STEPS, lanes: int = LANES) -> Iterator[tuple[str, float, float]]:
    """Go through studies with the seconds of a processor that lanes take one by one, and together.

    Args:
        data: Folder of data.
        steps: Of each training.
        lanes: Seeds of the study's first arm.
    """
    for name in STUDIES:
        study = study_of(name)
        _, own = next(study.each_arm(study.scale("laptop")))
        training = replace(training_of(content_of([*study.common, *own])), stop=Steps(steps), evaluate=1)
        seeds = [replace(training, seed=seed) for seed in range(lanes)]
        train(seeds[:1], data)  # what is loaded and compiled once
        began = time.process_time()
        for seed in seeds:
            train([seed], data)
        between = time.process_time()
        train(seeds, data)
        yield name, between - began, time.process_time() - between
