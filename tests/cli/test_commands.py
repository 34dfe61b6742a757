"""What commands do, against the library called by hand and against the files that they write."""

from hashlib import sha256

import numpy as np
import onnx
import onnxruntime
import pytest
import torch
from pretended import pretended_card

import bgd as library
from bgd.cli.arguments import MARGIN
from bgd.cli.parser import parsed
from bgd.deployed.model import TorchModel
from bgd.deployed.onnx_head import OnnxModel
from bgd.methods import METHODS
from bgd.patch import Patch
from cli.conftest import made

NET = ["net:make", "--weights", "net.pt"]
BIAS = ["--label", "3", "--method", "output_bias"]


def state(path):
    return torch.load(path, weights_only=True)


def same(one, other):
    return list(one) == list(other) and all(torch.equal(one[name], other[name]) for name in one)


def test_a_correction_is_the_librarys_and_its_file_tells_what_it_was_made_of(bgd, here, model):
    x = torch.from_numpy(np.load("wrong.npy"))
    keep = torch.from_numpy(np.load("keep.npz")["x"])
    knowledge = library.Knowledge.of(model, keep=keep)
    goal = library.Goal(margin=MARGIN)
    wanted = library.correct(
        model, x, 3, "last_layer_lp_l1_keep", knowledge=knowledge, goal=goal, keep=20
    ).patch
    options = [
        "--label",
        "3",
        "--keep",
        "keep.npz:x",
        "--method",
        "last_layer_lp_l1_keep",
        "--set",
        "keep=20",
    ]
    said = bgd("correct", *NET, "wrong.npy", *options, "-o", "fix.safetensors", "--json")
    assert said.status == 0, said.err
    found = Patch.load("fix.safetensors")
    assert torch.equal(found.over(wanted.space).indices, wanted.indices)
    assert torch.equal(found.over(wanted.space).new, wanted.new)
    assert found.verify(model).state == "base"
    assert set(found.hashes) == set(found.tensors)
    about = {
        "goal": "class 3; margin 0.3",
        "input": "wrong.npy",
        "method": "last_layer_lp_l1_keep",
        "model": "net:make, net.pt",
    }
    assert about.items() <= found.metadata.items()
    assert found.metadata["sample"] == sha256(x.numpy().tobytes()).hexdigest()
    patch = said.out["patch"]
    assert patch["parameters"] == len(patch["changes"]) == len(found)
    assert [each["new"] for each in patch["changes"]] == wanted.new.tolist()
    effects = library.effects(model, wanted, keep).to_dict()
    assert {key: said.out["keep"][key] for key in effects} == effects
    assert [each["number"] for each in said.out["keep"]["flips"]] == effects["flipped"]
    (sample,) = said.out["samples"]
    assert sample["after"]["class"] == 3 != sample["before"]["class"]


def test_several_samples_get_one_change(bgd, here):
    both = ["many.npy", "--index", "0,2", "--label", "3,5", "--method", "last_layer_weight"]
    said = bgd("correct", *NET, *both, "-o", "fix.safetensors", "--json")
    assert said.status == 0, said.err
    assert [each["after"]["class"] for each in said.out["samples"]] == [3, 5]
    assert [each["input"] for each in said.out["samples"]] == ["many.npy[0]", "many.npy[2]"]
    patched = made()
    Patch.load("fix.safetensors").apply_(patched)
    assert patched(torch.from_numpy(np.load("many.npy"))[[0, 2]]).argmax(1).tolist() == [3, 5]


def test_a_picture_is_named_with_its_transform(bgd, here):
    steps = "grayscale,resize=8x8,scale=0..1"
    said = bgd("correct", *NET, "digit.png", "--transform", steps, "--label", "seven", "--classes", "names.txt",
               "--method", "output_bias", "-o", "fix.safetensors", "--json")  # fmt: skip
    assert said.out["samples"][0]["after"]["name"] == "seven"
    assert Patch.load("fix.safetensors").metadata["transform"] == steps
    assert steps in bgd("inspect", "fix.safetensors").out


