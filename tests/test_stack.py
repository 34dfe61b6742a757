"""A stack of fixes, against writing the values of those that remain into a fresh copy."""

import copy
import json
import zipfile

import pytest
import torch
from odd_patches import KINDS, odd_model, odd_patch, state
from torch import nn

import bgd
from bgd import rng
from bgd.errors import ConfigError
from bgd.outputs import InputError
from bgd.parameters import ParameterSpace
from bgd.patch import Patch, PatchError
from bgd.stack import Stack

INPUTS = torch.randn(8, 6, generator=torch.Generator().manual_seed(5))


@pytest.fixture
def model():
    torch.manual_seed(0)
    return nn.Sequential(nn.Linear(6, 16), nn.ReLU(), nn.Linear(16, 4)).eval()


def second(model, x):
    """The class that a model ranks second."""
    return int(model(x).argsort(descending=True)[0, 1])


def stacked(model, inputs, method="output_bias"):
    """A stack of a fix for each input, each made on top of the others; its steps."""
    stack, steps = Stack(model), []
    for place, x in enumerate(inputs.split(1)):
        now = stack.applied_to(model)
        label = second(now, x)
        steps.append(stack.add(bgd.correct(now, x, label, method), x, label, note=f"report {place}"))
    return stack, steps


def written(model, patches):
    """A copy of a model with the new values of patches written in turn, whatever was there."""
    model = copy.deepcopy(model)
    parameters = dict(model.named_parameters())
    for patch in patches:
        for part in patch.parts():
            flat = parameters[part.name].detach().clone().reshape(-1)
            flat[part.indices] = part.new
            parameters[part.name].data = flat.reshape(part.shape)
    return model


@pytest.mark.parametrize("seed", range(2))
@pytest.mark.parametrize("kind", KINDS)
def test_any_row_of_additions_and_undoings_gives_the_bits_of_what_remains_applied_afresh(kind, seed):
    """NaN, infinities and -0 among them; a patch is made on top of the stack or of the model, and half overlap."""
    stream = rng.stream(seed, "test", "stack")
    model = odd_model(stream, kind)
    before, stack, remaining = state(model), Stack(model), {}
    for _ in range(10):
        if remaining and stream.random() < 0.4:
            number = int(stream.choice(list(remaining)))
            stack.undo(number)
            del remaining[number]
        else:
            base = stack.applied_to(model) if stream.random() < 0.7 else model
            patch = odd_patch(base, stream, near=next(reversed(remaining.values()), None))
            if len(patch):
                remaining[stack.add(patch).fix.number] = patch
        assert state(stack.applied_to(model)) == state(written(model, remaining.values()))
        assert [fix.number for fix in stack.fixes] == list(remaining)
    afresh = Stack(model)
    for fix in stack.fixes:
        afresh.add(fix.patch)
    assert state(afresh.applied_to(model)) == state(stack.applied_to(model))
    assert state(model) == before


def test_where_fixes_overlap_the_later_ones_value_stands_and_both_are_named(model):
    stack, place = Stack(model), model[2].bias
    for value in (1.0, 2.0):
        now = stack.applied_to(model)
        after = copy.deepcopy(now)
        after[2].bias.data[1] = value
        step = stack.add(between(now, after))
    (conflict,) = stack.conflicts()
    assert (conflict.parameter, conflict.index, conflict.patches, conflict.values) == (
        "2.bias", (1,), (1, 2), (1.0, 2.0)
    )  # fmt: skip
    assert step.overlaps == {1: 1}
    assert stack.conflicts(2) == stack.conflicts(1) == (conflict,)
    assert [each.overwritten for each in stack.status()] == [1, 0]
    assert "disagrees with fix 2 in 1 value, and" in str(stack.undo(1))
    assert stack.conflicts() == ()
    assert float(stack.applied_to(model)[2].bias.detach()[1]) == 2.0
    stack.undo(2)
    assert float(stack.applied_to(model)[2].bias.detach()[1]) == float(place.detach()[1])
    assert not stack.squash().tensors


def test_overlaps_against_a_loop(model):
    stream = rng.stream(0, "test", "overlaps")
    stack, written_by = Stack(model), {}
    for _ in range(5):
        patch = odd_patch(stack.applied_to(model), stream)
        step = stack.add(patch)
        own = dict(zip(patch.indices.tolist(), patch.new.view(torch.int32).tolist(), strict=True))
        counts = {
            number: sum(own[at] != value for at, value in other.items() if at in own)
            for number, other in written_by.items()
        }
        assert step.overlaps == {number: count for number, count in counts.items() if count}
        written_by[step.fix.number] = own


