"""Every method, through the face, on networks that nobody wrote for it: it corrects, or says in a sentence why not."""

import copy
import re

import pytest
import torch
import torchvision.models as models
from torch import nn

import bgd
from bgd import rng
from bgd.errors import ConfigError

SLOW = {"idealized"}  # goes through every parameter that a re-training changed: millions of passes
QUICK = ("bgd_ii", "least_change", "least_harm", "last_layer_weight")
MAKE = {
    "resnet18": lambda: models.resnet18(num_classes=10),
    "mobilenet_v3": lambda: models.mobilenet_v3_small(num_classes=10),
    "vision_transformer": lambda: models.VisionTransformer(32, 16, 2, 4, 64, 128, num_classes=10),
}
REASONS = (  # why a method may leave a sample wrong on a network of random weights
    r"wrong after \d+ (iterations|steps|linearisations)|wrong with all|the gradient is zero|no step along"
)
REFUSALS = r"name the one to change|is not plain|runs \d+ times|no nn.Linear or nn.Conv2d"


@pytest.fixture(scope="module", params=MAKE)
def case(request):
    """A network, a sample with the class that it is to have, and what may be known."""
    with rng.torch_seeded(rng.stream(0, "init")):
        model = MAKE[request.param]().eval()
        if request.param == "vision_transformer":
            nn.init.normal_(model.heads.head.weight, std=0.1)  # zero as torchvision makes it: all classes tie
        size = 32
        x, keep, train = (torch.randn(count, 3, size, size) for count in (1, 16, 8))
    with torch.no_grad():
        label, labels = int(model(x).argsort(1)[0, -2]), model(train).argmax(1)
    return model, x, label, bgd.Knowledge.of(model, keep=keep, training=(train, labels))


def check(case, method, **options):
    model, x, label, knowledge = case
    try:
        found = bgd.correct(model, x, label, method, knowledge=knowledge, **options)
    except ConfigError as error:
        said = str(error)
    else:
        said = found.reason if found.patch is None else ""
    if said:
        assert re.search(f"{REASONS}|{REFUSALS}", said), said
        return
    with found.patch.applied(model), torch.no_grad():
        assert int(model(x).argmax()) == label
    with torch.no_grad():
        assert int(model(x).argmax()) != label


@pytest.mark.parametrize("method", QUICK)
def test_a_method_corrects(case, method):
    check(case, method)


@pytest.mark.slow
@pytest.mark.parametrize("method", sorted(set(bgd.METHODS) - SLOW - set(QUICK)))
def test_every_method_corrects_or_says_why_not(case, method):
    check(case, method)


@pytest.mark.parametrize("method", ["last_layer_weight", "bgd_ii"])
def test_a_patch_goes_to_another_copy_by_its_file_and_back(case, method, tmp_path):
    model, x, label, _ = case
    found = bgd.correct(model, x, label, method)
    path = tmp_path / "fix.safetensors"
    found.patch.save(path, base=model)
    assert path.stat().st_size < 1100
    elsewhere = copy.deepcopy(model)
    patch = bgd.Patch.load(path)
    assert patch.metadata["method"] == method
    patch.apply_(elsewhere)
    with torch.no_grad():
        assert int(elsewhere(x).argmax()) == label
    patch.revert_(elsewhere)
    assert all(torch.equal(a, b) for a, b in zip(elsewhere.parameters(), model.parameters(), strict=True))