def test_a_goal_asks_for_more(bgd, here, model):
    said = bgd(
        "correct",
        *NET,
        "wrong.npy",
        *BIAS,
        "--margin",
        "0.5",
        "--where",
        "bfloat16",
        "-o",
        "fix.safetensors",
        "--json",
    )
    assert said.out["goal"] == "class 3; margin 0.5; in bfloat16"
    patched = made()
    Patch.load("fix.safetensors").apply_(patched)
    x = torch.from_numpy(np.load("wrong.npy"))
    for logits in (patched(x), patched.bfloat16()(x.bfloat16())):
        first, second = logits[0].topk(2).values.float()
        assert int(logits.argmax()) == 3
        assert first - second >= 0.5


@pytest.mark.parametrize(
    ("options", "method"),
    [
        ([], "least_change"),
        (["--keep", "keep.npz:x"], "least_harm"),
        (["--training", "keep.npz:x,keep.npz:y"], "least_harm_kfac"),
        (["--statistics", "statistics.pt"], "least_harm_kfac"),
        (["--keep", "keep.npz:x", "--method", "bgd_ii"], "bgd_ii"),
    ],
)
def test_the_method_is_by_default_the_best_for_what_is_known(options, method):
    from bgd.cli.wanted import method_of

    words = [
        "correct",
        *NET,
        "wrong.npy",
        "--label",
        "3",
        *options,
        "--set",
        "budget=2",
        "--set",
        'tensors=["a"]',
        "--set",
        "norm=linf",
    ]
    assert method_of(parsed(words)) == (method, {"budget": 2, "tensors": ["a"], "norm": "linf"})


def test_statistics_from_a_file_are_those_of_the_training_data(bgd, here, model):
    x, y = (torch.from_numpy(np.load("keep.npz")[key]) for key in "xy")
    estimator = METHODS["last_layer_weight_statistic"]().estimator
    torch.save(library.Knowledge.measure(model, x, y, [estimator]), "statistics.pt")
    changes = []
    for options in (["--statistics", "statistics.pt"], ["--training", "keep.npz:x,keep.npz:y"]):
        line = [
            *NET,
            "wrong.npy",
            "--label",
            "3",
            "--method",
            "last_layer_weight_statistic",
            *options,
            "--json",
        ]
        changes.append(bgd("correct", *line).out["patch"]["changes"])
    assert changes[0] == changes[1] != []


def test_weights_as_the_model_as_an_option_and_in_a_checkpoint_are_the_same(bgd, here):
    torch.save(
        {"epoch": 3, "state_dict": {f"module.{name}": each for name, each in state("net.pt").items()}},
        "run.pt",
    )
    ways = ["net.pt", "--factory", "net:make"], ["net:make", "--weights", "run.pt"], NET
    one, two, three = (bgd("correct", *way, "wrong.npy", *BIAS, "--json").out["patch"] for way in ways)
    assert one == two == three


def test_a_model_that_does_not_follow_its_network_is_no_correction(bgd, here, monkeypatch):
    """As a runtime that folds weights at load would be."""
    monkeypatch.setattr(TorchModel, "patched", lambda self, patch: self)
    said = bgd("correct", *NET, "wrong.npy", *BIAS, "-o", "fix.safetensors")
    assert said.status == 1
    assert "the model itself, with the change, calls wrong.npy class 1" in said.err
    assert not (here / "fix.safetensors").exists()


def test_a_fix_goes_into_a_file_and_out_of_it_bit_for_bit(bgd, here):
    assert bgd("correct", *NET, "wrong.npy", *BIAS, "-o", "fix.safetensors").status == 0
    assert bgd("apply", "fix.safetensors", "net.pt", "-o", "fixed.pt", "--json").out["parameters"] == 1
    patched = made()
    Patch.load("fix.safetensors").apply_(patched)
    assert same(state("fixed.pt"), patched.state_dict())
    assert bgd("verify", "fix.safetensors", "fixed.pt", "--json").out["state"] == "patched"
    assert (
        bgd("verify", "fix.safetensors", "net:make", "--weights", "fixed.pt", "--json").out["state"]
        == "patched"
    )
    assert bgd("verify", "fix.safetensors", "net:make").status == 1, "its own weights are others"
    assert bgd("revert", "fix.safetensors", "fixed.pt", "-o", "back.pt").status == 0
    assert same(state("back.pt"), made().state_dict())


