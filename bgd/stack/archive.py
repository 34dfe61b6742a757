"""A stack as one file: a zip, uncompressed, of patches, inputs and `stack.json`, which has their order and SHA-256.

`unzip` shows it; each `N.safetensors` is a patch of the unpatched model that any reader of patches takes, each `N.pt`
the inputs, a tensor as `torch.save` writes it.
"""

import hashlib
import io
import json
import zipfile
from collections.abc import Mapping, Sequence
from dataclasses import fields
from os import PathLike, fspath
from pathlib import Path
from typing import Any

import torch

from bgd.goals import Goal
from bgd.patch import Patch, PatchError
from bgd.patch.file import decoded, encoded, get, put
from bgd.stack.fix import Fix

FORMAT, VERSION = "bgd-stack", 1
MANIFEST = "stack.json"
RULE = "decide"  # the field of a goal that is a function


def write(path: str | PathLike[str], fixes: Sequence[Fix], following: int, overwrite: bool) -> None:
    """Write fixes into a file.

    Args:
        path: Where.
        fixes: In their order.
        following: Number of the next fix to be added.
        overwrite: Replace a file that is there.

    Raises:
        PatchError: A fix cannot be written.
        FileExistsError: There is a file, and `overwrite` is False.
    """
    members: dict[str, bytes] = {}
    entries = [_entry(fix, members) for fix in fixes]
    manifest = {"format": FORMAT, "version": VERSION, "next": following, "fixes": entries}
    members[MANIFEST] = json.dumps(manifest, indent=1, ensure_ascii=False).encode()
    packed = io.BytesIO()
    with zipfile.ZipFile(packed, "w", zipfile.ZIP_STORED) as file:
        for name in sorted(members):
            file.writestr(zipfile.ZipInfo(name), members[name])  # without a date: the same bytes each time
    put(path, packed.getvalue(), overwrite)


def read(path: str | PathLike[str]) -> tuple[list[Fix], int]:
    """Return the fixes of a file in their order, and the number of the next.

    Raises:
        PatchError: The file is not whole, or no stack.
        OSError: It cannot be read.
    """
    try:
        with zipfile.ZipFile(io.BytesIO(get(path))) as file:
            manifest = json.loads(file.read(MANIFEST))
            if (manifest["format"], manifest["version"]) != (FORMAT, VERSION):
                raise PatchError(f"its manifest is not of {FORMAT!r}, version {VERSION}")
            return [_fix(entry, file) for entry in manifest["fixes"]], int(manifest["next"])
    except (PatchError, zipfile.BadZipFile, KeyError, TypeError, ValueError, RuntimeError) as error:
        raise PatchError(f"{fspath(path)} cannot be read as a stack: {error}") from error


def _entry(fix: Fix, members: dict[str, bytes]) -> dict[str, Any]:
    """Return a fix's entry in the manifest; its files go into `members`."""
    if fix.goal.decide is not None:
        raise PatchError(f"{fix} has a rule of one's own for its goal, a function, which no file can hold")
    goal = {each.name: getattr(fix.goal, each.name) for each in fields(Goal) if each.name != RULE}
    own = {f"{fix.number}.safetensors": bytes(encoded(fix.patch.parts(), fix.patch.metadata))}
    if fix.x is not None:
        held = io.BytesIO()
        torch.save(fix.x.cpu(), held)
        own[f"{fix.number}.pt"] = held.getvalue()
    members |= own
    return {
        "number": fix.number,
        "note": fix.note,
        "labels": list(fix.labels),
        "goal": goal,
        "sha256": {name: hashlib.sha256(content).hexdigest() for name, content in own.items()},
    }


def _fix(entry: Mapping[str, Any], file: zipfile.ZipFile) -> Fix:
    """Return a fix that a manifest tells of.

    Raises:
        PatchError: A file of it is another one.
    """
    number, content = int(entry["number"]), {}
    for name, digest in entry["sha256"].items():
        content[Path(name).suffix] = held = file.read(name)
        if hashlib.sha256(held).hexdigest() != digest:
            raise PatchError(f"{name} is not the file that the manifest tells of, by SHA-256")
    goal: dict[str, Any] = {
        key: tuple(value) if isinstance(value, list) else value for key, value in entry["goal"].items()
    }
    return Fix(
        number,
        Patch.of_parts(*decoded(content[".safetensors"])),
        torch.load(io.BytesIO(content[".pt"]), weights_only=True) if ".pt" in content else None,
        tuple(map(int, entry["labels"])),
        Goal(**goal),
        str(entry["note"]),
    )
