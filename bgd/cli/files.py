"""`bgd verify`, `apply` and `revert`: a patch and the file of a model, which is never written over."""

from argparse import Namespace
from pathlib import Path
from typing import Any

from bgd.cli.asked import model_of
from bgd.cli.outcome import Outcome
from bgd.cli.parser import UsageError
from bgd.cli.target import files_in, refuse_target
from bgd.cli.words import counted
from bgd.deployed.carry import Carried, apply_to_file, verify_file
from bgd.patch import Patch

SAID = {"base": "is the model that {fix} starts from", "patched": "has {fix} in it"}


def verify(arguments: Namespace) -> Outcome:
    """Say how a model stands to a patch."""
    patch, file = Patch.load(arguments.fix), _file(arguments)
    found = verify_file(patch, file) if file else patch.verify(model_of(arguments).network)
    record = {
        "fix": arguments.fix,
        "model": arguments.model,
        "state": found.state,
        "renamed": dict(found.renamed),
    }
    if found.state == "neither":
        return Outcome(record, f"{arguments.model} is neither", f"does not verify: {found.reason}")
    return Outcome(record, f"{arguments.model} {SAID[found.state].format(fix=arguments.fix)}")


def apply(arguments: Namespace) -> Outcome:
    """Write a model's file with a patch in it."""
    return _written(arguments, revert=False)


def revert(arguments: Namespace) -> Outcome:
    """Write a model's file without a patch that is in it."""
    return _written(arguments, revert=True)


def _written(arguments: Namespace, revert: bool) -> Outcome:
    file = _file(arguments)
    if file is None:
        raise UsageError(
            f"model={arguments.model!r}: the file of its weights is wanted, which is copied and changed"
        )
    refuse_target(arguments.output, arguments.overwrite, files_in(arguments))
    patch = Patch.load(arguments.fix)
    carried = apply_to_file(
        patch, file, arguments.output, revert, shared=arguments.shared, overwrite=arguments.overwrite
    )
    record = {
        "fix": arguments.fix,
        "model": str(file),
        "output": arguments.output,
        "parameters": len(patch),
        "names": _names(carried),
        "shared": {name: list(others) for name, others in carried.shared.items()},
    }
    what = f"{arguments.fix} taken out of" if revert else f"{arguments.fix} in"
    return Outcome(record, f"{arguments.output}: {what} {file}, {counted(len(patch), 'parameter')}")


def _names(carried: Carried) -> dict[str, Any]:
    return {
        name: {"name": there, "transposed": transposed} for name, (there, transposed) in carried.names.items()
    }


def _file(arguments: Namespace) -> Path | None:
    """Return the file of the model's weights; None for a factory that brings its own.

    Raises:
        UsageError: There is no such file.
    """
    if arguments.weights:
        return Path(arguments.weights)
    path = Path(arguments.model)
    if path.exists():
        return path
    if ":" in arguments.model:
        return None
    raise UsageError(f"model={arguments.model!r}: there is no such file")
