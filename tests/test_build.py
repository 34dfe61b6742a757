"""From a mapping to a checked object: errors name the key, the value and the nearest valid choice."""

from collections.abc import Mapping
from typing import Annotated, Literal

import pytest

from bgd.errors import ConfigError, nearest
from bgd.methods.bgd.search import SubsetSearch
from bgd.methods.bgd.update import FirstOrder
from experiments.config.build import build, convert

SEARCH = "bgd.methods.bgd.search.SubsetSearch"
UPDATE = "bgd.methods.bgd.update.FirstOrder"


def test_a_component_is_built_with_those_inside_it():
    made = build(
        {"_target_": SEARCH, "name": "x", "update": {"_target_": UPDATE, "step": 1}, "guard": None}, "method"
    )
    assert made == SubsetSearch(update=FirstOrder(1.0))
    assert type(made.update.step) is float


@pytest.mark.parametrize(
    ("config", "message"),
    [
        ({"subset_sise": 3}, r"method.subset_sise: unknown key; did you mean 'subset_size'"),
        ({"subset_size": "five"}, r"method.subset_size='five': must be an integer"),
        ({"subset_size": 5.0}, r"method.subset_size=5.0: must be an integer"),
        ({"subset_size": True}, r"method.subset_size=True: must be an integer"),
        ({"prune": 1}, r"method.prune=1: must be true or false"),
        ({"subset_size": 0}, r"method.subset_size=0: must be at least 1"),
        ({"iterations": -1}, r"method.iterations=-1: must be at least 1"),
        ({"expansion": 0}, r"method.expansion=0: must be at least 1"),
        ({"replace_probability": 2}, r"method.replace_probability=2.0: must be between 0 and 1"),
        ({"update": {"_target_": UPDATE, "step": "big"}}, r"method.update.step='big': must be a number"),
        (
            {"update": {"_target_": UPDATE, "stop": 1}},
            r"method.update.stop: unknown key; did you mean 'step'",
        ),
        ({"update": "first"}, r"method.update='first': must be a mapping with _target_"),
        ({"update": {"step": 1}}, r"method.update._target_=None: must name a class of bgd or experiments"),
        ({"_target_": "os.system"}, r"must name a class of bgd or experiments"),
        ({"_target_": "bgd.methods.bgd.search.SubsetSerch"}, r"no such class; did you mean 'SubsetSearch'"),
        ({"_target_": "bgd.methods.nothing.There"}, r"No module named"),
        ({"_target_": "bgd.methods.bgd.search.VERSION"}, r"no such class"),
    ],
)
def test_errors_name_key_value_and_nearest_choice(config, message):
    with pytest.raises(ConfigError, match=message):
        build({"_target_": SEARCH, **config}, "method")


def test_what_is_missing_is_named():
    with pytest.raises(ConfigError, match=r"moments.layer: missing"):
        build({"_target_": "bgd.curvature.second_moments.InputMoments"}, "moments")


def test_convert():
    assert convert([1, 2], tuple[int, ...], "k") == (1, 2)
    assert convert(None, int | None, "k") is None
    assert convert(3, int | None, "k") == 3
    assert convert(None, tuple[str, ...] | None, "k") is None
    assert convert({"a": 1}, Mapping[str, float], "k") == {"a": 1.0}
    assert convert("b", Literal["a", "b"], "k") == convert("b", Annotated[str, ("a", "b")], "k") == "b"
    with pytest.raises(ConfigError, match=r"k='aa': did you mean 'aab'"):
        convert("aa", Literal["aab", "b"], "k")
    with pytest.raises(ConfigError, match=r"k\.a='x': must be a number"):
        convert({"a": "x"}, Mapping[str, float], "k")
    with pytest.raises(ConfigError, match=r"k='ab': must be a list"):
        convert("ab", tuple[str, ...], "k")
    with pytest.raises(ConfigError, match=r"k=None: must be an integer"):
        convert(None, int, "k")


def test_nearest_lists_everything_where_nothing_is_near():
    assert nearest("qqq", ["b", "a"]) == "valid: a, b"
