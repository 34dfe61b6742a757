"""The house's plan, held by reading the imports."""

import ast
from pathlib import Path

ROOT = Path(__file__).parents[1]
ORDER = [  # from the ground up; a module imports from its own line or the lines above
    {"bgd.rng", "bgd.identity", "bgd.data", "bgd.parameters", "bgd.records", "bgd.build", "bgd.sources"},
    {"bgd.files", "bgd.sums", "bgd.checks"},
    {"bgd.layers", "bgd.patch", "bgd.restore", "bgd.modes", "bgd.networks", "bgd.metrics"},
    {"bgd.writer", "bgd.store", "bgd.archive"},
    {"bgd.flat", "bgd.training"},
    {"bgd.curvature", "bgd.replicas"},
    {"bgd.knowledge"},
    {"bgd.methods", "bgd.evaluation", "bgd.report"},
    {"bgd.probes", "bgd.bystanders", "bgd.accumulation", "bgd.generality", "bgd.snapshot", "bgd.resume"},
    {"bgd.settings"},
]


def imports(path):
    """Names of the modules that a file imports, `from a import b` as a.b."""
    found = set()
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{path}: relative import"
            found |= {f"{node.module}.{alias.name}" for alias in node.names}
    return found


def modules():
    for path in sorted((ROOT / "bgd").rglob("*.py")):
        yield path, ".".join(path.relative_to(ROOT).with_suffix("").parts).removesuffix(".__init__")


def room(module):
    """The line of ORDER that a module belongs to."""
    parts = module.split(".")
    for level, names in enumerate(ORDER):
        if ".".join(parts[:2]) in names:
            return level
    return None


def test_nothing_imports_upward():
    checked = 0
    for path, module in modules():
        if module == "bgd":
            continue
        here = room(module)
        assert here is not None, f"{module} has no place in ORDER"
        for name in imports(path):
            assert not name.startswith("experiments"), f"{module} imports {name}"
            if name.startswith("bgd.") and room(name) is not None:
                assert room(name) <= here, f"{module} imports {name}, which is above it"
                checked += 1
    assert checked > 50


def test_methods_and_evaluation_do_not_know_each_other():
    for path, module in modules():
        if module.startswith("bgd.methods"):
            assert not {name for name in imports(path) if name.startswith("bgd.evaluation")}, module
        if module.startswith("bgd.evaluation"):
            assert not {name for name in imports(path) if name.startswith("bgd.methods")}, module


def test_the_report_never_imports_torch_or_hydra():
    seen, records = 0, ("records", "archive", "metrics", "store", "writer", "files", "sums", "checks")
    for path, module in modules():
        if module.startswith(("bgd.report", *(f"bgd.{name}" for name in records))):
            roots = {name.split(".")[0] for name in imports(path)}
            assert not roots & {"torch", "torchvision", "hydra", "omegaconf"}, module
            allowed = tuple(f"bgd.{name}" for name in (*records, "report", "rng"))
            assert all(room(name) is None or name.startswith(allowed) for name in imports(path)), module
            seen += 1
    assert seen > 8


def test_the_library_does_not_know_hydra():
    for path, module in modules():
        assert not {name for name in imports(path) if name.split(".")[0] in ("hydra", "omegaconf")}, module


def test_only_one_module_seeds_anything():
    words = ("manual_seed(", "np.random.seed", "random.seed(", "default_rng(")
    for folder in ("bgd", "experiments", "scripts"):
        for path in (ROOT / folder).rglob("*.py"):
            if path.name != "rng.py":
                assert not [word for word in words if word in path.read_text()], path
