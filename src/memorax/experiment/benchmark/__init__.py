"""Benchmark suites: tables of tasks, methods and seeds, trained in an order that is useful early."""

from memorax.experiment.benchmark.report import write_tables
from memorax.experiment.benchmark.results import collect
from memorax.experiment.benchmark.runner import Progress, run_suite
from memorax.experiment.benchmark.suite import Cell, Horizons, Suite, load_suite, suite_names

__all__ = ["Cell", "Horizons", "Progress", "Suite", "collect", "load_suite", "run_suite", "suite_names", "write_tables"]
