"""`bgd inspect`: a patch read without a model."""

from argparse import Namespace

from bgd.cli import change
from bgd.cli.outcome import Outcome
from bgd.cli.words import table
from bgd.patch import Patch


def inspect(arguments: Namespace) -> Outcome:
    """Read a patch: what it changes, and what its maker says of it."""
    patch = Patch.load(arguments.fix)
    record = {
        "fix": arguments.fix,
        "patch": change.record(patch),
        "metadata": dict(patch.metadata),
        "hashed": sorted(patch.hashes),
    }
    said = [(key, text) for key, text in sorted(patch.metadata.items())]
    hashed = (
        f"bound to the whole of {', '.join(sorted(patch.hashes))}"
        if patch.hashes
        else "bound to its old values alone"
    )
    return Outcome(record, "\n".join([change.words(patch), hashed, table(("its maker says", ""), said)]))
