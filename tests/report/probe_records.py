"""Runs of probes with numbers that can be worked out in the head."""

from experiments.records.schema import Figures, Header, Measurement, Run
from tests.records_factory import BASELINE

BASE = Figures(
    train_loss=0.25,
    train_accuracy=0.9,
    test_loss=0.5,
    test_accuracy=0.8,
    released_before=0.004,
    released_after=0.00001,
)


def probe_run(probe, values, network="mlp", *, errors=None, expected=None, **header):
    """A run with one measurement per entry of `values`; header fields by keyword."""
    found = tuple(Measurement(place, 10 * place, 3, 0.01, value) for place, value in enumerate(values))
    fields = {
        "run_id": f"{network}-{probe}",
        "spec": {"network": {"name": network}, "probe": {"name": probe}, "scale": {}},
        "base": {
            "id": network,
            "sha256": "0",
            "errors": len(found) if errors is None else errors,
            "expected_errors": expected,
            "parameters": 1000,
            "tensors": {"lin1.weight": [10, 90], "lin1.bias": [100]},
        },
        "figures": BASE,
        "baseline": BASELINE,
        "samples": len(found),
        "train_images": 54_000,
        "test_images": 10_000,
    }
    return Run(Header(**{**fields, **header}), (), found)


def rows_of(content):
    """A csv file as a list of dictionaries of texts."""
    header, *lines = (line.split(",") for line in content.decode().splitlines())
    return [dict(zip(header, line, strict=True)) for line in lines]
