"""Where the variance comes from: N0, the samples or their order, the method's seed. Method of moments.

Reloading, one value per sample, method by method:

    y_ijk = mu + N_i + S_ij + M_ik + e_ijk

with network i (an N0), sample j of network i, method seed k on network i. Samples and seeds are nested within the
network and crossed with each other; e is what is left, their interaction. Non-reloading, one value per run:

    y_ijk = mu + N_i + O_ij + e_ijk

with order j of the samples of network i; what is left is the method seed. All effects are random, independent and of
mean 0. Each sum of squares is set equal to its expectation and the equations are solved from the residual upwards
(Henderson's method I): networks may have different numbers of samples, orders and seeds.
"""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd
from scipy.stats import rankdata

import experiments.report.metrics as metrics
from experiments.records.schema import Run
from experiments.report.captions import describe_base, describe_left_out, describe_scale_briefly, warnings_of
from experiments.report.frames import Frames, corrections_of
from experiments.report.metrics import Values
from experiments.report.numbers import format_count, format_number
from experiments.report.part import Made, Study
from experiments.report.sheet import Block, percent
from experiments.report.style import method_style, network_label, setting_label

NO_VALUE, TOO_FEW, CONSTANT = "no value", "too few runs", "no variance"
NOISE = 1e-12  # of the total: what a subtraction of equal numbers leaves behind

Of = Callable[[pd.DataFrame], Values]
PER_SAMPLE: dict[str, tuple[str, Of]] = {
    "corrected": ("corrected, 0 or 1", lambda samples: metrics.corrected(samples).astype(np.float64)),
    "POPA": ("POPA (%)", metrics.parameters_altered),
    "dTL": ("ΔTL", metrics.training_loss_change),
    "dTL_rank": ("ΔTL, ranks", metrics.training_loss_change),
    "dTA": ("ΔTA", metrics.test_accuracy_change),
}
PER_RUN: dict[str, tuple[str, Of]] = {
    name: (metrics.METRICS[name].label, metrics.METRICS[name].values)
    for name in ("POC", "final_test_accuracy", "final_training_loss")
}
COMPONENTS = {
    "reloading": ("network", "sample", "seed", "residual"),
    "non_reloading": ("network", "order", "seed"),  # the seed is the residual
}


WITHIN = {
    "reloading": {"sample": " in network", "seed": " in network"},
    "non_reloading": {"order": " in network", "seed": ", residual"},
}


@dataclass(frozen=True)
class Components:
    """Components of variance, from the outermost to the residual.

    Attributes:
        estimates: Variances as the equations give them, one may be below 0; empty where there are too few runs.
        degrees: Of freedom, as many.
        n: How many values they are from.
    """

    estimates: tuple[float, ...]
    degrees: tuple[int, ...]
    n: int

    @property
    def truncated(self) -> Values:
        """The estimates, 0 in the place of those below."""
        return np.maximum(np.array(self.estimates, dtype=np.float64), 0.0)

    @property
    def total_sd(self) -> float:
        """Square root of the sum of the truncated components."""
        return float(np.sqrt(self.truncated.sum()))

    @property
    def shares(self) -> Values:
        """Shares of that sum in [0, 1]."""
        return np.asarray(self.truncated / self.truncated.sum(), dtype=np.float64)

    @property
    def note(self) -> str:
        """Why there are no shares; empty where there are."""
        if not self.estimates:
            return TOO_FEW if self.n else NO_VALUE
        return "" if self.truncated.any() else CONSTANT


def crossed(tables: Sequence[Values]) -> Components:
    """Return the components network, sample, seed and residual.

    Args:
        tables: One (samples, seeds) per network, without gaps; an empty one is left out.
    """
    tables = [table for table in tables if table.size]
    j, k = (np.array([table.shape[axis] for table in tables], dtype=np.float64) for axis in (0, 1))
    n = j * k
    total = n.sum()
    degrees = (len(tables) - 1, sum(j - 1), sum(k - 1), sum((j - 1) * (k - 1)))
    if min(degrees) < 1:
        return Components((), tuple(map(int, degrees)), int(total))
    means = np.array([table.mean() for table in tables])
    of_samples = sum(table.shape[1] * np.sum((table.mean(axis=1) - table.mean()) ** 2) for table in tables)
    of_seeds = sum(table.shape[0] * np.sum((table.mean(axis=0) - table.mean()) ** 2) for table in tables)
    within = sum(np.sum((table - table.mean()) ** 2) for table in tables)
    of_networks = np.sum(n * (means - np.sum(n * means) / total) ** 2)
    residual = (within - of_samples - of_seeds) / degrees[3]
    sample = (of_samples - degrees[1] * residual) / np.sum(k * (j - 1))
    seed = (of_seeds - degrees[2] * residual) / np.sum(j * (k - 1))
    rest = 1 - n / total  # Var(mean of a network) = network + sample / j + seed / k + residual / n
    inner = np.sum(n * rest * (sample / j + seed / k + residual / n))
    network = (of_networks - inner) / np.sum(n * rest)
    return _cleaned((network, sample, seed, residual), degrees, tables)


