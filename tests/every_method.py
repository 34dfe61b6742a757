"""Every method that has a yaml, for tests over all of them."""

import pytest

from experiments.run import CONF

METHODS = sorted(path.stem for path in (CONF / "method").glob("*.yaml"))

QUICK = ("bgd_ii_smallest", "retrain_smallest")  # of methods that wrap another alike: one sparse, one dense


def marked(names):
    """Names as cases, those slow that `QUICK` stands for: of each, the method that it wraps is a case of its own."""
    alike = {name for name in names if name.endswith("_smallest")} - set(QUICK)
    return [pytest.param(name, marks=pytest.mark.slow if name in alike else ()) for name in names]
