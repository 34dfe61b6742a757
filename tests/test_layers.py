"""The two houses, held by reading the imports."""

import ast
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
LIBRARY = [  # from the ground up; a module imports from its own line or the lines above
    {"rng", "errors", "compiling", "options", "parameters", "modes", "markdown", "bounds", "progress"},
    {"layers", "patch", "restore"},
    {"flat"},
    {"curvature", "outputs"},
    {"knowledge", "arithmetic", "goals"},
    {"methods", "evaluation"},
    {"comparison", "refusals"},
    {"corrector", "reach", "side_effects"},
    {"stack", "pareto"},
    {"deployed"},
    {"cli"},
]
HARNESS = {  # what each room may use besides itself
    "records": set(),
    "report": {"records"},
    "mnist": {"records"},
    "protocol": {"mnist", "records"},
    "config": {"protocol", "mnist", "records"},
    "thesis": {"report", "config", "records"},
    "jobs": {"config", "protocol", "mnist", "records"},
    "public_bugs": {"jobs", "config", "report", "mnist", "records"},
    "companions": {"jobs", "config", "report", "mnist", "records"},
}
# Nobody imports a door, but a door what shows through another.
DOORS = ("run", "command", "reproduce", "from_records")
NEEDED = {"torch", "numpy", "scipy", "numba"}  # by the library
OFFERED = {  # not when a module is imported
    (f"bgd.{module}", package)
    for package, offering in {
        "pandas": ("patch.table", "patch.change", "comparison", "pareto.points"),
        "matplotlib": ("pareto.figure",),
        "PIL": ("cli.pictures",),
        "onnx": ("arithmetic.exported", "deployed.graph", "deployed.places", "deployed.onnx_file"),
        "onnxscript": ("arithmetic.exported",),
        "onnxruntime": ("arithmetic.exported",),
    }.items()
    for module in offering
}


def imports(path):
    """Names of the modules that a file imports, `from a import b` as a.b."""
    return {name for node in ast.walk(ast.parse(path.read_text())) for name in imported(node)}


def imported(node):
    if isinstance(node, ast.Import):
        return {alias.name for alias in node.names}
    if isinstance(node, ast.ImportFrom):
        assert node.level == 0, f"relative import of {node.module}"
        return {f"{node.module}.{alias.name}" for alias in node.names}
    return set()


def modules(package):
    for path in sorted((ROOT / package).rglob("*.py")):
        yield path, ".".join(path.relative_to(ROOT).with_suffix("").parts).removesuffix(".__init__")


def level(module):
    """The line of LIBRARY that a module belongs to."""
    parts = module.split(".")
    return next((at for at, names in enumerate(LIBRARY) if parts[1:2] and parts[1] in names), None)


def test_the_library_imports_nothing_upward_and_the_packages_it_needs():
    checked = 0
    for path, module in modules("bgd"):
        if module == "bgd":
            continue
        here = level(module)
        assert here is not None, f"{module} has no place in LIBRARY"
        for name in imports(path):
            root = name.split(".")[0]
            known = root in NEEDED | {"bgd"} | sys.stdlib_module_names or (module, root) in OFFERED
            assert known, f"{module} imports {name}"
            if root == "bgd" and name != "bgd.__version__":
                assert level(name) is not None, f"{module} imports {name}"
                assert level(name) <= here, f"{module} imports {name}, which is above it"
                checked += 1
    assert checked > 50


def test_what_the_library_offers_is_not_needed():
    for module, package in OFFERED:
        body = ast.parse((ROOT / f"{module.replace('.', '/')}.py").read_text()).body
        assert package not in {name.split(".")[0] for node in body for name in imported(node)}


def test_methods_and_evaluation_do_not_know_each_other():
    for path, module in modules("bgd"):
        if module.startswith("bgd.methods"):
            assert not {name for name in imports(path) if name.startswith("bgd.evaluation")}, module
        if module.startswith("bgd.evaluation"):
            assert not {name for name in imports(path) if name.startswith("bgd.methods")}, module


def test_the_rooms_of_the_harness_know_those_below_them():
    checked = 0
    for path, module in modules("experiments"):
        room = (*module.split("."), "")[1]
        if room in ("", *DOORS):
            continue
        assert room in HARNESS, f"{module} has no place in HARNESS"
        for name in imports(path):
            if name.startswith("experiments."):
                other = name.split(".")[1]
                assert other in HARNESS[room] | {room}, f"{module} imports {name}"
                checked += 1
    assert checked > 200


@pytest.mark.parametrize("room", ["report", "records", "thesis"])
def test_the_report_needs_neither_torch_nor_hydra(room):
    """Nor does anything of the harness that it imports, to the last."""
    files = {module: path for path, module in modules("experiments")}
    rest, seen = {module for module in files if module.startswith(f"experiments.{room}.")}, set()
    while rest:
        module = rest.pop()
        seen.add(module)
        named = imports(files[module])
        assert not {name.split(".")[0] for name in named} & {"torch", "torchvision", "hydra", "omegaconf"}, (
            module
        )
        own = {name for name in named if name.startswith("bgd")}
        assert all(name.startswith(("bgd.rng", "bgd.errors", "bgd.options")) for name in own), (
            f"{module} imports {own}"
        )
        rest |= {part for name in named for part in (name, name.rpartition(".")[0])} & (set(files) - seen)


def test_only_one_module_seeds_anything():
    words = ("manual_seed(", "np.random.seed", "random.seed(", "default_rng(")
    for folder in ("bgd", "experiments", "scripts"):
        for path in (ROOT / folder).rglob("*.py"):
            if path.name != "rng.py":
                assert not [word for word in words if word in path.read_text()], path