def test_an_onnx_file_is_corrected_in_its_head_and_says_so_in_its_own_runtime(bgd, here, model):
    line = ["net.onnx", "wrong.npy", "--label", "3", "--method", "last_layer_weight", "--keep", "keep.npz:x"]
    said = bgd("correct", *line, "--cache", "features", "-o", "fix.safetensors", "--json")
    assert said.status == 0, said.err
    assert Patch.load("fix.safetensors").tensors == ["w2"]
    assert said.out["samples"][0]["after"]["class"] == 3
    assert len(list((here / "features").iterdir())) == 2, "of the sample and the keep-set"
    seen = bgd("effects", "fix.safetensors", "net.onnx", "keep.npz:x", "--json").out["effects"]
    assert seen["flipped"] == said.out["keep"]["flipped"]
    assert bgd("apply", "fix.safetensors", "net.onnx", "-o", "fixed.onnx").status == 0
    x = np.load("keep.npz")["x"]
    before, after = (
        onnxruntime.InferenceSession(path, providers=["CPUExecutionProvider"])
        .run(None, {"x": x})[0]
        .argmax(1)
        for path in ("net.onnx", "fixed.onnx")
    )
    assert np.flatnonzero(before != after).tolist() == seen["flipped"]
    assert bgd("revert", "fix.safetensors", "fixed.onnx", "-o", "back.onnx").status == 0
    assert bgd("correct", *NET, "wrong.npy", *BIAS, "-o", "torch.safetensors").status == 0
    carried, own = (
        bgd("effects", "torch.safetensors", *each, "keep.npz:x", "--json").out["effects"]["flipped"]
        for each in (["net.onnx"], NET)
    )
    assert carried == own != []
    first, second = (onnx.load(path).SerializeToString() for path in ("net.onnx", "back.onnx"))
    assert first == second


def test_features_of_an_onnx_file_are_computed_once(bgd, monkeypatch):
    computed, inputs = [], OnnxModel.inputs
    monkeypatch.setattr(
        OnnxModel, "inputs", lambda self, raw: (computed.append(len(raw)), inputs(self, raw))[1]
    )
    line = ["net.onnx", "wrong.npy", "--classes", "names.txt", "--keep", "keep.npz:x", "--label", "three"]
    assert bgd("correct", *line, "--method", "last_layer_lp_l1_keep").status == 0
    assert sorted(computed) == [1, 50]


def test_a_stack_of_an_onnx_file_takes_a_fix_of_the_network_that_it_was_made_from(bgd):
    bgd("correct", *NET, "wrong.npy", *BIAS, "-o", "one.safetensors")
    first = ["--add", "one.safetensors", "--sample", "wrong.npy", "--label", "3", "--json"]
    added = bgd("stack", "all.stack", "net.onnx", *first)
    assert added.out["fixes"][0]["right"] is True
    bgd("correct", "net.onnx", "many.npy", "--index", "1", "--label", "5", "-o", "two.safetensors")
    second = bgd("stack", "all.stack", "net.onnx", "--add", "two.safetensors", "--overwrite", "--json")
    assert [each["number"] for each in second.out["fixes"]] == [1, 2]


def test_a_stack_says_which_later_fix_broke_which_earlier_one(bgd, here, model):
    """Two fixes that each give one bias: the second takes the first one's input back."""
    first = ["--sample", "wrong.npy", "--label", "3"]
    bgd("correct", *NET, "wrong.npy", *BIAS, "-o", "one.safetensors")
    bgd(
        "correct",
        *NET,
        "wrong.npy",
        "--label",
        "7",
        "--method",
        "output_bias",
        "--margin",
        "5",
        "-o",
        "two.safetensors",
    )
    added = bgd(
        "stack", "all.stack", *NET, "--add", "one.safetensors", *first, "--note", "report 1", "--json"
    )
    assert added.out["fixes"][0]["right"] is True
    changed = bgd("stack", "all.stack", *NET, "--add", "two.safetensors", "-o", "both.stack", "--json")
    assert changed.out["steps"][0]["broken"] == [1]
    assert changed.out["fixes"][0]["broken_by"] == 2
    assert "report 1" in bgd("stack", "both.stack", *NET).out
    undone = bgd(
        "stack", "both.stack", *NET, "--undo", "2", "--overwrite", "--squash", "all.safetensors", "--json"
    )
    assert undone.out["steps"][0]["mended"] == [1]
    assert undone.out["squashed"] == {"output": "all.safetensors", "parameters": 1}
    assert torch.equal(Patch.load("all.safetensors").new, Patch.load("one.safetensors").new)
    assert len(bgd("stack", "all.stack", *NET, "--json").out["fixes"]) == 1, "-o left it as it was"


