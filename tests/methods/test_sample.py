"""What a correction starts from: one image, one class index, and a network that answers with logits."""

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from odd_networks import odd_network, wrong_sample
from torch import nn

from bgd import rng
from bgd.methods.base import Correction, Problem
from bgd.methods.bgd.search import SubsetSearch
from bgd.methods.descent import SampleDescent
from bgd.methods.sample import Sample, SampleError
from bgd.methods.top_k import TopK

IMAGE = torch.zeros(1, 1, 8, 8)
METHODS = [SubsetSearch(), TopK(), SampleDescent(steps=3)]


@pytest.mark.parametrize(
    "label",
    [
        3,
        np.int64(3),
        torch.tensor(3),
        torch.tensor([3]),
        torch.tensor([[3]]),
        torch.tensor(3, dtype=torch.int32),
        torch.tensor([3], dtype=torch.uint8),
    ],
    ids=repr,
)
def test_r15_a_label_of_any_whole_form_is_one_class_index(label):
    sample = Sample(7, IMAGE, label)
    assert torch.equal(sample.label, torch.tensor([3]))
    assert sample.label.dtype == torch.int64


@pytest.mark.parametrize(
    ("label", "words"),
    [
        (F.one_hot(torch.tensor([3]), 10), r"label of shape \(1, 10\).*label\.argmax\(\)"),
        (torch.eye(10)[3], r"label of shape \(10,\).*label\.argmax\(\)"),
        (torch.tensor([1, 2]), r"label of shape \(2,\)"),
        (torch.empty(0, dtype=torch.int64), r"label of shape \(0,\)"),
        (torch.tensor([3.0]), r"label=3\.0 is float32: .* int\(label\)"),
        (2.0, r"label=2\.0 is float32"),
        (torch.tensor(True), "label=True is bool"),
        (-100, "label=-100: a class index is 0 or more"),
        (torch.tensor([-1]), "label=-1"),
    ],
    ids=str,
)
def test_r15_any_other_label_is_a_named_error(label, words):
    with pytest.raises(SampleError, match=rf"sample 7: {words}"):
        Sample(7, IMAGE, label)


@pytest.mark.parametrize("shape", [(3, 1, 8, 8), (0, 1, 8, 8), (28, 28), ()])
def test_r15_several_images_or_none_are_no_sample(shape):
    with pytest.raises(SampleError, match=r"sample 7: image of shape .* is not one image .*image\[None\]"):
        Sample(7, torch.zeros(shape), 3)


def test_r15_a_label_beyond_the_classes_is_a_named_error():
    problem = Problem(odd_network("batch norm"))
    with pytest.raises(SampleError, match="sample 7: label=4, and the classes of the network are 0 to 3"):
        problem.logits(Sample(7, IMAGE, 4))


class Answering(nn.Module):
    """A linear layer whose logits (N, 4) are answered in some form."""

    def __init__(self, form):
        super().__init__()
        self.lin, self.form = nn.Linear(64, 4), form

    def forward(self, images):
        return self.form(self.lin(images.flatten(1)))


@pytest.mark.parametrize(
    ("form", "words"),
    [
        (lambda z: (z, z), r"gives a tuple, not a tensor of logits .*forward\(\) returns the logits alone"),
        (lambda z: {"logits": z}, "gives a dict"),
        (lambda z: z[0], r"outputs of shape \(4,\) for sample 7, not logits \(1, C\)"),
        (lambda z: z[..., None], r"outputs of shape \(1, 4, 1\)"),
        (lambda z: z.repeat(2, 1), r"outputs of shape \(2, 4\)"),
    ],
)
def test_r15_outputs_that_are_no_row_of_logits_are_a_named_error(form, words):
    problem = Problem(Answering(form))
    for _ in range(2):
        with pytest.raises(SampleError, match=words):
            problem.correct(SubsetSearch(), Sample(7, IMAGE, 0), rng.stream(0))


@pytest.mark.parametrize("dtype", [torch.float64, torch.bfloat16, torch.float16])
def test_r14_an_image_of_another_type_than_the_network_is_a_named_error(dtype):
    problem = Problem(odd_network("batch norm").to(dtype))
    kind = str(dtype).removeprefix("torch.")
    with pytest.raises(
        SampleError, match=rf"sample 7: its image is float32 on cpu, the network {kind} on cpu"
    ):
        problem.correct(SubsetSearch(), Sample(7, IMAGE, 0), rng.stream(0))


