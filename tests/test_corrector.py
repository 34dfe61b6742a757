"""The library's face: what a person with a model calls."""

import copy
import subprocess
import sys
from dataclasses import replace
from types import SimpleNamespace

import pytest
import torch
import torch.fx
from torch import nn

import bgd
from bgd.errors import ConfigError
from bgd.flat import NetworkError
from bgd.methods.sample import SampleError
from bgd.outputs import InputError
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


def test_a_correction_is_printed_in_a_line_without_what_it_hands_on(model, x):
    found = bgd.correct(model, x, int(wrong(model, x)[0]), "output_bias")
    shown = repr(replace(found, carry={"momentum": torch.zeros(1000)}))
    assert "patch=Patch(1 parameters of 2.bias), altered=1" in shown
    assert "momentum" not in shown
    assert "\n" not in shown


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
    with pytest.raises(ConfigError, match=r"labels of shape \(3,\) for 10 images"):
        bgd.Evaluator(model, others(10), torch.zeros(3, dtype=torch.int64))


IMAGES, CLASS = others(20), torch.zeros(20, dtype=torch.int64)


@pytest.mark.parametrize(
    ("arguments", "options", "words"),
    [
        ((torch.randn(1, 7), 1), {}, r"x: the model, a Sequential, does not take .* \(1, 7\), float32 on cpu: mat1"),
        ((torch.zeros(1, 6, dtype=torch.int64), 1), {}, "does not take an input .* int64"),
        ((torch.randn(1, 6), torch.eye(4)[:1].long()), {}, r"y of shape \(1, 4\).*one_hot"),
        ((torch.randn(1, 6), "3"), {}, "y='3': a class index"),
        ((torch.randn(1, 6), None), {}, "y=None: a class index"),
        ((torch.randn(1, 6), 1, bgd.methods.OutputBias), {}, r"method=<class.*an object such as"),
        ((torch.randn(1, 6), 1), {"knowledge": {"keep": IMAGES}}, r"knowledge is a dict: bgd.Knowledge.of"),
        ((torch.randn(1, 6), 1), {"goal": {9}}, r"goal.labels=\[9\]: the classes of the network are 0 to 3"),
        ((torch.randn(1, 6), 1), {"goal": lambda out: None}, "the rule gave None"),
        ((torch.randn(1, 6), 1), {"goal": lambda out: out > 0}, "the rule gave tensor"),
    ],
)  # fmt: skip
def test_a_plausible_mistake_is_one_sentence(arguments, options, words, model):
    with pytest.raises(ConfigError, match=words):
        bgd.correct(model, *arguments, **options)


@pytest.mark.parametrize(
    ("given", "words"),
    [
        ({"keep": [IMAGES]}, r"keep is a list: one tensor \(N, ...\) is wanted"),
        ({"keep": IMAGES[:0]}, "keep holds no input"),
        ({"keep": IMAGES[:, :5]}, r"keep: the model, a Sequential, does not take an input of shape \(1, 5\)"),
        ({"keep": IMAGES.double()}, "keep: the model.* float64"),
        ({"training": IMAGES}, r"training is a Tensor: a pair of tensors"),
        ({"training": (IMAGES, CLASS[:3])}, r"labels of shape \(3,\) for 20 images"),
        ({"training": (IMAGES, torch.eye(4)[CLASS])}, r"labels of shape \(20, 4\) .* one_hot.argmax"),
        ({"training": (IMAGES, CLASS.float())}, "labels are torch.float32: class indices"),
        ({"training": (IMAGES, CLASS.tolist())}, r"labels are a list: torch.as_tensor"),
        ({"training": (IMAGES, CLASS + 4)}, "a label is 4, and the classes of the model are 0 to 3"),
        ({"training": (IMAGES[:, :5], CLASS)}, "training: the model.* does not take"),
        ({"statistics": [1]}, "statistics is a list: tensors by name"),
    ],
)  # fmt: skip
def test_knowledge_that_the_model_cannot_use_is_one_sentence(given, words, model, x):
    method = "least_harm" if "keep" in given else "least_harm_kfac"
    with pytest.raises(ConfigError, match=words):
        bgd.correct(model, x, int(wrong(model, x)[0]), method, knowledge=bgd.Knowledge.of(model, **given))


@pytest.mark.parametrize("estimators", ["kfac", bgd.METHODS["least_harm_kfac"]().price.estimator])
def test_estimators_are_a_list_of_objects(estimators, model):
    with pytest.raises(ConfigError, match=r"estimators=.*: must be a list of objects"):
        bgd.Knowledge.measure(model, IMAGES, CLASS, estimators)


def test_knowledge_of_another_model_is_refused(model, x):
    other = nn.Sequential(nn.Linear(6, 9), nn.ReLU(), nn.Linear(9, CLASSES))
    knowledge = bgd.Knowledge.of(other, training=(IMAGES, CLASS))
    with pytest.raises(ConfigError, match="of a model of 103 parameters, and the one to correct has 180"):
        bgd.correct(model, x, int(wrong(model, x)[0]), "least_harm_kfac", knowledge=knowledge)


