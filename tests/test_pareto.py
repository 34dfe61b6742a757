"""Parameters against flips of a user's own model, against running the patched model."""

import sys

import pytest
import torch
from torch import nn

import bgd
from bgd.errors import ConfigError
from bgd.outputs import InputError
from bgd.pareto import METHODS, Attempt, Frontier
from bgd.pareto.lots import divided
from bgd.pareto.survey import _made

QUICK = ("output_bias", "last_layer_weight", "last_layer_lp_l1", "least_harm_kfac", "least_change")


def inputs(count, seed):
    return torch.randn(count, 6, generator=torch.Generator().manual_seed(seed))


@pytest.fixture(scope="module")
def model():
    torch.manual_seed(0)
    return nn.Sequential(nn.Linear(6, 16), nn.ReLU(), nn.Linear(16, 4)).eval()


@pytest.fixture(scope="module")
def held_out(model):
    others = inputs(90, 2)
    labels = model(others).argmax(1)
    labels[::4] = (labels[::4] + 1) % 4
    return others, labels


@pytest.fixture(scope="module")
def calls():
    return []


@pytest.fixture(scope="module")
def found(model, held_out, calls):
    x = inputs(4, 1)
    y = model(x).argsort(1)[:, 2]
    y[3] = model(x[3:]).argmax()
    return bgd.frontier(
        model,
        x,
        y,
        held_out=held_out,
        keep=inputs(20, 3),
        methods=QUICK,
        progress=lambda *each: calls.append(each),
    )


def test_each_attempt_is_what_running_the_patched_model_says(found, model, held_out):
    others, labels = held_out
    before = model(others).detach()
    assert len(found.attempts) == 3 * 4
    for attempt in found.attempts:
        assert attempt.reason == ""
        with attempt.patch.applied(model):
            after = model(others).detach()
        was, now = before.argmax(1), after.argmax(1)
        assert attempt.parameters == len(attempt.patch)
        assert attempt.flips == int((was != now).sum())
        assert attempt.broken == int(((was == labels) & (now != labels)).sum())
        assert attempt.fixed == int(((was != labels) & (now == labels)).sum())
        change = nn.functional.cross_entropy(after, labels, reduction="none")
        change = (change - nn.functional.cross_entropy(before, labels, reduction="none")).sort().values
        assert attempt.loss_worst == pytest.approx(float(change[-1]), abs=1e-5)
        assert attempt.loss_95 == pytest.approx(float(change[85]), abs=1e-5)
    assert any(attempt.flips for attempt in found.attempts)


def test_what_does_not_apply_and_what_is_right_already_are_said(found):
    assert set(found.refused) == {"least_harm_kfac"}
    assert "Knowledge.of" in found.refused["least_harm_kfac"]
    assert found.inputs == 3
    assert "right already: 1 inputs" in found.said
    text = str(found)
    assert "- least_harm_kfac: the method needs" in text
    assert "90 held-out inputs" in text
    assert len(found.table().splitlines()) == 2 + 4


def test_progress_counts_corrections(found, calls):
    assert found.inputs
    assert [done for done, _, _ in calls] == [0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 16, 17, 18, 19]
    assert calls[5] == (5, 20, "last_layer_weight, input 1")


def test_the_closed_forms_are_those_of_one_parameter(found):
    marked = {point.method for point in found.points if point.closed_form}
    assert marked == {"output_bias", "last_layer_weight"}
    assert all(point.parameters == 1 for point in found.points if point.closed_form)
    assert {point.knows for point in found.points} == {"nothing"}


def made(numbers):
    """A frontier of methods with the parameters and flips of each correction; None for one that failed."""
    attempts = [
        Attempt(name, at, "", 0.1, *each, 0, 0, 0.0, 0.1, 0.2, -0.1)
        if each
        else Attempt(name, at, "cannot", 0.1)
        for name, own in numbers.items()
        for at, each in enumerate(own)
    ]
    about = {name: ("nothing", False) for name in numbers}
    return Frontier(tuple(attempts), {}, about, 2, 10, True, "Made up.")


def test_a_method_is_optimal_unless_another_is_as_good_in_all_and_better_in_one():
    points = made(
        {
            "few": [(1, 9), (1, 7)],
            "same": [(1, 8), (1, 8)],
            "gentle": [(5, 1), (7, 3)],
            "worse": [(6, 2), (6, 3)],
            "rare": [(1, 1), None],
            "never": [None, None],
        }
    ).points
    assert {point.method: point.optimal for point in points} == {
        "few": True, "same": True, "gentle": True, "worse": False, "rare": True
    }  # fmt: skip
    gentle = next(point for point in points if point.method == "gentle")
    assert (gentle.parameters, gentle.flips, gentle.flips_worst, gentle.corrected) == (6, 2, 3, 2)
    text = str(made({"few": [(1, 9)], "never": [None]}))
    assert "Corrected nothing:\n- never: cannot" in text