def test_a_fix_that_writes_the_models_own_value_back_holds_it_over_another(model):
    stack = Stack(model)
    after = copy.deepcopy(model)
    after[2].bias.data[1] = 1.0
    stack.add(between(model, after))
    stack.add(between(after, model))
    assert state(stack.applied_to(model)) == state(model)
    assert [len(fix.patch) for fix in stack.fixes] == [1, 1]


def between(before, after):
    space = ParameterSpace.of(before)
    return Patch.between(
        space, *(torch.cat([p.detach().reshape(-1) for p in m.parameters()]) for m in (before, after))
    )


def test_which_later_fix_broke_which_earlier_one(model):
    """Against running the model with the first one, two, ... fixes."""
    stack, steps = stacked(model, INPUTS)
    fixes = stack.fixes

    def right(fix, count):
        patched = written(model, [each.patch for each in fixes[:count]])
        return int(patched(fix.x).argmax()) == fix.labels[0]

    assert all(step.holds for step in steps)
    broke = {}
    for count, step in enumerate(steps, start=1):
        earlier = fixes[: count - 1]
        assert list(step.broken) == [
            each for each in earlier if right(each, count - 1) and not right(each, count)
        ]
        assert list(step.mended) == [
            each for each in earlier if not right(each, count - 1) and right(each, count)
        ]
        broke |= {each.number: step.fix.number for each in step.broken}
        broke = {
            number: by for number, by in broke.items() if number not in [each.number for each in step.mended]
        }
    assert broke
    status = stack.status()
    assert {each.number: each.broken_by for each in status if not each.right} == broke
    assert all((each.broken_by is None) == each.right for each in status)
    line = stack.table().splitlines()[1 + min(broke)]
    assert "report" in line
    assert "| no " in line


def test_undoing_one_says_whom_it_broke_and_what_it_was_for(model):
    stack, _ = stacked(model, INPUTS)
    left = [fix for fix in stack.fixes if fix.number != 3]
    undone = stack.fix(3)
    patched = [written(model, [each.patch for each in fixes]) for fixes in (stack.fixes, left)]

    def right(model, fix):
        return int(model(fix.x).argmax()) == fix.labels[0]

    step = stack.undo(3)
    assert step.holds == right(patched[1], undone)
    assert list(step.broken) == [
        each for each in left if right(patched[0], each) and not right(patched[1], each)
    ]
    assert list(step.mended) == [
        each for each in left if not right(patched[0], each) and right(patched[1], each)
    ]
    assert stack.add(undone.patch).fix.number == 9, "a number is never given again"
    with pytest.raises(ConfigError, match="there are 1, 2, 4, 5, 6, 7, 8, 9"):
        stack.undo(3)
    with pytest.raises(ConfigError, match="fix=True: the number of a fix is wanted"):
        stack.undo(True)


def test_a_squashed_stack_is_one_patch_of_the_model(model, tmp_path):
    stack, _ = stacked(model, INPUTS, "last_layer_weight")
    stack.undo(2)
    whole = stack.squash()
    whole.save(tmp_path / "all.safetensors", base=model)
    patched = copy.deepcopy(model)
    Patch.load(tmp_path / "all.safetensors").apply_(patched)
    assert state(patched) == state(stack.applied_to(model))
    assert "fix 1 (report 0); fix 3" in whole.metadata["stack"]


def test_a_saved_stack_is_the_same_and_its_patches_are_of_the_model_alone(model, tmp_path):
    stack, _ = stacked(model, INPUTS)
    goal = bgd.Goal(labels={0, 3}, margin=0.5)
    now = stack.applied_to(model)
    fix = bgd.correct(now, INPUTS[:1], 3, "output_bias", goal=goal)
    if fix.patch:
        stack.add(fix, INPUTS[:1], 3, goal=goal, note="ä|b")
    stack.undo(2)
    path = tmp_path / "fixes.stack"
    stack.save(path)
    loaded = Stack.load(path, model)
    assert loaded.status() == stack.status()
    assert [each.goal for each in loaded.fixes] == [each.goal for each in stack.fixes]
    assert state(loaded.applied_to(model)) == state(stack.applied_to(model))
    loaded.save(tmp_path / "again.stack")
    assert (tmp_path / "again.stack").read_bytes() == path.read_bytes()
    with zipfile.ZipFile(path) as file:
        file.extract("8.safetensors", tmp_path)
    alone = copy.deepcopy(model)
    Patch.load(tmp_path / "8.safetensors").apply_(alone)
    assert state(alone) == state(written(model, [stack.fix(8).patch]))
    assert loaded.add(stack.fix(8).patch).fix.number == stack._next
    with pytest.raises(FileExistsError):
        stack.save(path)