def test_whole_numbers_may_be_what_goes_in():
    problem = Problem(nn.Sequential(nn.Embedding(5, 3), nn.Flatten(), nn.Linear(6, 2)))
    assert problem.logits(Sample(0, torch.tensor([[4, 1]]), 1)).shape == (1, 2)


class Careless:
    """Corrects whatever it is given."""

    def correct(self, trial, sample, stream):
        trial.flat[-1] += 1
        return Correction(trial.patch(), 1, 1)


@pytest.mark.parametrize("method", [*METHODS, Careless()])
def test_r15_a_sample_that_is_right_already_gets_no_patch(method):
    network = odd_network("batch norm")
    sample = Sample(7, IMAGE, network(IMAGE).argmax(1))
    correction = Problem(network).correct(method, sample, rng.stream(0))
    assert correction == Correction.unneeded()


def ending_in(last):
    network = odd_network("batch norm")
    network.add_module("last", last)
    return network


class Scaled(nn.Module):
    def __init__(self, function):
        super().__init__()
        self.body, self.function = odd_network("batch norm"), function

    def forward(self, images):
        return self.function(self.body(images))


PROBABLE = {
    "Softmax": (lambda: ending_in(nn.Softmax(dim=1)), "out of layer 'last', Softmax"),
    "Sigmoid": (lambda: ending_in(nn.Sigmoid()), "out of layer 'last', Sigmoid"),
    "functional softmax": (
        lambda: Scaled(lambda z: F.softmax(z, 1)),
        r"out of a softmax in Scaled\.forward\(\)",
    ),
    "functional sigmoid": (lambda: Scaled(torch.sigmoid), r"out of a sigmoid in Scaled\.forward\(\)"),
    "by hand": (
        lambda: Scaled(lambda z: z.exp() / z.exp().sum(1, keepdim=True)),
        r"out of a softmax in Scaled\.forward\(\)",
    ),
    "saturated": (lambda: Scaled(lambda z: F.softmax(1e4 * z, 1)), "out of a softmax"),
    "detached": (lambda: Scaled(lambda z: F.softmax(z, 1).clone()), "out of a softmax"),
    "float16": (lambda: ending_in(nn.Softmax(dim=1)).half(), "out of layer 'last', Softmax"),
    "bfloat16": (lambda: ending_in(nn.Softmax(dim=1)).bfloat16(), "out of layer 'last', Softmax"),
}


@pytest.mark.parametrize("kind", PROBABLE)
def test_r13_probabilities_are_refused_with_the_layer_and_the_remedy(kind):
    make, words = PROBABLE[kind]
    network = make()
    image = IMAGE.to(next(network.parameters()).dtype)
    problem = Problem(network)
    for method in METHODS:
        with pytest.raises(
            SampleError, match=rf"outputs are probabilities, {words}.*correct the network without"
        ):
            problem.correct(method, Sample(7, image, 0), rng.stream(0))


def test_r13_probabilities_are_told_by_what_they_are_at_every_sample():
    """Where nothing that gives them has a gradient, and after the first one."""
    problem = Problem(Scaled(lambda z: F.softmax(z.detach(), 1)))
    for index in range(3):
        with pytest.raises(SampleError, match="outputs are probabilities"):
            problem.logits(Sample(index, torch.full_like(IMAGE, index), 0))


@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize("last", [nn.LogSoftmax(dim=1), nn.ReLU(), nn.Tanh(), nn.Softplus()])
def test_r13_log_probabilities_and_other_outputs_are_corrected_as_logits(last, method):
    """log p is a logit: its cross-entropy is -log p of the label, so that nothing differs but rounding."""
    network = ending_in(last)
    sample = wrong_sample(network)
    correction = Problem(network).correct(method, sample, rng.stream(0))
    assert correction.patch is not None or correction.reason
    if isinstance(last, nn.LogSoftmax) and isinstance(method, SubsetSearch):
        assert correction.patch is not None