def nested(networks: Sequence[Sequence[Values]]) -> Components:
    """Return the components network, order and seed.

    Args:
        networks: For each network, for each order, the values of the seeds; what is empty is left out.
    """
    groups = [kept for orders in networks if (kept := [values for values in orders if values.size])]
    sizes = [np.array([values.size for values in orders], dtype=np.float64) for orders in groups]
    n = np.array([size.sum() for size in sizes])
    total = n.sum()
    count = sum(map(len, groups))
    degrees = (len(groups) - 1, count - len(groups), int(total) - count)
    if min(degrees) < 1:
        return Components((), degrees, int(total))
    of_order = [np.array([values.mean() for values in orders]) for orders in groups]
    means = np.array([np.sum(size * mean) / size.sum() for size, mean in zip(sizes, of_order, strict=True)])
    of_seeds = sum(np.sum((values - values.mean()) ** 2) for orders in groups for values in orders)
    of_orders = sum(
        np.sum(size * (mean - middle) ** 2) for size, mean, middle in zip(sizes, of_order, means, strict=True)
    )
    of_networks = np.sum(n * (means - np.sum(n * means) / total) ** 2)
    squares = np.array([np.sum(size**2) for size in sizes])
    seed = of_seeds / degrees[2]
    order = (of_orders - degrees[1] * seed) / (total - np.sum(squares / n))
    inner = degrees[0] * seed + order * (np.sum(squares / n) - squares.sum() / total)
    network = (of_networks - inner) / (total - np.sum(n**2) / total)
    return _cleaned((network, order, seed), degrees, [values for orders in groups for values in orders])


def _cleaned(estimates: Sequence[float], degrees: Sequence[float], parts: Sequence[Values]) -> Components:
    """Return components with 0 where only the rounding of a subtraction is left."""
    values = np.concatenate([part.ravel() for part in parts])
    floor = NOISE * max(sum(map(abs, estimates)), float(np.square(values).mean()) * NOISE)
    kept = tuple(float(value) if abs(value) > floor else 0.0 for value in estimates)
    return Components(kept, tuple(map(int, degrees)), values.size)


def sample_tables(samples: pd.DataFrame, name: str) -> list[Values]:
    """Return one value of `PER_SAMPLE` as a table (samples, seeds) for each network.

    Args:
        samples: Of one method, reloading.
        name: `corrected` is over the samples of every seed's run, the others over those of them that are corrected
            under every seed and whose value is finite; `dTL_rank` ranks these over all networks together.
    """
    values = PER_SAMPLE[name][1](samples)
    if name != "corrected":
        values = np.where(metrics.corrected(samples), values, np.nan)
    frame = samples[["network_seed", "index", "seed"]].assign(value=values)
    tables = [
        part.pivot(index="index", columns="seed", values="value").dropna().to_numpy(dtype=np.float64)
        for _, part in frame.groupby("network_seed")
    ]
    if name != "dTL_rank" or not tables:
        return tables
    ranks = rankdata(np.concatenate([table.ravel() for table in tables]))
    split = np.split(ranks, np.cumsum([table.size for table in tables])[:-1])
    return [part.reshape(table.shape) for part, table in zip(split, tables, strict=True)]


def run_values(samples: pd.DataFrame, name: str) -> list[list[Values]]:
    """Return one value of `PER_RUN` for each network, order and seed of one method; those that are finite."""

    def finite(part: pd.DataFrame) -> Values:
        values = PER_RUN[name][1](part)
        return values[np.isfinite(values)]

    by_network = samples.groupby("network_seed")
    return [[finite(part) for _, part in own.groupby("order")] for _, own in by_network]


