"""How much is run: AlexNet at the thesis' scale on a laptop, estimates over a part of D, and what a plan says of it."""

from dataclasses import replace

import pytest
from hydra import initialize_config_dir

from bgd.errors import ConfigError
from experiments.config.overrides import CONF, composed
from experiments.config.presets import specs
from experiments.config.spec import RunSpec
from experiments.jobs.costs import cost_of_sample, kind_of, measured
from experiments.jobs.plan import Plan
from experiments.mnist import release

FULL = ("profile=laptop", "network=alexnet", "scale=laptop/alexnet_full")


def composed_run(*overrides):
    with initialize_config_dir(str(CONF), version_base="1.3"):
        return RunSpec.of(composed(overrides))


def test_a_plan_says_how_long_training_takes_and_what_a_release_has(tmp_path, monkeypatch):
    """Of one core: 40 epochs of AlexNet. A released N0 is not trained."""
    (run,) = specs("thesis", ["figure_4_11"])
    hours = run.scale.epoch_seconds * 40 / 60
    assert f"N0 to train: alexnet (40 epochs, about {hours:.0f} min of one core)" in Plan.of(
        [run], tmp_path, {}
    ).text(1)
    monkeypatch.setattr(release, "LISTED", tmp_path / "listed")
    (tmp_path / "released").mkdir()
    (tmp_path / "released" / f"{run.base_id}.pt").write_bytes(b"weights")
    release.enlist(tmp_path / "released", [run.base_id])
    text = Plan.of([run], tmp_path, {}, release=tmp_path / "released").text(1)
    assert "N0 from the release: alexnet" in text
    assert "to train" not in text


def test_a_kind_that_no_record_tells_has_the_time_that_was_measured(spec_of):
    """For AlexNet at the thesis' scale; the images of a part count, not those of D."""
    cheap, costly = composed_run(*FULL), composed_run(*FULL, "method=retrain")
    found = measured([cheap, costly])
    assert set(found) == {kind_of(cheap.identity), kind_of(costly.identity)}
    assert [kind[-1] for kind in map(kind_of, (cheap.identity, costly.identity))] == [64_000, 13_000]
    assert cost_of_sample(costly, found) == found[kind_of(costly.identity)]
    assert measured([spec_of()]) == {}


@pytest.mark.parametrize(
    ("method", "setting", "seeds", "part"),
    [
        ("bgd_ii", "reloading", (0, 1, 2), None),
        ("bgd_norm", "reloading", (0,), 3000),
        ("bgd_ii", "non_reloading", (0, 1, 2), 3000),
        ("l1", "non_reloading", (0,), 3000),
    ],
)
def test_alexnet_at_the_thesis_scale_has_every_sample_and_image_and_seeds_by_cost(
    method, setting, seeds, part
):
    scale = composed_run(*FULL, f"method={method}", f"setting={setting}").scale
    whole = composed_run("profile=thesis", "network=alexnet").scale
    assert (scale.seeds, scale.part) == (seeds, part)
    assert replace(scale, seeds=whole.seeds, train_part=None) == whole


def test_a_part_is_no_smaller_than_an_estimate_needs_and_a_cost_is_one_there_is(spec_of):
    with pytest.raises(ConfigError, match="train_part=50: must be at least 200"):
        spec_of("scale.train_part=50")
    with pytest.raises(ConfigError, match=r"method\.cost='dear': must be one of low, high"):
        spec_of("+method.cost=dear")
