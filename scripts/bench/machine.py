"""What this machine reaches: a matrix product's rate, and how fast memory is copied."""

import os
import platform
from dataclasses import dataclass
from pathlib import Path

import torch

from scripts.bench.timing import least, say, threads

SIZES = (512, 1024, 2048)  # of square float32 matrices; the best counts
BUSY = 0.4  # load a core, from which others disturb
COPIED = 2**26  # floats: more than any cache holds


@dataclass(frozen=True)
class Machine:
    """Where a bench ran.

    Attributes:
        processor, torch: Name and version.
        cores: Of the machine.
        threads: That the evaluation was measured with.
        peak: Floating point operations a second of a matrix product, by the number of threads.
        bandwidth: Bytes a second that a copy reads and writes, with `threads`.
        load: Processes that wanted a core in the minute before.
    """

    processor: str
    torch: str
    cores: int
    threads: int
    peak: dict[int, float]
    bandwidth: float
    load: float

    @classmethod
    def measure(cls, count: int) -> "Machine":
        """Measure with `count` threads, and the peak with one as well."""
        load = os.getloadavg()[0] if hasattr(os, "getloadavg") else 0.0
        say(f"the machine: matrix products and a copy, {count} and 1 threads")
        peak = {1: _peak(1)}
        peak[count] = max(peak[1], _peak(count))
        with threads(count):
            rate = bandwidth()
        return cls(processor(), torch.__version__, os.cpu_count() or 1, count, peak, rate, load)

    def text(self) -> str:
        """Return it in words."""
        rates = ", ".join(f"{rate / 1e9:.0f} GFLOP/s on {n} thread(s)" for n, rate in self.peak.items())
        busy = f"\nTHE MACHINE IS BUSY: load {self.load:.1f} on {self.cores} cores; ratios are rough"
        return (
            f"{self.processor}, {self.cores} cores, torch {self.torch}\n"
            f"peak, a float32 matrix product: {rates}; copy: {self.bandwidth / 1e9:.1f} GB/s read and written"
            + (busy if self.load > BUSY * self.cores else "")
        )

    def json(self) -> dict[str, object]:
        """Return it as plain values."""
        return {
            "processor": self.processor,
            "torch": self.torch,
            "cores": self.cores,
            "threads": self.threads,
            "peak_gflops_by_threads": {str(n): rate / 1e9 for n, rate in self.peak.items()},
            "copy_gbytes_per_second": self.bandwidth / 1e9,
            "load_before": self.load,
        }


def processor() -> str:
    """Return the processor's name, as far as the system tells it."""
    cpuinfo = Path("/proc/cpuinfo")
    if cpuinfo.exists():
        for line in cpuinfo.read_text().splitlines():
            if line.startswith("model name"):
                return line.partition(":")[2].strip()
    return platform.processor() or platform.machine()


def _peak(count: int) -> float:
    rates = []
    with threads(count):
        for size in SIZES:
            left, right = torch.rand(size, size), torch.rand(size, size)
            out = torch.empty(size, size)
            seconds = least(lambda a=left, b=right, c=out: torch.mm(a, b, out=c), repeats=20, budget=0.5)
            rates.append(2 * size**3 / seconds)
    return max(rates)


def bandwidth() -> float:
    """Measure the bytes a second that a copy reads and writes, with as many threads as torch has now."""
    source, target = torch.zeros(COPIED), torch.ones(COPIED)
    return 2 * source.nbytes / least(lambda: target.copy_(source), repeats=10, budget=1.0)
