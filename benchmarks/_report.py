"""What every benchmark leaves behind: a file of results, with what they were measured on."""

import argparse
import importlib
import json
import os
import platform
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

import jax

RESULTS = Path(__file__).parent / "results"
LIBRARIES = ("memorax", "jax", "jaxlib", "flax", "optax", "numpy")


def add_output_option(parser: argparse.ArgumentParser, name: str) -> None:
    """Let the user choose the file of results."""
    parser.add_argument("--out", type=Path, default=RESULTS / f"{name}-{jax.default_backend()}.json")


def write(out: Path, results: dict[str, Any], *, quiet: bool = False) -> None:
    """Write results with versions and hardware."""
    machine = {
        "versions": {"python": platform.python_version()} | {name: _version(name) for name in LIBRARIES},
        "device": jax.devices()[0].device_kind,
        "processor": _processor(),
        "cores": os.cpu_count(),
    }
    out.parent.mkdir(parents=True, exist_ok=True)
    out.write_text(json.dumps(machine | results, indent=2) + "\n")
    if not quiet:
        print(f"wrote {out}")


def _version(name: str) -> str:
    """Find a library's version; this one may be run from its sources."""
    try:
        return version(name)
    except PackageNotFoundError:
        return importlib.import_module(name).__version__


def _processor() -> str:
    """Name the processor, as far as the system tells."""
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
    except OSError:
        lines = []
    names = [line.split(":", 1)[1].strip() for line in lines if line.startswith("model name")]
    return names[0] if names else platform.processor() or platform.machine()
