"""Means over many images from a part of them: unbiased, with the error they say, exact where the part is the whole."""

from itertools import combinations

import numpy as np
import pytest

from experiments.protocol import stratified
from experiments.protocol.stratified import Part

IMAGES, CLASSES, CERTAIN = 6000, 10, 48


@pytest.fixture(scope="module")
def population():
    """Labels, N0's losses and those after a correction, which moves large losses most, as real ones do."""
    draws = np.random.default_rng(0)
    labels = draws.integers(CLASSES, size=IMAGES)
    losses = np.exp(draws.normal(-5, 2.5, IMAGES))
    after = np.maximum(losses * np.exp(draws.normal(0.1 * (labels % 3), 0.5, IMAGES)), 0)
    return labels, losses, after


def estimates(population, count, seeds):
    labels, losses, after = population
    for seed in range(seeds):
        part = Part.drawn(labels, losses, count, CERTAIN, seed)
        yield part.mean(after[part.images], losses[part.images], losses.mean())


def test_a_part_has_its_number_of_images_of_every_class_and_the_last_ones_whole(population):
    labels, losses, _ = population
    part = Part.drawn(labels, losses, 500, CERTAIN)
    assert len(part.images) == part.counts.sum() == 500
    assert (np.diff(part.images) > 0).all()
    assert part.images[-CERTAIN:].tolist() == list(range(IMAGES - CERTAIN, IMAGES))
    assert part.sizes.sum() == IMAGES
    assert (part.counts >= np.minimum(part.sizes, 2)).all()
    assert set(labels[part.images]) == set(range(CLASSES))
    assert losses[part.images].mean() > 3 * losses.mean(), "large losses are drawn from most"
    assert (Part.drawn(labels, losses, 500, CERTAIN).images == part.images).all()
    assert (Part.drawn(labels, losses, 500, CERTAIN, seed=1).images != part.images).any()


def test_the_mean_of_a_part_that_is_everything_is_the_mean_without_an_error(population):
    labels, losses, after = population
    part = Part.drawn(labels, losses, IMAGES, CERTAIN)
    assert part.images.tolist() == list(range(IMAGES))
    found = part.mean(after, losses, losses.mean())
    assert found.mean == pytest.approx(after.mean(), rel=1e-12)
    assert found.error == 0


def test_what_did_not_change_has_n0s_mean_and_no_error(population):
    labels, losses, _ = population
    part = Part.drawn(labels, losses, 400, CERTAIN)
    found = part.mean(losses[part.images], losses[part.images], losses.mean())
    assert (found.mean, found.error) == (losses.mean(), 0)


def test_over_every_part_that_can_be_drawn_the_estimate_is_the_mean_and_its_variance_the_error():
    """Two strata of 4 and 3 images, 2 drawn from each: all 18 parts, each as likely."""
    strata, known = np.array([0, 0, 0, 0, 1, 1, 1]), np.array([0.1, 0.2, 0.3, 0.2, 2.0, 1.0, 3.0])
    after = np.array([0.0, 0.5, 0.2, 0.9, 2.5, 0.5, 4.0])
    found = []
    for one in combinations(range(4), 2):
        for two in combinations(range(4, 7), 2):
            images = np.array([*one, *two])
            part = Part(images, strata[images], np.array([4, 3]), np.array([2, 2]))
            found.append(part.mean(after[images], known[images], known.mean()))
    means = np.array([each.mean for each in found])
    assert len(found) == 18
    assert means.mean() == pytest.approx(after.mean(), rel=1e-12)
    assert np.mean([each.error**2 for each in found]) == pytest.approx(means.var(), rel=1e-12)


def test_the_estimate_is_unbiased_and_its_interval_covers_as_often_as_it_says(population):
    truth, seeds = population[2].mean(), 300
    found = list(estimates(population, 600, seeds))
    means, errors = (np.array([getattr(each, name) for each in found]) for name in ("mean", "error"))
    assert abs(means.mean() - truth) < 4 * means.std() / np.sqrt(seeds)
    assert errors.mean() == pytest.approx(means.std(), rel=0.15)
    assert 0.9 <= (np.abs(means - truth) < 1.96 * errors).mean() <= 0.985


def test_the_control_and_the_strata_are_worth_having(population):
    _, losses, after = population
    plain = after.std() * np.sqrt((1 - 600 / IMAGES) / 600)  # of a random part's mean
    change = (after - losses).std() * np.sqrt((1 - 600 / IMAGES) / 600)  # with the control variate alone
    errors = [each.error for each in estimates(population, 600, 5)]
    assert max(errors) < 0.5 * change < 0.5 * plain


def test_a_network_gone_astray_has_a_mean_without_a_number(population):
    labels, losses, after = population
    part = Part.drawn(labels, losses, 400, CERTAIN)
    astray = after[part.images].copy()
    astray[5] = np.inf
    assert not np.isfinite(part.mean(astray, losses[part.images], losses.mean()).mean)


def test_too_few_images_are_refused(population):
    labels, losses, _ = population
    Part.drawn(labels, losses, stratified.LEAST, CERTAIN)
    with pytest.raises(ValueError, match=r"55 images are too few for \d+ strata"):
        Part.drawn(labels, losses, 55, CERTAIN)
