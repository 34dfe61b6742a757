"""Run the numeric tests as other processors would compute: with their kernels, their threads, their rounding.

    python scripts/test_anywhere.py
    python scripts/test_anywhere.py --only AVX2 SSE4 -- tests/curvature -x

What stands after `--` goes to pytest. Each machine is a pytest of its own, held to older kernels by the settings that
torch, oneDNN, MKL and NumPy read as they start. First it is checked which results a setting really changes here: one
that changes none proves nothing, as on a processor that has no newer kernels, and the table says so.
"""

import argparse
import hashlib
import json
import os
import re
import subprocess
import sys
import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

ROOT = Path(__file__).parents[1]
PROBE = "--probe"
NOT_KEPT = (
    "ATEN_CPU_CAPABILITY",
    "ONEDNN_MAX_CPU_ISA",
    "MKL_ENABLE_INSTRUCTIONS",
    "MKL_CBWR",
    "BGD_TEST_ROUNDING",
)
BASELINE = (
    "all that is above its baseline"  # stands for the names of NumPy, which differ from version to version
)
DONE = re.compile(r"\[ *(\d+)%\]$")
COUNT = re.compile(r"(\d+) (passed|failed|errors?|skipped)")
SAY_EVERY = 15.0  # seconds between two lines of progress


@dataclass(frozen=True)
class Machine:
    """A processor to compute like.

    Attributes:
        name: As `--only` has it.
        threads: Of each process.
        settings: Environment variables that hold the libraries to its kernels.
        options: Of pytest: which tests it leaves out.
    """

    name: str
    threads: int = 1
    settings: dict[str, str] = field(default_factory=dict)
    options: tuple[str, ...] = ()

    def environment(self, **more: str) -> dict[str, str]:
        """Return the environment of its processes: no setting from outside holds."""
        kept = {name: value for name, value in os.environ.items() if name not in NOT_KEPT}
        path = os.pathsep.join([str(ROOT), str(ROOT / "tests")])
        own = {"OMP_NUM_THREADS": str(self.threads), "PYTHONPATH": path, **self.settings}
        own["OMP_WAIT_POLICY"] = (
            "PASSIVE"  # two threads beside other work would wait for each other, spinning
        )
        if own.get("NPY_DISABLE_CPU_FEATURES") == BASELINE:
            own["NPY_DISABLE_CPU_FEATURES"] = " ".join(_numpy_features())
        return {**kept, **own, **more}


MACHINES = (
    Machine("native"),
    Machine("two-threads", 2),
    Machine(
        "AVX2",
        settings={
            "ATEN_CPU_CAPABILITY": "avx2",
            "ONEDNN_MAX_CPU_ISA": "AVX2",
            "MKL_ENABLE_INSTRUCTIONS": "AVX2",
        },
        options=("-k", "not resnet"),  # a library of this machine fails there, with or without us
    ),
    Machine(
        "SSE4",
        2,
        {
            "ATEN_CPU_CAPABILITY": "default",
            "ONEDNN_MAX_CPU_ISA": "SSE41",
            "MKL_ENABLE_INSTRUCTIONS": "SSE4_2",
            "NPY_DISABLE_CPU_FEATURES": BASELINE,
        },
    ),
    Machine("default", settings={"ATEN_CPU_CAPABILITY": "default"}),
    Machine(
        "pretended",  # tests/rounding.py: exporters would trace that rounding with the network
        settings={"BGD_TEST_ROUNDING": "1"},
        options=("--ignore=tests/test_networks.py", "--ignore=tests/deployed/test_model.py"),
    ),
)


@dataclass(frozen=True)
class Result:
    """How a machine's tests came out."""

    machine: Machine
    differs: list[str]
    counts: dict[str, int]
    status: int
    seconds: float

    def cells(self) -> list[str]:
        """Return its line of the table."""
        failed = sum(self.counts.get(kind, 0) for kind in ("failed", "error", "errors"))
        ended = str(failed) if failed or not self.status else f"pytest ended with {self.status}"
        differs = ", ".join(self.differs) or (
            "-" if self.machine.name == "native" else "nothing: proves nothing"
        )
        passed, skipped = (str(self.counts.get(kind, 0)) for kind in ("passed", "skipped"))
        return [
            self.machine.name,
            str(self.machine.threads),
            differs,
            passed,
            ended,
            skipped,
            f"{self.seconds:.0f}",
        ]


