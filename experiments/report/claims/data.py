"""Claims as data: a yaml file, read strictly."""

import difflib
import itertools
import types
from collections.abc import Collection, Hashable, Mapping
from dataclasses import MISSING, dataclass, fields
from pathlib import Path
from typing import Any, Protocol, Union, get_args, get_origin, get_type_hints

import yaml

from experiments.report.claims.evidence import Evidence, Missing, Outcome
from experiments.report.claims.on_correlation import Uncorrelated
from experiments.report.claims.on_pairs import Equal, PairedTest
from experiments.report.claims.on_probes import LayerPlace, LayersEven, NoRankBest, NoRankTrend, RankFirst
from experiments.report.claims.on_samples import MeanBetween, Share, Sign
from experiments.report.claims.on_seeds import Level, Order, Sooner
from experiments.report.frames import ReportError
from experiments.report.style import METHODS, NETWORKS, SETTINGS

KINDS: dict[str, type] = {
    "share": Share,
    "paired": PairedTest,
    "equal": Equal,
    "sign": Sign,
    "mean_between": MeanBetween,
    "uncorrelated": Uncorrelated,
    "order": Order,
    "level": Level,
    "sooner": Sooner,
    "no_rank_best": NoRankBest,
    "rank_first": RankFirst,
    "no_rank_trend": NoRankTrend,
    "layer_place": LayerPlace,
    "layers_even": LayersEven,
}
_CHOICES: dict[str, Collection[str]] = {
    **dict.fromkeys(("network", "first", "later"), NETWORKS),
    **dict.fromkeys(("method", "against", "common"), METHODS),
    "setting": SETTINGS,
}


class Test(Protocol):
    """A test of a claim on one network; frozen, so that equal tests are one.

    Attributes:
        network: Whose records it is on; empty where it compares networks.
        subject: The test in words.
    """

    @property
    def network(self) -> str: ...  # noqa: D102

    @property
    def subject(self) -> str: ...  # noqa: D102

    def evaluate(self, evidence: Evidence) -> Outcome | Missing:
        """Return the finding of the records, before Holm's correction."""
        ...

    def __hash__(self) -> int: ...


@dataclass(frozen=True)
class Claim:
    """A claim of the thesis.

    Attributes:
        id: "7b".
        claim: In our words.
        where: In the thesis.
        tables: By network, the table or figure whose tests are the claim's family for Holm's correction.
        tests: All must hold.
        note: What a reader should know: what contradicts it in the thesis, how it was read.
        not_comparable: Why the thesis' quantity is undefined; empty where it is not. Then there are no tests.
    """

    id: str
    claim: str
    where: str
    tables: Mapping[str, str]
    tests: tuple[Test, ...]
    note: str = ""
    not_comparable: str = ""


@dataclass(frozen=True)
class Ledger:
    """The file: the rule for a verdict in words, and the claims in order."""

    rule: str
    claims: tuple[Claim, ...]


class _Loader(yaml.SafeLoader):
    """The safe loader, but a key that stands twice is an error instead of the last one's."""

    def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> dict[Hashable, Any]:
        """Return a mapping; see `yaml.SafeLoader`.

        Raises:
            ReportError: A key stands twice.
        """
        keys = [self.construct_object(key, deep=True) for key, _ in node.value]
        twice = [key for key in keys if keys.count(key) > 1]
        if twice:
            raise ReportError(f"{node.start_mark}: the key {twice[0]!r} stands twice")
        found: dict[Hashable, Any] = super().construct_mapping(node, deep)
        return found


def read_ledger(path: Path) -> Ledger:
    """Read and check the file.

    Raises:
        ReportError: A key or a value that is not known (with the nearest that is), one that is missing or of another
            type, or two claims with one id.
    """
    try:
        content = yaml.load(path.read_text(encoding="utf-8"), _Loader)
    except yaml.YAMLError as error:
        raise ReportError(f"{path.name}: {error}") from error
    top = _mapping(content, {"rule", "claims"}, {"rule", "claims"}, path.name)
    claims = tuple(_claim(item, number) for number, item in enumerate(top["claims"], 1))
    ids = [claim.id for claim in claims]
    if len(set(ids)) < len(ids):
        raise ReportError(f"{path.name}: the id {next(i for i in ids if ids.count(i) > 1)!r} stands twice")
    return Ledger(_text(top["rule"]), claims)


