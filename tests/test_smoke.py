"""What `make smoke` fails on: a network that learnt nothing, a method that corrects nothing."""

import pytest
from records_factory import CORRECTED, UNCORRECTED, rows, run

from scripts.smoke import check_every_method_corrects, check_networks


@pytest.mark.parametrize(
    ("errors", "inside"), [(19, False), (20, True), (120, True), (121, False), (359, False)]
)
def test_a_network_outside_its_band_is_named(errors, inside):
    runs = [
        run(errors=60, expected=[20, 120]),
        run(network="alexnet", base_id="b2", errors=errors, expected=[20, 120]),
    ]
    if inside:
        check_networks(runs)
        return
    with pytest.raises(
        AssertionError, match=rf"b2 \(alexnet\) gets {errors} test images wrong, expected 20 to 120"
    ):
        check_networks(runs)


def test_every_smoke_network_has_a_band_that_excludes_guessing(spec_of):
    for network in ("mlp", "alexnet", "lenet", "resnet"):
        low, high = spec_of(f"network={network}").scale.expected_errors
        assert 0 < low < high <= 120, "of 400 test images; guessing gets 360 wrong"


def test_a_method_that_corrects_nothing_is_named():
    right, wrong = rows(UNCORRECTED, CORRECTED), rows(UNCORRECTED, UNCORRECTED)
    runs = [run(right), run(wrong), run(wrong, network="alexnet"), run(right, method="top_k")]
    check_every_method_corrects(runs)  # one of a method's runs is enough
    with pytest.raises(AssertionError, match=r"no sample was corrected by l1, retrain$"):
        check_every_method_corrects([*runs, run(wrong, method="retrain"), run(wrong, method="l1")])
