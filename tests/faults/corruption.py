"""Every file of a run damaged in many ways; then the run is resumed."""

import dataclasses
import io
import json
import os
import random
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import jax
import numpy as np
import pytest
from rich.console import Console
from tests.experiment.fake_agent import UPDATE, FakeAgent, config
from tests.faults.tally import LOST, REFUSED, SURVIVED, Tally

from memorax.experiment import load_config
from memorax.experiment.config_file import numeric_fields
from memorax.experiment.loggers import read_rows
from memorax.experiment.report import summary
from memorax.experiment.run import train as training

Change = Callable[[random.Random, bytes], bytes | None]
"""Damages the content of a file; None removes it."""
QUIET = Console(file=io.StringIO())
LONGER = 10 * UPDATE
"""The steps that a run is resumed for at most, where its damaged configuration asks for more."""


def flip(source: random.Random, content: bytes) -> bytes:
    """One bit."""
    at = source.randrange(max(1, len(content)))
    return content[:at] + bytes([content[at] ^ (1 << source.randrange(8))]) + content[at + 1 :] if content else b"\x01"


def replace(source: random.Random, content: bytes) -> bytes:
    """A few bytes by others."""
    at, length = source.randrange(len(content) + 1), source.randrange(1, 9)
    return content[:at] + source.randbytes(length) + content[at + length :]


def digit(source: random.Random, content: bytes) -> bytes:
    """A digit by another, which leaves text well formed."""
    places = [i for i, byte in enumerate(content) if 48 <= byte <= 57]
    if not places:
        return flip(source, content)
    at = source.choice(places)
    other = source.choice([x for x in range(48, 58) if x != content[at]])
    return content[:at] + bytes([other]) + content[at + 1 :]


def truncate(source: random.Random, content: bytes) -> bytes:
    """The end is lost."""
    return content[: source.randrange(len(content))] if content else b"x"


def zeros(source: random.Random, content: bytes) -> bytes:
    """A stretch is zero, as after a power failure."""
    at = source.randrange(max(1, len(content)))
    return content[:at] + bytes(min(512, len(content) - at)) if content else b"\0"


def insert(source: random.Random, content: bytes) -> bytes:
    """Something in between."""
    at = source.randrange(len(content) + 1)
    return content[:at] + source.randbytes(source.randrange(1, 20)) + content[at:]


def repeat(source: random.Random, content: bytes) -> bytes:
    """A line twice, or out of place."""
    lines = content.splitlines(keepends=True)
    lines.insert(source.randrange(len(lines) + 1), source.choice(lines) if lines else b"{}\n")
    return b"".join(lines)


def drop(source: random.Random, content: bytes) -> bytes:
    """A line less."""
    lines = content.splitlines(keepends=True)
    if lines:
        del lines[source.randrange(len(lines))]
    return b"".join(lines)


def empty(source: random.Random, content: bytes) -> bytes:
    """Nothing is left."""
    return b""


def remove(source: random.Random, content: bytes) -> None:
    """The file is gone."""


CHANGES: list[Change] = [flip, flip, replace, digit, digit, truncate, zeros, insert, repeat, drop]
SINGLE: list[Change] = [empty, remove]


def run(base: Path, *, count: int, seed: int = 0) -> Iterator[Tally]:
    """Damage every file of a finished run.

    Args:
        base: Where the runs are made.
        count: Number of damages of each file.
        seed: Which ones.
    """
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(training, "build_agent", lambda config: FakeAgent())
        patch.setattr(summary, "plot_runs", lambda folders, out: out.write_text("a picture"))
        patch.setattr(os, "fsync", lambda descriptor: None)  # nothing is lost here by a power failure
        intact = base / "intact"
        training.train(config(), intact, console=QUIET)
        expected = _left(intact)
        for kind, files in _files(intact).items():
            tally = Tally(f"{kind} damaged, resumed")
            source = random.Random(f"{seed} {kind}")
            for number in range(count):
                file = source.choice(files)
                change = SINGLE[number] if number < len(SINGLE) else source.choice(CHANGES)
                damaged = change(source, file.read_bytes())
                where = f"{file.relative_to(intact)}: {change.__name__}, number {number}"
                tally.add(*_judge(base / "run", intact, file, damaged, expected, where))
            yield tally


def _files(folder: Path) -> dict[str, list[Path]]:
    """The files by kind; of checkpoints those of the newest, which is resumed from."""
    newest = max((folder / "checkpoints").iterdir())
    plain = {f"`{path.name}`": [path] for path in sorted(folder.iterdir()) if path.is_file() and path.name != ".lock"}
    inside = [path for path in sorted(newest.rglob("*")) if path.is_file()]
    arrays = [path for path in inside if path.parent.name == "d"]
    named = {f"`{path.name}` of a checkpoint": [path] for path in inside if path.parent == newest}
    return plain | named | {"arrays of a checkpoint": arrays}


def _judge(run: Path, intact: Path, file: Path, damaged: bytes | None, expected: Any, where: str) -> tuple[str, str]:
    if run.exists():
        shutil.rmtree(run)
    shutil.copytree(intact, run)
    path = run / file.relative_to(intact)
    path.unlink() if damaged is None else path.write_bytes(damaged)
    try:
        stored = load_config(run)
        longest = (
            expected["step"] + LONGER
        )  # a damage may ask for a million steps, which is a long test of nothing else
        stored = dataclasses.replace(stored, steps=min(stored.steps, longest))
        training.train(stored, run, resume=True, console=QUIET)
    except (ValueError, OSError) as error:
        text = str(error)
        named = str(run) in text and len(text) < 900
        return (REFUSED, "") if named else (LOST, f"{where}: says {text[:300]!r}")
    except Exception as error:
        return LOST, f"{where}: {type(error).__name__}: {str(error)[:300]}"
    left = _left(run)
    if left["step"] > expected["step"] and left["config"] == expected["config"]:
        return SURVIVED, ""  # more steps may be asked for by the file as well as by an option
    differing = [name for name in expected if left[name] != expected[name]]
    return (LOST, f"{where}: resumed, and {', '.join(differing)} differ") if differing else (SURVIVED, "")


def _left(folder: Path) -> dict[str, Any]:
    """What counts of a finished run."""
    session = training.prepare(load_config(folder), folder, resume=True)
    session.close()
    rows = read_rows(folder / "metrics.jsonl")
    kept = [{name: value for name, value in row.items() if not name.startswith("time/")} for row in rows]
    state = [np.asarray(leaf).tobytes() for leaf in jax.tree.leaves(session.state)]
    parts = {"step": session.step, "config": numeric_fields(session.config), "metrics": json.dumps(kept)}
    return parts | {"arrays": state}
