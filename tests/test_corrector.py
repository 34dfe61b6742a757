"""The library's face: what a person with a model calls."""

import copy
import subprocess
import sys
from types import SimpleNamespace

import pytest
import torch
from torch import nn

import bgd
from bgd.errors import ConfigError
from bgd.methods.sample import SampleError
from bgd.patch import PatchError

CLASSES = 4


def make(seed=0):
    torch.manual_seed(seed)
    return nn.Sequential(nn.Linear(6, 16), nn.ReLU(), nn.Linear(16, CLASSES)).eval()


@pytest.fixture
def model():
    return make()


@pytest.fixture
def x():
    return torch.randn(1, 6, generator=torch.Generator().manual_seed(1))


def others(count=200):
    return torch.randn(count, 6, generator=torch.Generator().manual_seed(2))


def wrong(model, x, place=1):
    """The class that the model ranks at this place, for each input."""
    return model(x).argsort(1, descending=True)[:, place]


def state(model):
    return (
        copy.deepcopy(model.state_dict()),
        model.training,
        [each.requires_grad for each in model.parameters()],
    )


class Wrapped(nn.Module):
    """A model whose outputs hold logits inside something."""

    def __init__(self, form):
        super().__init__()
        self.body, self.form = make(), form

    def forward(self, x):
        return self.form(self.body(x))


def test_the_face_is_what_dir_says():
    assert set(dir(bgd)) == {*bgd.__all__, "__version__"}
    for name in bgd.__all__:
        assert getattr(bgd, name) is not None
    with pytest.raises(AttributeError, match="'corect'"):
        bgd.corect  # noqa: B018


def test_importing_it_imports_neither_torch_nor_what_is_not_needed():
    code = (
        "import sys, bgd; assert 'torch' not in sys.modules\n"
        "bgd.correct, bgd.Evaluator, bgd.METHODS\n"
        "rest = {'pandas', 'matplotlib', 'hydra', 'omegaconf', 'torchvision', 'yaml', 'experiments', 'safetensors'}\n"
        "assert not rest & set(sys.modules), rest & set(sys.modules)"
    )
    subprocess.run([sys.executable, "-c", code], check=True)


def test_one_sample_is_corrected_and_the_model_left_as_it_is(model, x):
    before, label = state(model), int(wrong(model, x)[0])
    found = bgd.correct(model, x, label)
    assert found
    assert found.patch is not None
    assert found.forward_passes > 0
    assert found.seconds > 0
    after = state(model)
    assert all(torch.equal(after[0][name], each) for name, each in before[0].items())
    assert after[1:] == before[1:]
    with found.patch.applied(model):
        assert int(model(x).argmax()) == label
    assert int(model(x).argmax()) != label


def test_a_sample_that_is_right_needs_nothing(model, x):
    found = bgd.correct(model, x, int(model(x).argmax()))
    assert found
    assert found.patch is None
    assert found.already
    assert found.reason == ""


def test_a_batch_gets_one_patch_after_which_all_are_right(model):
    inputs = others(6)
    labels = wrong(model, inputs)
    found = bgd.correct(model, inputs, labels, "last_layer_weight")
    assert found, found.reason
    with found.patch.applied(model):
        assert torch.equal(model(inputs).argmax(1), labels)


def test_a_batch_that_contradicts_itself_says_so_and_leaves_the_corrector_as_it_was(model, x):
    corrector = bgd.Corrector(model, "output_bias")
    first, second = int(wrong(model, x)[0]), int(wrong(model, x, 2)[0])
    found = corrector.correct(torch.cat([x, x]), [first, second])
    assert not found
    assert found.patch is None
    assert "undo each other" in found.reason
    alone = corrector.correct(x, first)
    with alone.patch.applied(model):
        assert int(model(x).argmax()) == first


def test_a_corrector_goes_on_from_what_was_accepted(model):
    corrector, inputs = bgd.Corrector(model, "least_change"), others(3)
    labels = wrong(model, inputs)
    assert corrector.patch is None
    for image, label in zip(inputs.split(1), labels.tolist(), strict=True):
        found = corrector.correct(image, label)
        if found.patch is not None:
            corrector.accept(found)
    patched = copy.deepcopy(model)
    corrector.patch.apply_(patched)
    assert int(patched(inputs[2:]).argmax()) == int(labels[2]), "the last one is right on top of the others"
    corrector.patch.revert_(patched)
    assert all(torch.equal(a, b) for a, b in zip(patched.parameters(), model.parameters(), strict=True))
    with pytest.raises(ConfigError, match="no patch"):
        corrector.accept(corrector.correct(inputs[2:], int(labels[2])))


def test_the_same_seed_gives_the_same_patch(model, x):
    label = int(wrong(model, x)[0])
    one, two, other = (bgd.correct(model, x, label, "bgd_ii", seed=seed).patch for seed in (0, 0, 1))
    assert torch.equal(one.indices, two.indices)
    assert torch.equal(one.new, two.new)
    assert other is not None
    assert one.metadata["method"] == "bgd_ii"
    assert one.metadata["goal"] == f"class {label}"
    assert len(one.metadata["sample"]) == 64