def _claim(item: Any, number: int) -> Claim:
    known = {field.name for field in fields(Claim)}
    values = _mapping(item, known, {"id", "claim", "where"}, f"claim number {number}")
    where = f"claim {values['id']}"
    reason, tests = values.get("not_comparable", ""), values.get("tests", [])
    if bool(reason) == bool(tests):
        raise ReportError(f"{where}: either tests, or a reason why it is not comparable")
    made = tuple(
        test for place, part in enumerate(tests, 1) for test in _tests(part, f"{where}, test {place}")
    )
    tables = _mapping(values.get("tables", {}), set(NETWORKS), set(), f"{where}, tables")
    absent = {test.network for test in made} - set(tables) - {""}
    if absent:
        raise ReportError(f"{where}: no table for {', '.join(sorted(absent))}")
    texts = {name: _text(values.get(name, "")) for name in ("id", "claim", "where", "note", "not_comparable")}
    return Claim(tables={name: str(table) for name, table in tables.items()}, tests=made, **texts)


def _text(value: Any) -> str:
    """Return a text with its line breaks as spaces."""
    if not isinstance(value, str):
        raise ReportError(f"{value!r} must be a text: quote it")
    return " ".join(value.split())


def _mapping(value: Any, known: Collection[str], needed: Collection[str], where: str) -> dict[str, Any]:
    if not isinstance(value, dict):
        raise ReportError(f"{where}: must be keys and values, not {value!r}")
    for key in value:
        _known(str(key), known, f"{where}: no key")
    absent = [key for key in sorted(needed) if key not in value]
    if absent:
        raise ReportError(f"{where}: the key {absent[0]!r} is missing")
    return value


def _known(word: str, known: Collection[str], problem: str) -> None:
    """Refuse a word that is not known, and name the nearest that is."""
    if word not in known:
        nearest = difflib.get_close_matches(word, known, n=1, cutoff=0.0)
        raise ReportError(
            f"{problem} {word!r}; nearest: {nearest[0]!r}" if nearest else f"{problem} {word!r}"
        )


def _tests(item: Any, where: str) -> list[Test]:
    """Return one test for each combination of the values that are given as lists."""
    if not isinstance(item, dict) or not isinstance(item.get("kind"), str):
        raise ReportError(f"{where}: must have a kind")
    _known(item["kind"], KINDS, f"{where}: no kind")
    kind = KINDS[item["kind"]]
    types_of = {name: hint for name, hint in get_type_hints(kind).items() if name in _names(kind)}
    needed = {field.name for field in fields(kind) if field.default is MISSING}
    values = _mapping({k: v for k, v in item.items() if k != "kind"}, types_of, needed, where)
    choices = {**_CHOICES, **kind.choices}  # type: ignore[attr-defined]
    options = [
        [
            (name, _checked(name, part, types_of[name], choices, where))
            for part in _parts(value, types_of[name])
        ]
        for name, value in values.items()
    ]
    return [kind(**dict(combination)) for combination in itertools.product(*options)]


def _names(kind: type) -> set[str]:
    return {field.name for field in fields(kind)}


def _parts(value: Any, hint: Any) -> list[Any]:
    """Return a list of values as one each, unless the field itself is a list."""
    return value if isinstance(value, list) and get_origin(hint) is not tuple else [value]


def _checked(name: str, value: Any, hint: Any, choices: Mapping[str, Collection[str]], where: str) -> Any:
    if get_origin(hint) is tuple:
        if not isinstance(value, list):
            raise ReportError(f"{where}: {name} must be a list, not {value!r}")
        return tuple(_checked(name, part, get_args(hint)[0], choices, where) for part in value)
    wanted = get_args(hint) if get_origin(hint) in (Union, types.UnionType) else (hint,)
    accepted = (*wanted, int) if float in wanted else wanted
    if not isinstance(value, accepted) or (isinstance(value, bool) and bool not in wanted):
        raise ReportError(f"{where}: {name} must be of type {hint.__name__}, not {value!r}")
    if name in choices and isinstance(value, str):
        _known(value, choices[name], f"{where}: no {name}")
    return float(value) if float in wanted else value
