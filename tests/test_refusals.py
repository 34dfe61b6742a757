"""What is refused before a search: where the library's face is asked for it."""

import pytest
import torch
from torch import nn

import bgd
from bgd.outputs import InputError
from bgd.refusals import place_of

INPUTS = torch.randn(40, 6, generator=torch.Generator().manual_seed(2))


@pytest.fixture
def model():
    torch.manual_seed(0)
    return nn.Sequential(nn.Linear(6, 16), nn.ReLU(), nn.Linear(16, 4)).eval()


def wrong(model, x):
    return int(model(x).argsort(1, descending=True)[0, 1])


@pytest.mark.parametrize("method", ["last_layer_lp_l1_keep", "output_bias"])
def test_a_keep_set_that_holds_the_sample_is_refused_by_its_place(method, model):
    x = INPUTS[7:8]
    corrector = bgd.Corrector(model, method, knowledge=bgd.Knowledge.of(model, keep=INPUTS))
    with pytest.raises(InputError, match="keep: its input 7 is the sample itself"):
        corrector.correct(x, wrong(model, x))
    assert corrector.correct(x, int(model(x).argmax())).already, "nothing has to change"
    near = x + 1e-3
    assert corrector.correct(near, wrong(model, near))


@pytest.mark.parametrize(
    "sample",
    [
        torch.zeros(1, 3, 3),
        torch.ones(1, 9, dtype=torch.int64),
        torch.eye(3)[None],
        torch.zeros(1, 2, dtype=torch.bool),
    ],
)
def test_the_place_is_that_of_the_first_equal_input_of_any_shape_and_type(sample):
    """Against comparing one after another; inputs share most of their numbers with the sample."""
    images = sample.repeat(6, *[1] * (sample.dim() - 1)).clone()
    assert place_of(sample, images) == 0
    rows = images.view(6, -1)
    for place, row in enumerate(rows):
        row[place % len(row)] = 1 - int(row[place % len(row)])
    for count in range(1, 7):
        some = images[:count]
        equal = [place for place, each in enumerate(some) if torch.equal(each, sample[0])]
        assert place_of(sample, some) == next(iter(equal), None)
    assert place_of(sample, torch.zeros(3, 1)) is None
    assert place_of(sample[:, :0], images[:, :0]) is None


@pytest.mark.parametrize(
    ("x", "words"),
    [
        (torch.full((1, 6), torch.nan), "class 0 is nan.*the input itself is not finite"),
        (torch.full((1, 6), 3e38), r"class \d is -?(inf|nan).*the input itself is finite"),
    ],
)
def test_outputs_that_are_not_finite_are_refused(x, words, model):
    model[2].weight.data *= 100
    with pytest.raises(InputError, match=words):
        bgd.correct(model, x, 1)
