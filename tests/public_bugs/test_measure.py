"""A method on the mistakes of a report: what is counted, what cannot be done, and by whose word it is right."""

import pytest
import torch
from stand_in import Package, job

import bgd
from experiments.public_bugs.measure import NO_CLASS, NO_GRADIENT, Bench


def test_a_row_says_what_a_method_did_about_each_mistake():
    package = Package()
    row = Bench(package).row(job(), {"torch": "1"})
    mistakes, inputs = package.mistakes("some", "held_out", 6), package.inputs("held_out", 40)
    before = package.head(package.features(inputs.x)).argmax(1)
    assert 2 <= len(mistakes) == len(row.said)
    assert set(row.parameters) == {1}
    assert set(row.library) == {True}
    assert "0" not in row.said
    for at, mistake in enumerate(mistakes):  # the obvious way
        patch = bgd.correct(package.head, package.features(mistake.x), 0, "last_layer_weight").patch
        with patch.applied(package.head):
            after = package.head(package.features(inputs.x)).argmax(1)
        assert row.flips[at] == int((after != before).sum())
        assert row.broken[at] == row.flips[at]  # all of them were right
    assert (row.inputs, row.right, row.keep, row.kinds) == (40, 40, 50, "40 numbers")
    assert max(row.flips) > 0


@pytest.mark.parametrize("method", ["last_layer_weight_statistic", "last_layer_lp_l1_keep", "least_harm"])
def test_methods_that_know_more_are_given_the_keep_set(method):
    package = Package()
    row = Bench(package).row(job(method), {})
    assert set(row.library) == {True}
    assert "keep" in package.made


def test_a_method_of_the_gradient_works_on_the_whole_network():
    row = Bench(Package()).row(job("bgd_ii", options='{"subset_size": 3}'), {})
    assert set(row.library) == {True}
    assert Bench(Package(depth=1)).row(job("bgd_ii"), {}).impossible == NO_GRADIENT


def test_what_cannot_be_corrected_says_why():
    row = Bench(Package()).row(job(report="no class"), {})
    assert (row.impossible, row.parameters) == (NO_CLASS, ())
    refused = Bench(Package(refuses=True)).row(job(), {})
    assert set(refused.library) == {None}
    assert set(refused.reasons) == {"another's weights"}


def test_before_any_method_only_the_package_is_asked():
    package = Package()
    weights = [each.clone() for each in package.whole.parameters()]
    row = Bench(package).row(job(""), {})
    assert row.said
    assert not row.parameters
    Bench(package).row(job(), {})
    assert all(torch.equal(*pair) for pair in zip(weights, package.whole.parameters(), strict=True))