def main() -> int:
    """Run each machine's tests; return 0 where all pass."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n\n")[0])
    parser.add_argument(
        "--only", nargs="+", choices=[each.name for each in MACHINES], help="these machines alone"
    )
    parser.add_argument(
        "--processes", type=int, help="of one machine; by default one for each core and thread"
    )
    parser.add_argument(PROBE, action="store_true", help="print the bits of some results, and nothing else")
    parser.add_argument("pytest", nargs="*", help="arguments of pytest, after --")
    arguments = parser.parse_args()
    if arguments.probe:
        print(json.dumps(bits()))
        return 0
    chosen = [each for each in MACHINES if not arguments.only or each.name in arguments.only]
    native = bits_on(MACHINES[0])
    differs = {each.name: checked(each, native) for each in chosen}
    started, results = time.perf_counter(), []
    for place, machine in enumerate(chosen):
        progress = Progress(machine.name, place, len(chosen), started)
        results.append(run(machine, differs[machine.name], arguments.pytest, arguments.processes, progress))
    print(table(results))
    return int(any(each.status for each in results))


def bits() -> dict[str, str]:
    """Return the libraries of this process, and a hash of some results: other bits, another hash."""
    import numpy as np
    import torch
    import torch.nn.functional as F
    from rounding import OtherRounding

    from bgd import rng

    torch.set_num_threads(int(os.environ["OMP_NUM_THREADS"]))
    draw = rng.stream(0, "bits")

    def drawn(*shape: int) -> torch.Tensor:  # not by torch's randn: its own bits depend on the processor
        return torch.from_numpy(draw.random(shape) - 0.5).float() / 3

    a, b = drawn(128, 300), drawn(300, 200)
    image, weight = drawn(8, 16, 14, 14), drawn(24, 16, 3, 3)
    many = drawn(300_000)  # enough for threads to share
    with rng.torch_seeded(draw):
        normal = torch.randn(1000)
    pretended = os.environ.get("BGD_TEST_ROUNDING")
    if pretended:
        OtherRounding(int(pretended)).__enter__()
    found = {
        "product": a @ b,
        "product in float64": (a.double() / 3) @ b.double(),
        "convolution": F.conv2d(image, weight),
        "exponential": a.exp(),
        "softmax": F.log_softmax(a, 1),
        "sum": torch.stack([many[:count].sum() for count in range(40_000, 300_001, 20_000)]),
        "singular values": torch.linalg.svdvals(a),
        "normal numbers": normal,
        "NumPy's exponential": torch.from_numpy(np.exp(a.numpy())),
    }
    hashes = {name: hashlib.sha256(each.numpy().tobytes()).hexdigest() for name, each in found.items()}
    return {
        "capability": torch.backends.cpu.get_cpu_capability(),
        "threads": str(torch.get_num_threads()),
        **hashes,
    }


def bits_on(machine: Machine) -> dict[str, str]:
    """Return `bits` as a machine has them."""
    command = [sys.executable, __file__, PROBE]
    found: dict[str, str] = json.loads(
        subprocess.run(command, env=machine.environment(), check=True, capture_output=True, text=True).stdout
    )
    return found


def checked(machine: Machine, native: dict[str, str]) -> list[str]:
    """Return which results have other bits than the processor's own; say what each setting changes for itself.

    Raises:
        SystemExit: The machine computes with other kernels of torch, or more threads, than it is held to.
    """
    found = bits_on(machine)
    wanted = machine.settings.get("ATEN_CPU_CAPABILITY", native["capability"]).upper()
    for name, value in (("capability", wanted), ("threads", str(machine.threads))):
        if found[name] != value:
            raise SystemExit(
                f"error: {machine.name}: torch's {name} is {found[name]}, not {value} as it was set"
            )
    for name, value in machine.settings.items():
        alone = bits_on(Machine(machine.name, 1, {name: value}))
        print(
            f"{machine.name}: {name}={value} changes {', '.join(differing(alone, native)) or 'nothing here'}",
            flush=True,
        )
    return differing(found, native)


def differing(found: dict[str, str], native: dict[str, str]) -> list[str]:
    """Return which results have other bits."""
    return [name for name in native if name not in ("capability", "threads") and found[name] != native[name]]


def _numpy_features() -> list[str]:
    import numpy as np

    extensions = np.show_config(mode="dicts")["SIMD Extensions"]  # type: ignore[call-overload]
    return list(extensions.get("found", []))


class Progress:
    """Says how far all machines are; one counts as much as another."""

    def __init__(self, name: str, place: int, count: int, started: float) -> None:
        self._name, self._place, self._count, self._started = name, place, count, started
        self._said = 0.0

    def say(self, percent: int) -> None:
        """Say that so much of this machine's tests is done, if the last time is a while ago."""
        now = time.perf_counter()
        if now - self._said < SAY_EVERY:
            return
        self._said, gone = now, (self._place + percent / 100) / self._count
        elapsed = now - self._started
        left = f", about {elapsed * (1 - gone) / gone / 60:.0f} min left" if gone > 0.02 else ""
        print(
            f"[{self._place + 1}/{self._count}] {self._name}: {percent}%, {elapsed / 60:.0f} min gone{left}",
            flush=True,
        )


def run(
    machine: Machine, differs: list[str], arguments: Sequence[str], processes: int | None, progress: Progress
) -> Result:
    """Run a machine's tests; print what pytest says where they fail."""
    count = processes or max(1, (os.cpu_count() or 1) // machine.threads)
    command = [
        sys.executable,
        "-m",
        "pytest",
        "-p",
        "no:cacheprovider",
        "-m",
        "numeric and not slow",
        "--tb=short",
    ]
    command += [f"--numprocesses={count if count > 1 else 0}", "--dist=loadscope"]
    command += ["--max-worker-restart=0", *machine.options, *arguments]  # one that crashed is a failure
    started, said, counts = time.perf_counter(), [], {}
    with subprocess.Popen(
        command,
        cwd=ROOT,
        env=machine.environment(),
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    ) as process:
        assert process.stdout is not None
        for line in process.stdout:
            said.append(line)
            done = DONE.search(line.rstrip())
            if done:
                progress.say(int(done[1]))
    if said:
        counts = {kind: int(number) for number, kind in COUNT.findall(said[-1])}
    if process.returncode:
        print(f"{machine.name}:\n{''.join(said)}", flush=True)
    return Result(machine, differs, counts, process.returncode, time.perf_counter() - started)


def table(results: Sequence[Result]) -> str:
    """Return a table of the results, a line for each machine."""
    head = ["machine", "threads", "other bits than the native ones", "passed", "failed", "skipped", "seconds"]
    rows = [head, *(each.cells() for each in results)]
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    return "\n".join("  ".join(map(str.ljust, row, widths)).rstrip() for row in rows)


if __name__ == "__main__":
    sys.exit(main())