def repacked(path, change):
    """The stack's file with its members, a dictionary of bytes, changed."""
    with zipfile.ZipFile(path) as file:
        members = {name: file.read(name) for name in file.namelist()}
    change(members)
    with zipfile.ZipFile(path, "w") as file:
        for name, content in members.items():
            file.writestr(name, content)


def manifest_with(**changes):
    return lambda members: members.update(
        {"stack.json": json.dumps(json.loads(members["stack.json"]) | changes).encode()}
    )


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (lambda members: members.pop("1.safetensors"), "1.safetensors"),
        (lambda members: members.pop("stack.json"), "stack.json"),
        (lambda members: members.update({"1.pt": b"other"}), "1.pt is not the file .* by SHA-256"),
        (lambda members: members.update({"stack.json": b"{"}), "cannot be read as a stack"),
        (manifest_with(version=2), "version 1"),
        (manifest_with(fixes=[{"number": 1}]), "cannot be read as a stack"),
        (manifest_with(fixes=3), "cannot be read as a stack"),
    ],
)
def test_a_file_that_is_not_whole_is_refused(change, words, model, tmp_path):
    stack, _ = stacked(model, INPUTS[:2])
    path = tmp_path / "fixes.stack"
    stack.save(path)
    repacked(path, change)
    with pytest.raises(PatchError, match=words):
        Stack.load(path, model)
    path.write_bytes(b"no zip")
    with pytest.raises(PatchError, match="cannot be read as a stack"):
        Stack.load(path, model)


def test_another_model_and_a_rule_without_words_are_refused(model, tmp_path):
    stack, _ = stacked(model, INPUTS[:2])
    path = tmp_path / "fixes.stack"
    stack.save(path)
    with pytest.raises(PatchError, match=r"fix 1 \(report 0\) is of another model"):
        Stack.load(path, stack.applied_to(model))
    other = copy.deepcopy(model)
    other[0].weight.data += 1
    other[2].bias.data += 1
    for call in (Stack.load, lambda path, other: stack.applied_to(other)):
        with pytest.raises(PatchError):
            call(path, other)
    stack.add(stack.fix(1).patch, INPUTS[:1], 0, goal=lambda outputs: True)
    with pytest.raises(PatchError, match="rule of one's own"):
        stack.save(tmp_path / "rule.stack")
    assert not (tmp_path / "rule.stack").exists()


def test_what_cannot_be_added_is_named_and_leaves_the_stack_as_it_was(model):
    stack, _ = stacked(model, INPUTS[:2])
    patch, before = stack.fix(1).patch, stack.status()
    other = copy.deepcopy(model)
    other[2].bias.data += 1
    foreign = bgd.correct(other, INPUTS[:1], second(other, INPUTS[:1]), "output_bias")
    calls = [
        (PatchError, "neither the stacked nor the unpatched", (foreign,)),
        (PatchError, "changes nothing", (stack._checker.nothing,)),
        (ConfigError, "x and y go together", (patch, INPUTS[:1])),
        (InputError, "classes of the network are 0 to 3", (patch, INPUTS[:1], 7)),
        (InputError, "2 labels for 1 inputs", (patch, INPUTS[:1], [1, 2])),
        (ConfigError, "must be a bgd.Patch", ("fix.safetensors",)),
    ]
    for error, words, arguments in calls:
        with pytest.raises(error, match=words):
            stack.add(*arguments)
    assert stack.status() == before
    assert stack.add(patch).holds is None


def test_an_empty_stack_is_the_model_itself(model, tmp_path):
    stack = Stack(model)
    assert state(stack.applied_to(model)) == state(model)
    assert stack.status() == []
    assert len(stack) == len(stack.squash()) == 0
    stack.save(tmp_path / "none.stack")
    assert len(Stack.load(tmp_path / "none.stack", model)) == 0


def test_a_frozen_model_has_a_stack_too(model):
    stack, x = Stack(copy.deepcopy(model).requires_grad_(False)), INPUTS[:1]
    assert stack.add(bgd.correct(model, x, second(model, x)), x, second(model, x)).holds


def test_logits_inside_something_are_found(model):
    class Packed(nn.Module):
        def __init__(self):
            super().__init__()
            self.body = model

        def forward(self, x):
            return {"logits": self.body(x)}

    packed, x = Packed().eval(), INPUTS[:1]
    label = second(model, x)
    assert Stack(packed).add(bgd.correct(packed, x, label, "output_bias"), x, label).holds
