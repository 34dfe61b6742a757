"""Small synthetic records with numbers that can be worked out in the head."""

from dataclasses import replace

from experiments.records.schema import (
    ALREADY_RIGHT,
    CORRECTED,
    UNCORRECTED,
    Accumulated,
    Baseline,
    Figures,
    Generality,
    Header,
    Row,
    Run,
    SideEffects,
)

__all__ = [
    "ALREADY_RIGHT",
    "BASE",
    "BASELINE",
    "CORRECTED",
    "UNCORRECTED",
    "accumulated",
    "consistent_run",
    "figures",
    "generality",
    "row",
    "rows",
    "run",
    "side_effects",
]

BASE = Figures(
    train_loss=0.25,
    train_accuracy=0.9,
    test_loss=0.5,
    test_accuracy=0.8,
    released_before=0.004,
    released_after=0.00001,
)


BASELINE = Baseline(
    close_images=1000,
    close_margin=2.0,
    untouched_images=8000,
    untouched_right=8000,
    confusion=[[3, 3, 8000], [3, 5, 2000]],
)
SIDE_EFFECTS = SideEffects(
    broken=0,
    fixed=1,
    agreeing=9999,
    agreeing_close=999,
    untouched_right=8000,
    confusion=[[3, 3, 1], [3, 5, -1]],
)
ACCUMULATED = Accumulated(earlier=0, earlier_right=0, union=2, drift=0.1)
GENERALITY = Generality(shifts=[8, 2, 6], rotations=[4, 1, 3], noise=[8, 0, 8], same_confusion=[10, 0, 2])


def figures(**changes) -> Figures:
    return replace(BASE, **changes)


def side_effects(**changes) -> SideEffects:
    return replace(SIDE_EFFECTS, **changes)


def accumulated(**changes) -> Accumulated:
    return replace(ACCUMULATED, **changes)


def generality(**changes) -> Generality:
    return replace(GENERALITY, **changes)


def row(position: int, outcome: str = CORRECTED, **changes) -> Row:
    """One sample; what is not given is as dull as possible. Figures go as `figures=figures(...)`."""
    values = {
        "position": position,
        "index": 10 * position,
        "label": 3,
        "prediction_before": 5,
        "prediction_after": 5 if outcome == UNCORRECTED else 3,
        "outcome": outcome,
        "reason": "no subset corrects it" if outcome == UNCORRECTED else "",
        "altered": 2 if outcome == CORRECTED else 0,
        "l0": 2 if outcome == CORRECTED else 0,
        "l1": 0.2,
        "l2": 0.1,
        "linf": 0.1,
        "layers": {"lin1.weight": [2, 0.1, 0.1]},
        "steps": 1,
        "forward_passes": 3,
        "backward_passes": 1,
        "search_seconds": 0.01,
        "evaluation_seconds": 0.02,
        "sample_loss_before": 2.0,
        "sample_loss_after": 0.5,
        "logits_after": [0.0, 0.0, 0.0, 2.0, 0.0, 1.0, 0.0, 0.0, 0.0, 0.0],
        "figures": BASE,
        "side_effects": SIDE_EFFECTS,
        "patch": {"index": [0, 1], "old": [0.0, 0.0], "new": [0.1, 0.1]},
    }
    return Row(**{**values, **changes})


def rows(*outcomes: str) -> tuple[Row, ...]:
    return tuple(row(position, outcome) for position, outcome in enumerate(outcomes))


def run(
    samples: tuple[Row, ...] = (),
    *,
    network: str = "mlp",
    method: str = "bgd_ii",
    setting: str = "reloading",
    seed: int = 0,
    errors: int | None = None,
    expected: list[int] | None = None,
    parameters: int = 1000,
    base_id: str = "base",
    train_images: int = 54_000,
    test_images: int = 10_000,
    base: Figures = BASE,
    baseline: Baseline = BASELINE,
    retained: float | None = 0.5,
    order: int = 0,
    network_seed: int = 0,
    epochs: int = 0,
    replica: int = 0,
    options: dict[str, object] | None = None,
) -> Run:
    """A run of these rows; N0 has as many errors as there are rows unless said otherwise."""
    recipe = {key: value for key, value in (("seed", network_seed), ("epochs", epochs)) if value}
    more = {"order": order, "network": network_seed, "epochs": epochs, "replica": replica, "options": options}
    extra = "".join(f"-{key}={value}" for key, value in more.items() if value)
    header = Header(
        run_id=f"{network}-{setting}-{method}-{seed}{extra}",
        spec={
            "network": {"name": network},
            "method": {"name": method, **(options or {})},
            "setting": {"name": setting},
            "scale": {"recipe": recipe} if recipe else {},
            "dataset": "mnist",
            "seed": seed,
            **({"order": order} if order else {}),
            **({"replica": replica} if replica else {}),
            "versions": {},
        },
        base={
            "id": base_id,
            "sha256": "0",
            "errors": len(samples) if errors is None else errors,
            "expected_errors": expected,
            "parameters": parameters,
            "tensors": {"lin1.weight": [10, 90], "lin1.bias": [100]},
        },
        figures=base,
        baseline=baseline,
        samples=len(samples),
        train_images=train_images,
        test_images=test_images,
        summary={} if retained is None else {"retained": retained, "seconds": 1.0},
    )
    return Run(header, samples)


def consistent_run(count: int, **changes: object) -> Run:
    """A run whose figures go together: records of before there were checksums are held to that."""
    samples = [
        replace(
            sample,
            l1=0.14,
            layers={},
            side_effects=side_effects(fixed=0),
            patch=sample.patch if sample.outcome == CORRECTED else None,
        )
        for sample in rows(*[CORRECTED, UNCORRECTED] * count)[:count]
    ]
    return run(tuple(samples), **changes)