@pytest.mark.parametrize(
    ("images", "labels", "words"),
    [
        (IMAGES[:, :5], None, "does not take an input"),
        (IMAGES.numpy(), None, "images is a ndarray.*torch.from_numpy"),
        (IMAGES, CLASS + 4, "a label is 4"),
        (IMAGES, torch.eye(4)[CLASS], "one_hot.argmax"),
    ],
)
def test_inputs_without_effects_are_one_sentence(images, labels, words, model, x):
    found = bgd.correct(model, x, int(wrong(model, x)[0]), "output_bias")
    with pytest.raises(InputError, match=words):
        bgd.effects(model, found, images, labels)


class Remembering(nn.Module):
    """Reads the output that it gave before."""

    def __init__(self):
        super().__init__()
        self.body, self.last = make(), None

    def forward(self, x):
        self.last = self.body(x) if self.last is None else self.body(x) + 0 * self.last.mean()
        return self.last


def test_a_network_that_reads_what_it_computed_before_is_told_so_and_not_that_the_input_is_wrong(x):
    model = Remembering()
    model(x)
    with pytest.raises(NetworkError, match="reads 'last'"):
        bgd.correct(model, x, 1)


@pytest.mark.parametrize("thing", [None, "fix.safetensors"])
def test_what_is_no_patch_is_refused(thing, model):
    with pytest.raises(ConfigError, match="patch"):
        bgd.effects(model, thing, IMAGES)
    with pytest.raises(ConfigError, match="patch"):
        bgd.Corrector(model).accept(thing)


@pytest.mark.parametrize("thing", [nn.Linear, "model"])
def test_what_is_no_model_is_refused(thing, x):
    with pytest.raises(ValueError, match=r"an nn\.Module is wanted"):
        bgd.correct(thing, x, 1)
    with pytest.raises(ValueError, match=r"an nn\.Module is wanted"):
        bgd.Knowledge.of(thing, keep=IMAGES)


@pytest.mark.parametrize(
    "around", [lambda model: model, nn.DataParallel, torch.fx.symbolic_trace], ids=["bare", "parallel", "fx"]
)
@pytest.mark.parametrize("method", ["least_harm_kfac", "bgd_norm", "last_layer_weight"])
def test_a_model_of_packed_logits_is_as_one_of_bare_ones(method, around, x):
    """Names, knowledge by data and by statistics, and the patch."""
    packed, bare = around(Wrapped(lambda logits: {"logits": logits})), around(Wrapped(lambda logits: logits))
    label, classes = int(wrong(make(), x)[0]), make()(IMAGES).argmax(1)
    made = bgd.METHODS[method]()
    estimators = [made.price.estimator] if method == "least_harm_kfac" else []
    patches = []
    for model in (packed, bare):
        statistics = bgd.Knowledge.measure(model, IMAGES, classes, estimators)
        assert bgd.effects(model, bgd.correct(model, x, label, "output_bias"), IMAGES)
        for given in ({"training": (IMAGES, classes)}, {"statistics": statistics}):
            knowledge = bgd.Knowledge.of(model, **given)
            patches.append(bgd.correct(model, x, label, method, knowledge=knowledge).patch)
    for patch in patches[1:]:
        assert patch.tensors == patches[0].tensors
        assert torch.equal(patch.indices, patches[0].indices)
        torch.testing.assert_close(patch.new, patches[0].new)


def test_a_user_names_the_tensors_of_a_model_of_packed_logits_as_the_model_does(x):
    model = Wrapped(lambda logits: (logits, None)).eval()
    label = int(wrong(model.body, x)[0])
    found = bgd.correct(model, x, label, "fine_tune", tensors=["body.2.weight"], steps=500, learning_rate=0.1)
    assert found.patch.tensors == ["body.2.weight"]


@pytest.mark.parametrize("block", [torch.no_grad, torch.inference_mode, lambda: torch.autocast("cpu")])
def test_measures_and_effects_are_the_same_in_any_block(block, model, x):
    patch = bgd.correct(model, x, int(wrong(model, x)[0]), "output_bias").patch
    with block():
        gradient = bgd.Knowledge.measure(model, IMAGES * 1, CLASS * 1)["mean_gradient"]
        found = bgd.effects(model, patch, IMAGES)
    assert torch.equal(gradient, bgd.Knowledge.measure(model, IMAGES, CLASS)["mean_gradient"])
    wanted = bgd.effects(model, patch, IMAGES)
    assert torch.equal(found.after.losses, wanted.after.losses)
    assert torch.equal(found.before.losses, wanted.before.losses)


def test_the_input_is_left_alone_also_where_its_places_share_memory(model):
    x = torch.ones(1, 1, requires_grad=True)
    wide = x.expand(1, 6)
    before = wide._version
    assert bgd.correct(model, wide, int(wrong(model, wide)[0]))
    assert wide._version == before
    assert x.grad is None


def test_a_parameter_that_is_nan_and_leads_nowhere_is_left_out_of_the_patch(model, x):
    model.spare = nn.Linear(2, 2)
    model.spare.forward = lambda given: given
    nn.init.constant_(model.spare.weight, float("nan"))
    found = bgd.correct(model, x, int(wrong(model, x)[0]), "rank_one", layer="2")
    assert found, found.reason
    assert found.patch.tensors == ["2.weight"]


def test_a_row_of_least_harm_takes_inputs_that_are_no_pictures(model, x):
    knowledge = bgd.Knowledge.of(model, keep=IMAGES)
    assert bgd.correct(model, x, int(wrong(model, x)[0]), "least_harm_row", knowledge=knowledge)