def test_a_table_of_attempts_for_pandas(found, monkeypatch):
    frame = found.to_frame()
    assert len(frame) == len(found.attempts)
    assert list(frame.query("method == 'last_layer_lp_l1'").flips) == [
        found.attempt("last_layer_lp_l1", at).flips for at in range(3)
    ]
    with pytest.raises(LookupError, match="'last_layer_lp_l1' on input 3"):
        found.attempt("last_layer_lp_l1", 3)
    monkeypatch.setitem(sys.modules, "pandas", None)
    with pytest.raises(ModuleNotFoundError, match="pip install pandas"):
        found.to_frame()


def test_the_figure_names_every_method(found, tmp_path, monkeypatch):
    found.figure(tmp_path / "frontier.svg")
    drawn = (tmp_path / "frontier.svg").read_text()
    for point in found.points:
        assert f"<!-- {point.method}" in drawn
    made({"never": [None, None]}).figure(tmp_path / "none.png")
    assert (tmp_path / "none.png").read_bytes()[:4] == b"\x89PNG"
    with pytest.raises(ValueError, match=r"frontier_of_a_kind|not supported"):
        found.figure(tmp_path / "frontier.frontier_of_a_kind")
    monkeypatch.setitem(sys.modules, "matplotlib", None)
    with pytest.raises(ModuleNotFoundError, match="pip install matplotlib"):
        found.figure(tmp_path / "other.png")
    assert sorted(each.name for each in tmp_path.iterdir()) == ["frontier.svg", "none.png"]


def rows(tensor):
    return [] if tensor is None else [tuple(row.tolist()) for row in tensor]


@pytest.mark.parametrize("seed", range(4))
def test_what_is_held_out_chose_no_fix(seed):
    """Neither sample nor keep-set nor training data, also where the same input is given twice."""
    pool = inputs(30, 4)
    x, training = pool[:2], pool[5:8]
    keep = torch.cat([pool, pool[10:14], pool[:1]])
    labels = torch.arange(len(keep))
    lots = divided(x, (keep, labels), None, training, seed)
    used = {*rows(x), *rows(lots.keep), *rows(training)}
    assert not used & set(rows(lots.held_out))
    assert not set(rows(x)) & set(rows(lots.keep))
    assert set(rows(lots.held_out)) == set(rows(pool)) - used
    assert [rows(keep)[at] for at in lots.labels.tolist()] == rows(lots.held_out)
    assert torch.equal(lots.held_out, divided(x, keep, None, training, seed).held_out)
    given = divided(x, keep[:10], (pool, torch.arange(30)), None, seed)
    assert rows(given.held_out) == [row for row in rows(pool) if row not in rows(keep[:10])]


@pytest.mark.parametrize(
    ("arguments", "error", "words"),
    [
        ({}, ConfigError, "keep and held_out are missing"),
        ({"held_out": inputs(4, 1)}, ConfigError, "every held-out input is also among x"),
        ({"held_out": inputs(9, 2)[:, :5]}, InputError, "does not take an input"),
        ({"keep": (inputs(9, 2),)}, InputError, "keep has 1 parts"),
        ({"keep": inputs(9, 2), "methods": ["output_bia"]}, ConfigError, "did you mean 'output_bias'"),
        ({"keep": inputs(9, 2), "methods": "output_bias"}, ConfigError, "a list of names"),
        ({"keep": inputs(9, 2), "methods": ["least_harm_kfac"]}, ConfigError, "no method applies; least_harm_kfac: "),
    ],
)  # fmt: skip
def test_what_cannot_be_surveyed_is_one_sentence(arguments, error, words, model):
    x = inputs(4, 1)
    with pytest.raises(error, match=words):
        bgd.frontier(model, x, model(x).argsort(1)[:, 2], **arguments)
    with pytest.raises(ConfigError, match="every input right"):
        bgd.frontier(model, x, model(x).argmax(1), keep=inputs(9, 2), methods=["output_bias"])


class Mistaken:
    """A method with a mistake in it."""

    def correct(self, trial, sample, stream):
        return {}["nothing"]


def test_methods_of_ones_own_have_a_name_and_their_mistakes_are_not_hidden(model):
    x = inputs(1, 1)
    y = model(x).argsort(1)[:, 2]
    own = {"bold": bgd.methods.OutputBias(margin=3.0), "shy": bgd.methods.OutputBias()}
    found = bgd.frontier(model, x, y, held_out=inputs(50, 2), methods=own)
    assert found.attempt("bold").flips >= found.attempt("shy").flips
    assert found.attempt("bold").broken is None
    assert "broken" not in found.table()
    with pytest.raises(KeyError, match="nothing"):
        bgd.frontier(model, x, y, held_out=inputs(9, 2), methods={"own": Mistaken()})


def test_the_default_methods_are_methods_each_by_its_name():
    assert set(METHODS) <= set(bgd.METHODS)
    assert len(set(METHODS)) == len(METHODS)
    assert {name: type(each) for name, each in _made(bgd.METHODS).items()} == dict(bgd.METHODS)
