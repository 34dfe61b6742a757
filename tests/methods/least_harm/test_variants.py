"""Images like one image: turned and noisy ones in turn."""

import torch

from bgd import rng
from bgd.methods.least_harm.variants import likenesses


def test_likenesses_are_turned_or_noisy_and_the_same_for_a_stream():
    image = torch.zeros(1, 1, 9, 9)
    image[0, 0, 4, 2:7] = 1.0
    found = likenesses(image, 5, 20.0, 0.3, rng.stream(0, "x"))
    assert torch.equal(found, likenesses(image, 5, 20.0, 0.3, rng.stream(0, "x")))
    assert found.shape == (5, 1, 9, 9)
    assert all((found[place] != image[0]).any() for place in range(5))
    for place in (0, 2, 4):  # turned: the middle stays, what is far from the bar stays background
        assert found[place, 0, 4, 4] > 0.9
        assert found[place, 0, 0].abs().max() == 0
    for place in (1, 3):
        assert 0.2 < (found[place] - image[0]).std() < 0.4
    assert torch.equal(likenesses(image, 1, 0.0, 0.0, rng.stream(0, "x")), image)
    assert likenesses(image, 0, 1.0, 1.0, rng.stream(0, "x")).shape == (0, 1, 9, 9)
