"""Correctness and speed on an accelerator: `python -m benchmarks.gpu`.

First kernels, memory models and agents are checked against the CPU of the same machine (see `_gpu_checks`), then the
device's own limits are measured and kernels, memory models, attention and PPO are timed. A time is the median over
samples that end with a synchronization, of programs compiled ahead and warmed up. Every section has a share of the
time; what it does not suffice for is left out, and said so. Results are written after every row. The exit status is 1
if a check failed.
"""

import argparse
import dataclasses
import os
import sys
import time
from collections.abc import Callable
from typing import Any, ClassVar

import jax
from benchmarks import _gpu_agents as agents
from benchmarks import _gpu_attention as attention
from benchmarks import _gpu_checks as checks
from benchmarks import _gpu_speed as speed
from benchmarks._gpu import Bench, Report
from benchmarks._report import add_output_option

from memorax.networks.sequence_models import MODELS

SEQUENTIAL = ("gru", "lstm", "slstm", "shm", "rtu", "mamba")
GRAPHS = {
    "xla_gpu_enable_command_buffer": "FUSION,CUBLAS,CUBLASLT,CUSTOM_CALL,CUDNN,DYNAMIC_SLICE_FUSION,CONDITIONAL,WHILE"
}
"""Compiler options that record whole loops as CUDA graphs, which XLA's defaults do not."""
VARIANTS = (("float32", None), ("tf32 x3", None), ("bf16 x6", None), ("tf32 x3", 128))
"""Precisions and chunk lengths (None: the default)."""
SIZES: dict[str, dict[str, Any]] = {
    "full": {
        "kernels": (4, 150, 32),
        "models": (MODELS.names(), 4, 150, 64),
        "ceilings": (2**28, 8192, 0.5),
        "linear_scan": ((32, 1024, 1024), (4096, 128, 128), (32, 1024, 128)),
        "cells": ((256, 128, 128),),
        "large_cells": ((4096, 128, 128),),
        "matrix": ((32, 1024, 4, 64),),
        "errors": (8, 512, 4, 64),
        "attention": ((32, 1024, 4, 64), (128, 1024), (1024, 128)),
        "ppo": ((1024, 4096, 16384), 128),
        "all_models": ((32, 1024, 128),),
    },
    "small": {
        "kernels": (2, 12, 4),
        "models": (("gru", "mlstm", "attention"), 2, 12, 8),
        "ceilings": (2**12, 32, 0.01),
        "linear_scan": ((2, 12, 4),),
        "cells": ((2, 12, 8),),
        "large_cells": ((4, 12, 8),),
        "matrix": ((2, 12, 2, 4),),
        "errors": (2, 12, 2, 4),
        "attention": ((2, 12, 2, 4), (4,), (2, 4)),
        "ppo": ((8,), 8),
        "all_models": ((2, 12, 8),),
    },
}


