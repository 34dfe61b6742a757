"""What the incremental evaluator is meant to reach: the least ratio to a full pass, at 64,000 images."""

from scripts.bench.options import FULL

FINE_TUNE = "lin2, all of it"
EDITS = {
    "alexnet": {
        "lin3": 500.0,
        "lin2": 500.0,
        "lin1": 150.0,
        "conv5": 10.0,
        "conv4": 3.5,
        "conv3": 2.0,
        "conv2": 1.7,
        "conv1": 1.0,
        FINE_TUNE: 15.0,
    },
    "mlp": {"lin3": 5.0, "lin2": 5.0, "lin1": 5.0},
}
MIX = {
    ("alexnet", "bgd_ii"): (150.0, 12.0)
}  # of the patches a method really made: median ratio, ratio of the totals
# Of a correction of a large network: the most passes of a search, networks of memory beyond it, seconds of draws.
LARGE = {"search_passes": 12.0, "memory": 2.5, "draws_seconds": 0.3}


def holds(ratio: float, target: float | None) -> bool | None:
    """Return whether a ratio reaches its target; None where there is none."""
    return None if target is None else ratio >= target


def word(held: bool | None) -> str:
    """Return it for a table."""
    return "-" if held is None else "yes" if held else "NO"


def note(count: int) -> str:
    """Return a note on the targets where another number of images was measured."""
    return (
        ""
        if count >= FULL
        else f"  targets are of {FULL:,} images; these are {count:,}: a ratio grows with them"
    )