@dataclass(frozen=True)
class Variance(Study):
    """A table of the shares of variance.

    A run with another network seed, seed or order than these is not looked at; a reloading one has order 0.
    """

    presets: tuple[str, ...] = ("variance_reloading", "variance_non_reloading")
    networks: tuple[str, ...] = ("mlp",)
    methods: tuple[str, ...] = ("bgd_i", "bgd_ii")
    network_seeds: tuple[int, ...] = (0, 1, 2)
    seeds: tuple[int, ...] = (0, 1, 2)
    orders: tuple[int, ...] = (0, 1, 2)
    tables = ("variance",)

    def made(self, runs: Sequence[Run]) -> Iterator[Made]:
        """Make the table."""
        every = corrections_of(runs, network=self.network, method=self.methods)
        every = every.select(network_seed=self.network_seeds, seed=self.seeds)
        parts = {
            "reloading": every.select(setting="reloading", order=0),
            "non_reloading": every.select(setting="non_reloading", order=self.orders),
        }
        found: Found = {}
        for method in self.methods:
            samples = {setting: part.select(method=method).samples for setting, part in parts.items()}
            for name in PER_SAMPLE:
                found["reloading", method, name] = crossed(sample_tables(samples["reloading"], name))
            for name in PER_RUN:
                found["non_reloading", method, name] = nested(run_values(samples["non_reloading"], name))
        both = pd.concat([part.runs for part in parts.values()])
        base = describe_base(both, self.thesis.errors_of(self.network))
        yield self.sheet(
            [base, *self._about(parts), self._left_out(parts, found)],
            warnings_of(both, "network_seed", {seed: f"N0 {seed}" for seed in self.network_seeds}),
            [_block(setting, found) for setting in COMPONENTS],
            [record for key, item in found.items() for record in _records(key, item)],
        )

    def _about(self, parts: dict[str, Frames]) -> Iterator[str]:
        """Say how large the runs of each setting are, and how many are missing."""
        base = len(self.methods) * len(self.network_seeds) * len(self.seeds)
        for setting, part in parts.items():
            place = f"{network_label(self.network)}, {setting_label(setting)} setting"
            if part.runs.empty:
                yield f"{place}: missing, no run of it is among the records."
                continue
            yield f"{place}: {describe_scale_briefly(part.runs)}."
            expected = base * (len(self.orders) if setting == "non_reloading" else 1)
            if len(part.runs) < expected:
                yield f"Missing: {expected - len(part.runs)} of {expected} runs of the {place}."

    def _left_out(self, parts: dict[str, Frames], found: "Found") -> str:
        """Return how many values are left out because a loss is not finite."""
        counts = []
        for method in self.methods:
            runs = int((parts["non_reloading"].runs["method"] == method).sum())
            values = found["reloading", method, "POPA"].n - found["reloading", method, "dTL"].n
            ends = runs - found["non_reloading", method, "final_training_loss"].n
            counts += [("ΔTL", method, values), ("final training loss", method, ends)]
        return describe_left_out(counts, "Values")


Found = dict[tuple[str, str, str], Components]  # by setting, method and value


def _block(setting: str, found: Found) -> Block:
    labels = [f"{name}{WITHIN[setting].get(name, '')} (%)" for name in COMPONENTS[setting]]
    header = ["method", "value", "n", "total sd", *labels, "degrees of freedom"]
    lines = [_line(key, item) for key, item in found.items() if key[0] == setting]
    return Block(f"{setting_label(setting).capitalize()} setting.", header, lines)


def _line(key: tuple[str, str, str], item: Components) -> list[str]:
    setting, method, name = key
    shares = [item.note] * len(COMPONENTS[setting])
    sd, degrees = item.note, ""
    if item.estimates:
        sd, degrees = format_number(item.total_sd), " / ".join(map(str, item.degrees))
    if not item.note:
        pairs = zip(item.shares, item.estimates, strict=True)
        shares = ["0 †" if estimate < 0 else percent(round(share, 5)) for share, estimate in pairs]
    label = (PER_SAMPLE if setting == "reloading" else PER_RUN)[name][0]
    return [method_style(method).label, label, format_count(item.n), sd, *shares, degrees]


def _records(key: tuple[str, str, str], item: Components) -> Iterator[tuple[object, ...]]:
    """Yield a line per component; where there is no share its place says why."""
    for place, component in enumerate(COMPONENTS[key[0]]):
        share = item.note or float(item.shares[place])
        known = (item.estimates[place], item.degrees[place], item.total_sd) if item.estimates else (None,) * 3
        yield (*key, component, share, *known, item.n)
