"""How `benchmarks.gpu` compiles, times and reports: within a time budget, and saving what is known after every row."""

import dataclasses
import time
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor, wait
from pathlib import Path
from typing import Any

import jax
import numpy as np
from benchmarks._report import write

Row = dict[str, Any]
UNTUNED: Row = {"xla_gpu_autotune_level": 0}
"""Compiler options without a search for the fastest products: a tenth of the time, for what is not timed."""


@dataclasses.dataclass
class Case:
    """A program to be timed.

    Attributes:
        row: What identifies it in the results.
        build: Makes the function and its arguments; called once, before anything is timed.
        rates: Turns the median seconds of a call into further entries of the row.
        options: Compiler options.
    """

    row: Row
    build: Callable[[], tuple[Callable[..., Any], tuple[Any, ...]]]
    rates: Callable[[float], Row] = lambda seconds: {}
    options: dict[str, Any] | None = None


class Report:
    """The results so far, on the terminal and in a file.

    Args:
        out: The file; written again after every row, so that a benchmark that is cut off loses little.
    """

    def __init__(self, out: Path) -> None:
        self.out = out
        self.sections: dict[str, list[Row]] = {}
        self.seconds: dict[str, float] = {}
        self.ceilings: Row = {}

    def add(self, section: str, row: Row) -> None:
        """Add a row to a section."""
        self.sections.setdefault(section, []).append(row)
        shown = {key: float(f"{value:.4g}") if isinstance(value, float) else value for key, value in row.items()}
        print(section, shown, flush=True)
        self.save()

    def save(self) -> None:
        """Write the file."""
        write(self.out, {"seconds": self.seconds, "ceilings": self.ceilings, "results": self.sections}, quiet=True)

    @property
    def failures(self) -> list[Row]:
        """The rows of checks that did not pass."""
        return [row for rows in self.sections.values() for row in rows if row.get("passed") is False]


class Bench:
    """Compiles in parallel and times one program after the other until a deadline.

    Args:
        report: Where results go.
        workers: Programs compiled at the same time.
        sample_seconds: Time spent on a program once it is warm.
    """

    def __init__(self, report: Report, workers: int, sample_seconds: float) -> None:
        self.report = report
        self.pool = ThreadPoolExecutor(workers)
        self.sample_seconds = sample_seconds
        self.deadline = float("inf")

    @property
    def left(self) -> float:
        """Seconds left for this section."""
        return self.deadline - time.perf_counter()

    def stop(self) -> None:
        """Forget what was to be compiled."""
        self.pool.shutdown(wait=False, cancel_futures=True)

    def compile(self, function: Callable[..., Any], arguments: Any, options: Row | None = None) -> Future[Any]:
        """Trace now, and compile in the background: the future gives the program and what it took."""
        start = time.perf_counter()
        lowered = jax.jit(function).lower(*arguments)
        traced = time.perf_counter() - start

        def finish() -> tuple[Any, Row]:
            start = time.perf_counter()
            program = lowered.compile(compiler_options=options)
            costs = {"trace_seconds": traced, "compile_seconds": time.perf_counter() - start}
            memory = program.memory_analysis()
            if memory is not None:
                costs["temporary_mib"] = memory.temp_size_in_bytes / 2**20
            return program, costs

        return self.pool.submit(finish)

    def time_all(self, section: str, cases: list[Case]) -> None:
        """Compile all cases, then time them in turn; what the time does not suffice for is left out, and said so."""
        compiled: list[tuple[Case, Future[Any], Any]] = []
        late: list[Case] = []
        trace_until = time.perf_counter() + 0.5 * self.left
        for case in cases:
            if time.perf_counter() > trace_until:
                late.append(case)
                continue
            try:
                function, arguments = case.build()
                compiled.append((case, self.compile(function, arguments, case.options), arguments))
            except Exception as error:  # one that fails must not end the others
                self.report.add(section, case.row | {"error": say(error)})
        wait([future for _, future, _ in compiled], timeout=max(1.0, 0.75 * self.left))
        while compiled:
            case, future, arguments = compiled.pop(0)
            wait([future], timeout=max(0.0, self.left))
            if self.left <= 0 or not future.done():
                future.cancel()
                late.append(case)
                continue
            self.report.add(section, case.row | self._timed(case, future, arguments))
        for case in late:
            self.report.add(section, case.row | {"skipped": "no time left"})

    def _timed(self, case: Case, future: Future[Any], arguments: Any) -> Row:
        try:
            program, costs = future.result()
            times = sample(program, arguments, min(self.sample_seconds, max(0.05, self.left)))
        except Exception as error:
            return {"error": say(error)}
        median = float(np.median(times))
        spread = {"fastest_ms": 1e3 * min(times), "slowest_ms": 1e3 * max(times), "samples": len(times)}
        return {"ms": 1e3 * median} | spread | case.rates(median) | costs


def sample(program: Callable[..., Any], arguments: Any, seconds: float) -> list[float]:
    """Time a compiled program.

    Short programs are called several times between two synchronizations, so that dispatching overlaps with computing,
    as it does in training.

    Args:
        program: It is warmed up by two calls.
        arguments: Its arguments.
        seconds: How long to go on; there are at least 3 samples and at most 30.

    Returns:
        Seconds of a call, one figure a sample.
    """
    jax.block_until_ready(program(*arguments))
    start = time.perf_counter()
    jax.block_until_ready(program(*arguments))
    calls = int(np.clip(0.02 / max(time.perf_counter() - start, 1e-6), 1, 100))
    times: list[float] = []
    until = time.perf_counter() + seconds
    while len(times) < 3 or (time.perf_counter() < until and len(times) < 30):
        start = time.perf_counter()
        for _ in range(calls):
            result = program(*arguments)
        jax.block_until_ready(result)
        times.append((time.perf_counter() - start) / calls)
    return times


def difference(got: Any, want: Any) -> float:
    """Give the largest difference of two pytrees, each leaf relative to its largest magnitude; NaN if there is one."""

    def one(a: Any, b: Any) -> float:
        a, b = np.asarray(a, np.float64), np.asarray(b, np.float64)
        return float(np.max(np.abs(a - b), initial=0) / max(1e-3, np.max(np.abs(b), initial=0)))

    errors = jax.tree.leaves(jax.tree.map(one, got, want))
    return float(np.max(errors)) if errors else 0.0  # Python's `max` would lose a NaN


def say(error: Exception) -> str:
    """Describe an error in a line."""
    return f"{type(error).__name__}: {error}"[:400]
