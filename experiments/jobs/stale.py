"""Whether a kept run was made by the source that is here now.

A run's identity has the `VERSION` of its components, which their authors raise by hand. What they forget shows here:
the header keeps a hash of each module that a component with a version is from, and of the modules of the same room
(`bgd.methods`, `bgd.curvature`, ...) that it imports, directly or not. A warning that comes after every edit is read by
nobody, so docstrings and comments do not count, and neither do rooms that every run goes through but that have a test
against an oracle of their own (patches, parameters, records).
"""

import ast
import hashlib
import importlib.util
import io
import tokenize
from collections.abc import Callable, Iterable, Iterator
from contextlib import suppress
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

from bgd.errors import ConfigError, nearest
from experiments.config.build import resolve
from experiments.records.files import BusyError
from experiments.records.store import Store

if TYPE_CHECKING:
    from experiments.config.spec import RunSpec

SOURCES = "sources"  # in a header's provenance
WHICH = ("changed", "all")  # runs to make again: those that other source made, or every one
ROOT = Path(__file__).parents[2]
ALWAYS = (
    "experiments.mnist.training",
    "experiments.protocol.figures",
    "bgd.evaluation",
)  # what every run goes through and has a version


def sources(spec: "RunSpec") -> dict[str, str]:
    """Return the start of the SHA-256 of the code of each module behind a run's components, by its path."""
    parts = [spec.network, spec.probe] if spec.probe else [spec.network, spec.method, spec.setting]
    modules = {name for part in parts for name in _modules(part)} | set(ALWAYS)
    paths = sorted({path for name in modules for path in _room(name)})
    return {_name(path): _hash(path) for path in paths}


def stale(run: Any, store: Store, sources_of: Callable[[Any], dict[str, str]] = sources) -> list[str]:
    """Find the modules of a run, complete or begun, that were others when it was made.

    None where its header has no hashes: it is from before there were any.

    Args:
        run: A `RunSpec`, or what is known of one.
        store: Where it is.
        sources_of: From the run to its `sources` now.
    """
    finished = store.finished(run.run_id)
    header = store.header(run.run_id) if finished else store.begun(run.run_id)
    return changed(header.provenance, sources_of(run)) if header else []


def changed(provenance: dict[str, Any], now: dict[str, str]) -> list[str]:
    """Return the modules that are others now than a header's provenance says."""
    before = provenance.get(SOURCES)
    if not isinstance(before, dict):
        return []
    return sorted(path for path in {*before, *now} if before.get(path) != now.get(path))


def stale_runs(
    runs: Iterable[Any], store: Store, sources_of: Callable[[Any], dict[str, str]] = sources
) -> dict[str, list[str]]:
    """Find the modules that changed since it was made, for each run of which one did; see `stale`."""
    found = {run.run_id: stale(run, store, sources_of) for run in runs}
    return {run_id: paths for run_id, paths in found.items() if paths}


def rerun_of(value: Any) -> str | None:
    """Return one of `WHICH`, or None.

    Raises:
        ConfigError: It is something else.
    """
    if value is not None and value not in WHICH:
        raise ConfigError(f"rerun={value!r}: {nearest(str(value), (*WHICH, 'null'))}")
    return None if value is None else str(value)


def renew(
    runs: Iterable[Any],
    store: Store,
    which: str | None,
    sources_of: Callable[[Any], dict[str, str]] = sources,
) -> None:
    """Discard runs so that they are made again.

    Args:
        runs: The runs; see `stale`.
        store: Where they are.
        which: One of `WHICH`; None for no run.
        sources_of: See `stale`.
    """
    chosen = list(runs) if which == "all" else []
    if which == "changed":
        chosen = [run for run in runs if stale(run, store, sources_of)]
    for run in chosen:
        with suppress(BusyError):  # another process is making it again this moment
            store.discard(run.run_id)


def in_words(found: dict[str, list[str]]) -> str:
    """Return in a line how many runs other source made; nothing where none is."""
    if not found:
        return ""
    paths = sorted({path for paths in found.values() for path in paths})
    more = f" and {len(paths) - 3} more" if len(paths) > 3 else ""
    return f"{len(found)} cached runs were made by other source: {', '.join(paths[:3])}{more}"


def _modules(config: dict[str, Any]) -> Iterator[str]:
    """Yield the module of a component and of those inside it."""
    if "_target_" in config:
        yield resolve(config["_target_"], "component").__module__
    for value in config.values():
        if isinstance(value, dict):
            yield from _modules(value)


@cache
def _name(path: Path) -> str:
    """Name a module's file from the root of this tree; one that lies elsewhere by its own name."""
    return path.relative_to(ROOT).as_posix() if path.is_relative_to(ROOT) else path.name


@cache
def _room(name: str) -> frozenset[Path]:
    """Return the files of a module and of what it imports of its own room."""
    room, todo, found = ".".join(name.split(".")[:2]), [name], dict[str, Path]()
    while todo:
        module = todo.pop()
        if module not in found and f"{module}.".startswith(f"{room}."):
            path = _file(module)
            if path is not None:
                found[module] = path
                todo += _imports(path)
    return frozenset(found.values())


def _file(module: str) -> Path | None:
    """Return the source of a module; None where the name is no module's, but that of something in one."""
    try:
        found = importlib.util.find_spec(module)
    except ModuleNotFoundError:
        return None
    return Path(found.origin) if found and found.origin else None


def _imports(path: Path) -> Iterator[str]:
    """Yield every name that a module imports; of `from a import b` both a and a.b, which may be a module."""
    for node in ast.walk(ast.parse(path.read_bytes())):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and node.module:
            yield node.module
            yield from (f"{node.module}.{alias.name}" for alias in node.names)


@cache
def _hash(path: Path) -> str:
    """Return the start of the SHA-256 of a module's code, as the process began with it."""
    return hashlib.sha256(code_of(path.read_text(encoding="utf-8")).encode()).hexdigest()[:16]


def code_of(text: str) -> str:
    """Return a module's source without docstrings, comments and empty lines: they change no number."""
    comments = {
        token.start[0]: token.start[1]
        for token in tokenize.generate_tokens(io.StringIO(text).readline)
        if token.type == tokenize.COMMENT
    }
    words: set[int] = set()
    for node in ast.walk(ast.parse(text)):
        body = getattr(node, "body", None)
        first = body[0] if isinstance(body, list) and body else None
        if (
            isinstance(first, ast.Expr)
            and isinstance(first.value, ast.Constant)
            and isinstance(first.value.value, str)
        ):
            words |= set(range(first.lineno, (first.end_lineno or first.lineno) + 1))
    lines = enumerate(text.split("\n"), 1)
    code = (line[: comments.get(number)].rstrip() for number, line in lines if number not in words)
    return "\n".join(line for line in code if line)
