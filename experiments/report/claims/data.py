"""Claims as data: a yaml file, read strictly."""

import itertools
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated, Any, get_origin, get_type_hints

from bgd.errors import ConfigError, nearest
from experiments.records.strict import build_as, convert, read_yaml
from experiments.report.claims.on_pairs import Equal, PairedTest
from experiments.report.claims.on_probes import LayerPlace, LayersEven, NoRankBest, NoRankTrend, RankFirst
from experiments.report.claims.on_samples import Kind, MeanBetween, Network, Share, Sign, Uncorrelated
from experiments.report.claims.on_seeds import Level, Order, Sooner

KINDS: dict[str, type[Kind]] = {
    **{"share": Share, "sign": Sign, "mean_between": MeanBetween, "uncorrelated": Uncorrelated},
    **{"paired": PairedTest, "equal": Equal, "order": Order, "level": Level, "sooner": Sooner},
    **{"no_rank_best": NoRankBest, "rank_first": RankFirst, "no_rank_trend": NoRankTrend},
    **{"layer_place": LayerPlace, "layers_even": LayersEven},
}


@dataclass(frozen=True)
class Claim:
    """A claim of the thesis.

    Attributes:
        id: "7b".
        claim, where: In our words, and where it stands in the thesis.
        tables: By network, the table or figure whose tests are the claim's family for Holm's correction.
        tests: All must hold.
        note: What a reader should know: what contradicts it in the thesis, how it was read.
        not_comparable: Why the thesis' quantity is undefined; empty where it is not. Then there are no tests.
        other_reading_of: The claim whose text can be read in this way too; empty for a claim of its own.
    """

    id: str
    claim: str
    where: str
    tables: Mapping[Network, str] = field(default_factory=dict)
    tests: tuple[Kind, ...] = ()
    note: str = ""
    not_comparable: str = ""
    other_reading_of: str = ""

    def __post_init__(self) -> None:
        if bool(self.not_comparable) == bool(self.tests):
            raise ConfigError(f"claim {self.id}: either tests, or a reason why it is not comparable")
        absent = {test.network for test in self.tests} - set(self.tables) - {""}
        if absent:
            raise ConfigError(f"claim {self.id}: no table for {', '.join(sorted(absent))}")


@dataclass(frozen=True)
class Line:
    """A table or figure of the thesis, for one verdict on it.

    Attributes:
        of, what: "table 4.1", and what it shows.
        claims: The ids of the claims that it is there for.
        network: Whose tests count; empty where all do.
        source: The setting or the probe that its runs are of.
        reasons: By verdict, why: in words that hold where this is the verdict.
    """

    of: str
    what: str
    source: str
    claims: tuple[str, ...] = ()
    network: str = ""
    reasons: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True)
class Ledger:
    """The file: the rule for a verdict and what the numbers mean, in words, the claims, and the thesis' tables."""

    rule: str
    reading: str
    claims: tuple[Claim, ...]
    lines: tuple[Line, ...] = ()

    def __post_init__(self) -> None:
        ids = [claim.id for claim in self.claims]
        if len(set(ids)) < len(ids):
            raise ConfigError(f"the id {next(name for name in ids if ids.count(name) > 1)!r} stands twice")
        named = {claim.other_reading_of for claim in self.claims} - {""}
        for name in sorted(named.union(*(line.claims for line in self.lines)) - set(ids)):
            raise ConfigError(f"no claim has the id {name!r}; {nearest(name, ids)}")


def read_ledger(path: Path) -> Ledger:
    """Read and check the file.

    Raises:
        ConfigError: A key or value is unknown (the nearest is named), missing or of another type; an id stands twice.
    """
    ledger: Ledger = build_as(Ledger, read_yaml(path), path.stem, _claim)
    return ledger


def _claim(value: Mapping[str, Any], hint: Any, where: str) -> Claim | Line:
    if hint is Line:
        line: Line = build_as(Line, value, where)
        return line
    where = f"claim {value.get('id')}"
    tests = [one for item in value.get("tests", ()) for one in _each(item, f"{where}.tests")]
    claim: Claim = build_as(Claim, {**value, "tests": tests}, where, _test)
    return claim


def _each(item: Mapping[str, Any], where: str) -> Iterator[dict[str, Any]]:
    """Yield one test for each combination of the values that are given as lists, unless a value itself is a list."""
    kind = convert(item.get("kind"), Annotated[str, tuple(KINDS)], f"{where}.kind")
    hints = get_type_hints(KINDS[kind])
    parts = [
        value if isinstance(value, list) and get_origin(hints.get(key)) is not tuple else [value]
        for key, value in item.items()
    ]
    for values in itertools.product(*parts):
        yield dict(zip(item, values, strict=True))


def _test(value: Mapping[str, Any], _: Any, where: str) -> Kind:
    arguments = {key: part for key, part in value.items() if key != "kind"}
    test: Kind = build_as(KINDS[value["kind"]], arguments, where)
    return test