def test_checks_say_what_runs_and_why_the_rest_does_not(bgd, here, monkeypatch):
    chosen = {name: METHODS[name] for name in ("output_bias", "least_harm", "bgd_ii")}
    monkeypatch.setattr("bgd.cli.checks.METHODS", chosen)
    monkeypatch.setattr("bgd.cli.checks.ARITHMETICS", ["bfloat16", "int4"])
    said = bgd("checks", *NET, "wrong.npy", "--json").out
    assert [each["runs"] for each in said["methods"].values()] == [True, False, True]
    assert "--keep INPUTS" in said["methods"]["least_harm"]["reason"]
    assert said["head"] == {"layer": "3"}
    assert said["arithmetics"]["bfloat16"] == {"runs": True, "class": said["says"]["class"]}
    assert "no such arithmetic" in said["arithmetics"]["int4"]["reason"]
    assert "least_harm: the method needs a keep-set" in bgd("checks", *NET, "wrong.npy").out


def test_a_frontier_has_a_point_for_each_method(bgd, here):
    methods = ["--methods", "output_bias,least_harm_data"]
    said = bgd(
        "frontier", *NET, "wrong.npy", "--label", "3", "--check", "other.npz:x", *methods, "--json"
    ).out
    assert [each["method"] for each in said["methods"]] == ["output_bias"]
    assert said["methods"][0]["parameters"] == 1
    assert "--training" in said["refused"]["least_harm_data"]
    assert bgd("frontier", *NET, "wrong.npy", "--label", "3", "-o", "points.txt").status == 2
    assert bgd("frontier", *NET, "wrong.npy", "--label", "3", "--check-labels", "other.npz:y").status == 2


def test_weights_by_chance_are_noted(bgd):
    line = ["correct", "net:make", "wrong.npy", *BIAS]
    assert "bgd: net:make gives other weights each time, 1.weight for one" in bgd(*line).err
    assert not bgd(*line, "--weights", "net.pt").err


CHECK = ["--check", "other.npz:x", "--check-labels", "other.npz:y"]


@pytest.mark.parametrize(
    "line",
    [
        ["correct", *NET, "wrong.npy", *BIAS, *CHECK, "-o", "fix.safetensors", "--overwrite"],
        pytest.param(
            ["frontier", *NET, "wrong.npy", *BIAS[:2], "--keep", "keep.npz:x", *CHECK, "--training",
             "keep.npz:x,keep.npz:y", "--methods", "last_layer_weight_statistic,least_harm,bgd_ii"],
            marks=pytest.mark.slow,
        ),
    ],
    ids=lambda line: line[0],
)  # fmt: skip
def test_on_a_card_the_answer_is_the_same(line, bgd, here, monkeypatch):
    """One that is pretended, whose operations refuse to mix devices; `correct` evaluates as `effects` does."""
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    here_said = bgd(*line, "--json")
    with pretended_card():
        there_said = bgd(*line, "--device", "cuda", "--json")
    assert here_said.status == there_said.status == 0, there_said.err
    assert told(here_said.out) == told(there_said.out)


def told(record):
    """What is no time, with fewer digits."""
    if isinstance(record, dict):
        return {key: told(each) for key, each in record.items() if key != "seconds"}
    if isinstance(record, list):
        return list(map(told, record))
    return pytest.approx(record, rel=1e-4, abs=1e-5) if isinstance(record, float) else record
