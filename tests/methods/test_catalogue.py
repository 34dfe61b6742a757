"""The methods by name: a class for each yaml with its numbers as defaults, and errors that name the nearest choice."""

import importlib.util
from dataclasses import fields, is_dataclass, replace

import pytest
import torch
from omegaconf import OmegaConf

import bgd.methods
from bgd import rng
from bgd.curvature.kfac import KFAC
from bgd.errors import ConfigError
from bgd.methods import METHODS, FineTune, method_of
from bgd.methods.bgd.informed import ActivationPrior
from bgd.methods.bgd.prior import UniformPrior
from bgd.methods.bgd.update import FirstOrder
from experiments.config.build import build, resolve
from experiments.run import CONF

YAMLS = sorted(path.stem for path in (CONF / "method").glob("*.yaml"))


def described(name):
    """A method's yaml as the thesis' profile completes it for the MLP."""
    scale = OmegaConf.load(CONF / "scale" / "thesis" / "mlp.yaml")
    whole = OmegaConf.create({"scale": scale, "method": OmegaConf.load(CONF / "method" / f"{name}.yaml")})
    return OmegaConf.to_container(whole, resolve=True)["method"]


def assert_same(default, other, where):
    """Hold a component against another of its class or of the class that it is derived from, part by part."""
    if not is_dataclass(other):
        assert (type(default), default) == (type(other), other), where
        return
    assert isinstance(default, type(other)), where
    if isinstance(
        default, FineTune
    ):  # a yaml has a layer of the thesis' networks by name, the class by place
        assert default.tensors is None, where
        default = replace(default, tensors=other.tensors)
    assert [field.name for field in fields(default)] == [field.name for field in fields(other)], where
    for field in fields(other):
        assert_same(getattr(default, field.name), getattr(other, field.name), f"{where}.{field.name}")


def targets(config):
    """Every class that a yaml names."""
    if isinstance(config, dict):
        yield from ([config["_target_"]] if "_target_" in config else [])
        for value in config.values():
            yield from targets(value)


def test_every_yaml_has_a_class_and_every_class_a_yaml():
    """One of a user's own, a module and a yaml named as the method, is found by the experiments alone."""
    own = {name for name in YAMLS if importlib.util.find_spec(f"bgd.methods.{name}")}
    assert sorted({*METHODS, *own}) == YAMLS
    for name, method in METHODS.items():
        assert method.__name__.lower() == name.replace("_", "")
        assert getattr(bgd.methods, method.__name__) is method
        assert method.__doc__


@pytest.mark.parametrize("name", METHODS)
def test_the_defaults_of_a_class_are_the_numbers_of_its_yaml(name):
    config, default = described(name), METHODS[name]()
    assert config["knows"] == METHODS[name].knows
    assert_same(default, build(config, "method"), name)


def test_every_component_that_a_yaml_names_can_be_made_without_an_argument():
    named = {target for name in YAMLS for target in targets(described(name))}
    assert len(named) > 30
    for target in named:
        resolve(target, "component")()


def test_fine_tune_without_names_is_that_of_the_last_but_one_layer(problem, samples):
    methods = FineTune(learning_rate=0.02), FineTune(learning_rate=0.02, tensors=("lin2.weight",))
    patches = [
        [problem.correct(method, sample, rng.stream(0, "method", sample.index)).patch for sample in samples]
        for method in methods
    ]
    for one, other in zip(*patches, strict=True):
        assert (one is None) == (other is None)
        assert one is None or (set(one.tensors) == {"lin2.weight"} and torch.equal(one.new, other.new))
    assert any(patches[0])


def test_a_method_is_made_by_its_name():
    assert method_of("least_harm_kfac", budget=8) == bgd.methods.LeastHarmKFAC(budget=8)
    assert method_of("least_harm", budget=None, tolerance=0).budget is None
    assert method_of("retrain", tensors=["lin3.weight"]).tensors == ("lin3.weight",)
    assert method_of("bgd_ii", prior=UniformPrior(), update=FirstOrder()).prior == UniformPrior()
    assert method_of("bgd_ii", prior=ActivationPrior()) == replace(
        bgd.methods.BGDII(), prior=ActivationPrior()
    )
    with pytest.raises(TypeError):
        METHODS["mine"] = FineTune


@pytest.mark.parametrize(
    ("name", "options", "message"),
    [
        ("least_harm_kfc", {}, r"method='least_harm_kfc': no such method; did you mean 'least_harm_kfac'\?"),
        ("bgd_ii", {"subset_sise": 3}, r"bgd_ii.subset_sise: unknown key; did you mean 'subset_size'\?"),
        ("bgd_ii", {"knows": "nothing"}, r"bgd_ii.knows: unknown key"),
        ("bgd_ii", {"subset_size": "five"}, r"bgd_ii.subset_size='five': must be an integer"),
        ("bgd_ii", {"subset_size": 0}, r"bgd_ii.subset_size=0: must be at least 1"),
        ("bgd_ii", {"prune": 1}, r"bgd_ii.prune=1: must be true or false"),
        ("bgd_ii", {"prior": "uniform"}, r"bgd_ii.prior='uniform': must be an object, .*Prior"),
        ("bgd_ii", {"prior": UniformPrior}, r"bgd_ii.prior=<class .*UniformPrior'>: must be an object"),
        ("bgd_ii", {"update": UniformPrior()}, r"bgd_ii.update=UniformPrior\(\): must be an object, Update"),
        ("least_harm", {"budget": True}, r"least_harm.budget=True: must be an integer"),
        ("least_harm", {"tolerance": float("nan")}, r"least_harm.tolerance=nan: must be a finite number"),
        ("hard_threshold", {"price": None}, r"hard_threshold.price=None: must be an object, HarmModel"),
        ("rank_one", {"moment": KFAC()}, r"rank_one.moment=KFAC\(.*\): must be an object, SecondMoment"),
        ("retrain", {"tensors": "lin3.weight"}, r"retrain.tensors='lin3.weight': must be a list"),
    ],
)
def test_an_unknown_name_a_wrong_type_and_a_wrong_range_are_named(name, options, message):
    with pytest.raises(ConfigError, match=message):
        method_of(name, **options)