@pytest.mark.parametrize(
    "form",
    [
        lambda logits: SimpleNamespace(logits=logits),
        lambda logits: {"logits": logits, "loss": None},
        lambda logits: (logits, None),
        lambda logits: [logits],
    ],
    ids=["attribute", "mapping", "tuple", "list"],
)
def test_logits_inside_something_are_found_and_the_patch_has_the_models_own_names(form, x):
    model = Wrapped(form)
    label = int(wrong(model.body, x)[0])
    found = bgd.correct(model, x, label, "least_change")
    assert found, found.reason
    assert set(found.patch.tensors) <= {name for name, _ in model.named_parameters()}
    with found.patch.applied(model):
        assert int(model.body(x).argmax()) == label
    counts = bgd.effects(model, found.patch, others())
    assert len(counts.flipped) == len(counts.broken)


def test_a_model_in_training_mode_is_corrected_in_eval_mode_and_warned_of(x):
    model = nn.Sequential(nn.Linear(6, 16), nn.Dropout(0.5), nn.Linear(16, CLASSES)).train()
    with pytest.warns(UserWarning, match="training mode"):
        found = bgd.correct(model, x, int(wrong(copy.deepcopy(model).eval(), x)[0]))
    assert found
    assert model.training


@pytest.mark.parametrize(
    ("arguments", "options", "error", "words"),
    [
        ((torch.randn(6), 1), {}, SampleError, r"1 labels for 6 inputs.*give x\[None\]"),
        ((torch.randn(2, 6), [1]), {}, SampleError, "1 labels for 2 inputs"),
        ((torch.randn(1, 6), 1.0), {}, SampleError, "class indices are whole numbers"),
        ((torch.randn(1, 6), -1), {}, SampleError, "class index is 0 or more"),
        ((torch.randn(1, 6), 9), {}, SampleError, "classes of the network are 0 to 3"),
        (([1.0], 1), {}, SampleError, "x is a list"),
        ((torch.randn(0, 6), []), {}, SampleError, "holds no input"),
        ((torch.randn(1, 6), 1, "least_chang"), {}, ConfigError, "did you mean 'least_change'"),
        ((torch.randn(1, 6), 1, "bgd_ii"), {"subset_sise": 3}, ConfigError, "did you mean 'subset_size'"),
        ((torch.randn(1, 6), 1, "bgd_ii"), {"subset_size": 0}, ConfigError, "must be at least 1"),
        ((torch.randn(1, 6, dtype=torch.float64), 1), {}, SampleError, "float64"),
    ],
)  # fmt: skip
def test_bad_calls_name_what_is_wrong(arguments, options, error, words, model):
    with pytest.raises(error, match=words):
        bgd.correct(model, *arguments, **options)


def test_a_method_that_needs_to_know_more_says_how_to_give_it(model, x):
    with pytest.raises(
        LookupError, match=r"a keep-set of unlabelled images.*Knowledge.of\(model, keep=images\)"
    ):
        bgd.correct(model, x, int(wrong(model, x)[0]), "least_harm")


def test_knowledge_by_training_data_and_by_statistics_alone_comes_to_the_same(model, x):
    label, images = int(wrong(model, x)[0]), others()
    labels = model(images).argmax(1)
    method = bgd.METHODS["least_harm_kfac"]()
    everything = bgd.Knowledge.of(model, training=(images, labels))
    kept = bgd.Knowledge.measure(model, images, labels, [method.price.estimator])
    statistics = bgd.Knowledge.of(model, statistics=kept)
    one, two = (
        bgd.correct(model, x, label, method, knowledge=each).patch for each in (everything, statistics)
    )
    assert torch.equal(one.indices, two.indices)
    torch.testing.assert_close(one.new, two.new)
    with pytest.raises(LookupError, match="the statistics have no such"):
        bgd.correct(model, x, label, "ewc", knowledge=statistics)


def test_effects_are_those_of_running_the_patched_model(model, x):
    images = others()
    labels = model(images).argmax(1)
    labels[::5] = (labels[::5] + 1) % CLASSES
    patch = bgd.correct(model, x, int(wrong(model, x)[0]), "output_bias").patch
    counts = bgd.effects(model, patch, images, labels)
    before = model(images).argmax(1)
    with patch.applied(model):
        after = model(images).argmax(1)
    assert counts.flipped.tolist() == (before != after).nonzero().flatten().tolist()
    assert counts.broken.tolist() == ((before == labels) & (after != labels)).nonzero().flatten().tolist()
    assert counts.fixed.tolist() == ((before != labels) & (after == labels)).nonzero().flatten().tolist()
    assert counts.accuracy == pytest.approx(
        (float((before == labels).double().mean()), float((after == labels).double().mean()))
    )
    assert len(counts.to_frame()) == len(counts.flipped)
    assert f"{len(counts.flipped)} of 200 inputs change class" in str(counts)
    assert list(counts.loss_quantiles().values()) == sorted(counts.loss_quantiles().values())


def test_an_evaluator_refuses_a_patch_of_another_model(model, x):
    patch = bgd.correct(make(7), x, int(wrong(make(7), x)[0]), "output_bias").patch
    with pytest.raises(PatchError):
        bgd.effects(model, patch, others(10))
    with pytest.raises(ConfigError, match="labels: 3 for 10 images"):
        bgd.Evaluator(model, others(10), torch.zeros(3, dtype=torch.int64))
