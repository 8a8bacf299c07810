"""The second start of the same job compiles nothing, and gives the same numbers."""

import os
import subprocess
import sys

import pytest
from tests.cli.test_cli import TINY
from tests.cli.test_kill_and_resume import metrics

PROGRAM = """
import sys
import jax
from memorax.cli import main

misses = []
jax.monitoring.register_event_listener(lambda event, **_: misses.append(event) if "cache_miss" in event else None)
code = main(sys.argv[1:])
print("misses", len(misses), "in", jax.config.jax_compilation_cache_dir)
sys.exit(code)
"""


def start(folder, home, *words, **variables):
    names = ("JAX_COMPILATION_CACHE_DIR", "JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS")
    environment = {name: value for name, value in os.environ.items() if name not in names}
    environment |= {"XDG_CACHE_HOME": str(home), "JAX_PLATFORMS": "cpu"} | variables
    command = [sys.executable, "-c", PROGRAM, *(words or ["train", *TINY, "--out", str(folder)])]
    result = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)
    assert result.returncode == 0, result.stderr
    last = result.stdout.splitlines()[-1].split()
    return int(last[1]), last[3]


@pytest.mark.slow
def test_the_second_start_compiles_nothing(tmp_path):
    home = tmp_path / "home"
    first, place = start(tmp_path / "first", home)
    assert first > 0
    assert place.startswith(str(home / "memorax" / "programs"))
    assert start(tmp_path / "second", home) == (0, place)
    assert metrics(tmp_path / "first") == metrics(tmp_path / "second")
    # As it is without: nothing is kept, and the numbers are the same.
    start(tmp_path / "third", tmp_path / "none", JAX_ENABLE_COMPILATION_CACHE="false")
    assert not (tmp_path / "none" / "memorax").exists()
    assert metrics(tmp_path / "first") == metrics(tmp_path / "third")
    assert start(None, home, "list", "models", JAX_COMPILATION_CACHE_DIR=str(tmp_path / "own"))[1] == str(
        tmp_path / "own"
    )