class Sections:
    """The sections, in the order in which they run.

    Args:
        bench: Compiles, times and reports.
        sizes: One of `SIZES`.
    """

    shares: ClassVar[dict[str, float]] = {
        "kernels": 15,
        "models": 60,
        "agents": 25,
        "ceilings": 20,
        "linear_scan": 20,
        "ppo": 35,
        "cells": 50,
        "matrix": 60,
        "attention": 30,
        "all_models": 75,
        "graphs": 10,
        "pallas": 30,
    }
    """By section: its share of the time, from which what is left over goes to later ones."""

    def __init__(self, bench: Bench, sizes: dict[str, Any]) -> None:
        self.bench, self.sizes = bench, sizes

    @property
    def copy_gbs(self) -> float:
        """What a copy of memory reaches."""
        known = self.bench.report.ceilings
        if "copy_gbs" not in known:
            elements, _, seconds = self.sizes["ceilings"]
            known["copy_gbs"] = speed.copy_rate(elements, seconds)
        return known["copy_gbs"]

    def pallas(self) -> None:
        """Check and time the kernels that are written for GPUs; a fault in them can end the process."""
        if jax.default_backend() == "cpu":
            return
        batch, length, size = self.sizes["kernels"]
        checks.run_checks(self.bench, "pallas", checks.scan_checks(batch, length, size, "pallas"))
        cases = speed.linear_scan_cases(self.sizes["linear_scan"], ("pallas",), self.copy_gbs)
        self.bench.time_all("linear_scan", list(cases))

    def kernels(self) -> None:
        """Check the kernels."""
        checks.run_checks(self.bench, "kernels", checks.kernel_checks(*self.sizes["kernels"]))

    def models(self) -> None:
        """Check the memory models."""
        checks.run_checks(self.bench, "models", checks.model_checks(*self.sizes["models"]))

    def agents(self) -> None:
        """Check the agents."""
        agents.check_agents(self.bench)

    def ceilings(self) -> None:
        """Measure the device."""
        self.bench.report.ceilings = speed.ceilings(*self.sizes["ceilings"])
        print("ceilings", self.bench.report.ceilings, flush=True)

    def ppo(self) -> None:
        """Time PPO."""
        self.bench.time_all("ppo", list(agents.ppo_cases(*self.sizes["ppo"])))

    def linear_scan(self) -> None:
        """Time the linear scan."""
        methods = ("associative", "blocked", "sequential")
        cases = speed.linear_scan_cases(self.sizes["linear_scan"], methods, self.copy_gbs)
        self.bench.time_all("linear_scan", list(cases))

    def cells(self) -> None:
        """Time the models that run step by step."""
        ways = ("memorax", "unroll 4", "scan", "flax")
        cases = list(speed.model_cases(("gru",), self.sizes["large_cells"], ("memorax", "flax")))
        cases += speed.model_cases(SEQUENTIAL, self.sizes["cells"], ways)
        self.bench.time_all("cells", cases)

    def matrix(self) -> None:
        """Time the matrix memories."""
        cases = speed.matrix_cases(self.sizes["matrix"], VARIANTS, self.bench.report.ceilings)
        self.bench.time_all("matrix", list(cases))
        for row in speed.precision_errors(self.sizes["errors"]):
            self.bench.report.add("precision", row)
            if self.bench.left <= 0:
                return

    def attention(self) -> None:
        """Time attention."""
        self.bench.time_all("attention", list(attention.attention_cases(*self.sizes["attention"], self.copy_gbs)))

    def all_models(self) -> None:
        """Time all memory models."""
        cases = list(speed.model_cases(self.sizes["models"][0], self.sizes["all_models"]))
        self.bench.time_all("all_models", cases)

    def graphs(self) -> None:
        """Time loops that are recorded as CUDA graphs; last, because XLA does not do so by default."""
        envs, num_steps = self.sizes["ppo"]
        cases = agents.ppo_cases(envs[:1], num_steps, ("memorax",))
        self.bench.time_all("graphs", [dataclasses.replace(case, options=GRAPHS) for case in cases])


def run(sections: Sections, names: list[str], seconds: float) -> None:
    """Run sections, each until its share of the time is over."""
    end = time.perf_counter() + seconds
    for index, name in enumerate(names):
        start = time.perf_counter()
        later = sum(sections.shares[other] for other in names[index:])
        sections.bench.deadline = start + max(1.0, end - start) * sections.shares[name] / later
        section: Callable[[], None] = getattr(sections, name)
        section()
        sections.bench.report.seconds[name] = time.perf_counter() - start
        sections.bench.report.save()
        print(f"{name}: {sections.bench.report.seconds[name]:.1f} s", flush=True)


def main() -> None:
    """Check, measure, print and write."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    everything = list(Sections.shares)
    parser.add_argument("--sections", nargs="+", choices=everything, default=everything)
    parser.add_argument("--seconds", type=float, default=400.0, help="time for all of it")
    parser.add_argument("--sample-seconds", type=float, default=0.3, help="time for a program once it is compiled")
    parser.add_argument("--workers", type=int, default=12, help="programs compiled at the same time")
    parser.add_argument("--small", action="store_true", help="sizes with which the benchmark itself is tested")
    add_output_option(parser, "gpu")
    options = parser.parse_args()
    report = Report(options.out)
    print(jax.__version__, jax.devices(), flush=True)
    sections = Sections(
        Bench(report, options.workers, options.sample_seconds), SIZES["small" if options.small else "full"]
    )
    run(sections, options.sections, options.seconds)
    print(f"wrote {options.out}; {len(report.failures)} checks failed")
    for row in report.failures:
        print(row)
    sections.bench.stop()
    sys.stdout.flush()
    os._exit(bool(report.failures))  # an exit that waited for programs still being compiled could take minutes


if __name__ == "__main__":
    main()
