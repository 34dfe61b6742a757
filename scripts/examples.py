"""Run the examples, each as a user would, and say how long each took.

    python scripts/examples.py [FOLDER]

Each writes into a folder of its own in FOLDER, by default a temporary one that is removed afterwards.
"""

import subprocess
import sys
import tempfile
import time
from pathlib import Path

ROOT = Path(__file__).parents[1]
EXAMPLES = ("mnist_error", "torchvision_model", "public_bug", "row_of_fixes", "own_method")


def main(folder: Path) -> int:
    """Run them all, also after one that fails; return 1 if any did."""
    took, failed = {}, []
    for name in EXAMPLES:
        print(f"\n== examples/{name}.py", flush=True)
        start = time.monotonic()
        command = [sys.executable, ROOT / "examples" / f"{name}.py", folder / name]
        if subprocess.run(command, cwd=ROOT).returncode:
            failed.append(name)
        took[name] = time.monotonic() - start
    print("\n" + "\n".join(f"{name}: {seconds:.1f} s" for name, seconds in took.items()))
    if failed:
        print(f"error: {', '.join(failed)} failed", file=sys.stderr)
    return int(bool(failed))


if __name__ == "__main__":
    with tempfile.TemporaryDirectory() as place:
        sys.exit(main(Path(sys.argv[1] if sys.argv[1:] else place)))
