"""Compiled code is kept, never stale, and runs where it cannot be kept."""

import ast
import subprocess
import sys
from importlib import import_module
from pathlib import Path

import numpy as np
import pytest
from numba.core.dispatcher import Dispatcher

ROOT = Path(__file__).parents[1]
MODULES = [
    ".".join(path.relative_to(ROOT).with_suffix("").parts)
    for path in sorted((ROOT / "bgd").rglob("*.py"))
    if "bgd.compiling import" in path.read_text() and path.name != "compiling.py"
]


def functions_of(module):
    return {name: each for name, each in vars(module).items() if isinstance(each, Dispatcher)}


def read_from_elsewhere(module, function):
    """Name the compiled functions and numbers of other modules that a compiled function reads."""
    tree = ast.parse(Path(module.__file__).read_text())
    imported = {
        each.asname or each.name
        for node in ast.walk(tree)
        if isinstance(node, ast.ImportFrom)
        for each in node.names
    }
    for name in imported & set(function.py_func.__code__.co_names):
        value = getattr(module, name)
        if isinstance(value, Dispatcher | int | float | np.generic | tuple):
            yield name


@pytest.mark.parametrize("name", MODULES)
def test_compiled_code_hangs_on_its_own_file_alone(name):
    """numba looks at no other file for whether what it kept is still true."""
    module = import_module(name)
    for function in functions_of(module).values():
        if function.py_func.__module__ == name:
            assert not list(read_from_elsewhere(module, function)), function


def test_the_rule_has_something_to_hold():
    found = [function for name in MODULES for function in functions_of(import_module(name)).values()]
    assert len(found) > 20
    assert all(function.targetoptions["nogil"] for function in found)


def test_where_nothing_can_be_written_it_is_said_and_compiled_all_the_same():
    code = """
import warnings
from numba.core.caching import CacheImpl
CacheImpl._locator_classes = []
with warnings.catch_warnings(record=True) as said:
    warnings.simplefilter("always")
    from bgd.compiling import compiled
    @compiled()
    def twice(x):
        return 2 * x
    assert twice(4) == 8
    compiled()
assert [str(each.message) for each in said if "NUMBA_CACHE_DIR" in str(each.message)].__len__() == 1, said
"""
    found = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, cwd=ROOT)
    assert found.returncode == 0, found.stderr
