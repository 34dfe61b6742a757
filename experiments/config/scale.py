"""How much of an experiment is run."""

from dataclasses import dataclass

from bgd.errors import ConfigError
from experiments.mnist.data import Source
from experiments.mnist.training import Recipe
from experiments.protocol import stratified

COSTS = (
    "low",
    "high",
)  # of evaluating a method's correction, which a scale may hang on; low where its yaml says none


@dataclass(frozen=True)
class Scale:
    """How much of an experiment is run.

    Attributes:
        samples: How many of the test images that N0 gets wrong; None for all.
        train_images: How many images of D the figures are over.
        test_images: How many test images they are over.
        seeds: Which seeds `make reproduce` runs; no part of a run's identity.
        sample_steps: What method configurations refer to; no part of a run's identity by itself.
        expected_errors: Lowest and highest number of test images that N0 should get wrong.
        recipe: How N0 is trained.
        replicas: Which replicas of N0 `make reproduce` runs, 0 for N0 itself; no part of a run's identity.
        train_part: From how many images of D, a stratified sample of `train_images`, the figures of a corrected network
            over D are estimated (`experiments.protocol.stratified`); None for all, and so where there are no more.
        epoch_seconds: Seconds of one core that an epoch of training takes, for plans; None where not measured.
    """

    samples: int | None
    train_images: int
    test_images: int
    seeds: tuple[int, ...]
    sample_steps: int
    expected_errors: tuple[int, ...]
    recipe: Recipe
    replicas: tuple[int, ...] = (0,)
    train_part: int | None = None
    epoch_seconds: float | None = None

    def __post_init__(self) -> None:
        least = {"samples": 1, "train_images": 1, "test_images": 1, "train_part": stratified.LEAST}
        for key, low in least.items():
            value = getattr(self, key)
            if value is not None and value < low:
                raise ValueError(f"{key}={value}: must be at least {low}")
        if len(self.expected_errors) != 2:
            raise ValueError(
                f"expected_errors={list(self.expected_errors)}: must be the lowest and the highest number"
            )

    @property
    def part(self) -> int | None:
        """`train_part`, None where it is no smaller than D."""
        return None if self.train_part is None or self.train_part >= self.train_images else self.train_part

    def check_images(self, source: Source) -> None:
        """Check that a data set has so many images: an identity names no number that is not run.

        Raises:
            ConfigError: It has fewer.
        """
        there = {"train_images": source.train_images - source.held_out, "test_images": source.test_images}
        for key, most in there.items():
            if getattr(self, key) > most:
                raise ConfigError(
                    f"scale.{key}={getattr(self, key)}: must be at most {most}, the data set has no more"
                )
