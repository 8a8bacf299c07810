"""Two processes with two devices each, connected over loopback, train what one process with four devices trains."""

import functools
import json
import os
import signal
import socket
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest

from memorax.experiment.loggers import read_rows
from memorax.experiment.run import checkpoint
from memorax.experiment.run.hosts import connect

pytestmark = [pytest.mark.slow, pytest.mark.timeout(1800)]

OPTIONS = [
    *("--features", "7"),
    *("--num-envs", "8"),
    *("--log-every", "1280"),
    *("--checkpoint-every", "2560"),
]
EVALUATED = [*OPTIONS, "--eval-every", "2560", "--eval-episodes", "4"]
REPLAY = "--buffer-size 4096 --batch-size 8 --sequence-length 8 --train-frequency 128 --learning-starts 256"
SIZES = {
    "ppo": "--num-steps 16 --num-minibatches 2 --update-epochs 1",
    "pqn": "--num-steps 16 --num-minibatches 2 --update-epochs 1",
    "r2d2": f"{REPLAY} --burn-in-length 2",
    "sac": REPLAY,
}
RUNS = [("ppo", 2), ("ppo", 1), ("r2d2", 1), ("sac", 1)]
"""Algorithms and numbers of seeds. Two seeds are trained in a process each; one is split over both."""
PATIENCE = 900.0
"""Seconds to wait for a process on a machine that is busy with something else."""
STARTED = []


@pytest.fixture(autouse=True)
def none_is_left():
    """End what a test that failed has left."""
    yield
    while STARTED:
        process = STARTED.pop()
        process.kill()
        process.communicate()


def start(folder, devices, *options, run=("ppo", 1)):
    algorithm, seeds = run
    flags = f"--xla_force_host_platform_device_count={devices} --xla_backend_optimization_level=0"
    sizes = [*EVALUATED, *SIZES[algorithm].split(), "--seeds", str(seeds)]
    command = [sys.executable, "-m", "memorax", "train", algorithm, *sizes, "--out", str(folder), *options]
    environment = os.environ | {"XLA_FLAGS": flags, "JAX_PLATFORMS": "cpu"}
    return begin(command, environment)


def begin(command, environment=None):
    STARTED.append(
        subprocess.Popen(command, env=environment, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    )
    return STARTED[-1]


def free_port():
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        return free.getsockname()[1]


def pair(folder, *options, run=("ppo", 1)):
    """Start two processes; the first one leads. The second one is told of another folder, and leaves it alone."""
    where = ("--coordinator", f"127.0.0.1:{free_port()}", "--num-processes", "2")
    folders = folder, folder.with_name("elsewhere")
    if "--resume" in options:
        folders = folder, folder
    return [start(folders[i], 2, *where, "--process-id", str(i), *options, run=run) for i in range(2)]


def finish(processes, patience=PATIENCE):
    """Wait for all; their exit codes and what they said."""
    try:
        said = [process.communicate(timeout=patience) for process in processes]
    finally:
        for process in processes:
            process.kill()
            STARTED.remove(process)
    return [process.returncode for process in processes], [out for out, _ in said], [error for _, error in said]


def wait_for_rows(folder, processes, steps):
    end = time.monotonic() + PATIENCE
    while time.monotonic() < end:
        if any(process.poll() is not None for process in processes):
            raise AssertionError(finish(processes))
        if trained(folder) >= steps:
            return
        time.sleep(0.1)
    raise AssertionError("nothing was trained in time")


def trained(folder):
    path = folder / "metrics.jsonl"
    return max((row["step"] for row in read_rows(path)), default=0) if path.exists() else 0


def metrics(folder):
    rows = read_rows(folder / "metrics.jsonl")
    return [{name: value for name, value in row.items() if not name.startswith("time/")} for row in rows]


def assert_close(found, wanted):
    assert [row.keys() for row in found] == [row.keys() for row in wanted]
    for mine, theirs in zip(found, wanted, strict=True):
        for name, value in mine.items():
            np.testing.assert_allclose(value, theirs[name], rtol=1e-3, atol=1e-4, err_msg=name)


@pytest.fixture(scope="module")
def alone(tmp_path_factory):
    """Runs of one process with four devices, by algorithm and number of seeds."""

    @functools.cache
    def one(*run):
        folder = tmp_path_factory.mktemp("alone") / "run"
        codes, _, errors = finish([start(folder, 4, "--steps", "7680", "--devices", "4", run=run)])
        assert codes == [0], errors
        return folder

    return one


@pytest.mark.parametrize("run", RUNS, ids=lambda run: f"{run[0]}-{run[1]}")
def test_two_processes_train_what_one_does_and_it_resumes_in_one(run, alone, tmp_path):
    codes, said, errors = finish(pair(tmp_path / "run", "--steps", "5120", run=run))
    assert codes == [0, 0], errors
    assert "mean return" in said[0]
    assert not [line for line in said[1].splitlines() if not line.startswith("[Gloo]")]
    assert not (tmp_path / "elsewhere").exists()
    assert_close(metrics(tmp_path / "run"), [row for row in metrics(alone(*run)) if row["step"] <= 5120])
    summary = json.loads((tmp_path / "run" / "summary.json").read_text())
    assert summary["step"] == 5120
    codes, _, errors = finish([start(tmp_path / "run", 4, "--steps", "7680", "--devices", "4", "--resume", run=run)])
    assert codes == [0], errors
    assert_close(metrics(tmp_path / "run"), metrics(alone(*run)))


def test_two_processes_learn_greedy_actions_as_one_does(tmp_path):
    """Later, rounding may choose another of two actions of nearly the same value, and all that follows differs."""
    options = ("--steps", "2560", "--log-every", "128")
    codes, _, errors = finish(pair(tmp_path / "run", *options, run=("pqn", 1)))
    assert codes == [0, 0], errors
    codes, _, errors = finish([start(tmp_path / "alone", 4, *options, "--devices", "4", run=("pqn", 1))])
    assert codes == [0], errors
    found, wanted = ([row for row in metrics(tmp_path / name) if row["step"] <= 640] for name in ("run", "alone"))
    assert len(found) == 5
    assert_close(found, wanted)


def test_a_signal_to_one_stops_all_and_they_resume(alone, tmp_path):
    processes = pair(tmp_path / "run", "--steps", "768_000")
    wait_for_rows(tmp_path / "run", processes, 1280)
    processes[1].send_signal(signal.SIGTERM)
    codes, said, errors = finish(processes)
    assert codes == [128 + signal.SIGTERM] * 2, errors
    assert "stopped and saved at step" in said[0]
    step = int(checkpoint.newest(tmp_path / "run" / "checkpoints").name)
    assert metrics(tmp_path / "run")[-1]["step"] == step
    more = step + 1280
    codes, _, errors = finish(pair(tmp_path / "run", "--resume", "--steps", str(more)))
    assert codes == [0, 0], errors
    same = [row for row in metrics(tmp_path / "run") if row["step"] <= 7680]
    assert_close(same, [row for row in metrics(alone("ppo", 1)) if row["step"] <= more])


@pytest.mark.parametrize("lost", [0, 1])
def test_when_one_is_lost_the_other_ends_and_they_resume(lost, alone, tmp_path):
    processes = pair(tmp_path / "run", "--steps", "768_000")
    wait_for_rows(tmp_path / "run", processes, 3840)
    processes[lost].kill()
    began = time.monotonic()
    code = processes[1 - lost].wait(60)
    assert code not in {0, None}
    assert time.monotonic() - began < 60
    _, _, errors = finish(processes)
    # Where the first one is lost, it is JAX that says so.
    assert ("another process of the run was lost, or failed", "another task died")[lost == 0] in errors[1 - lost]
    step = int(checkpoint.newest(tmp_path / "run" / "checkpoints").name)
    codes, _, errors = finish(pair(tmp_path / "run", "--resume", "--steps", str(step + 1280)))
    assert codes == [0, 0], errors
    same = [row for row in metrics(tmp_path / "run") if row["step"] <= 7680]
    assert_close(same, [row for row in metrics(alone("ppo", 1)) if row["step"] <= step + 1280])


SRUN = """#!/bin/sh
# Starts two tasks on this machine with the variables of SLURM, and ends with the highest exit code.
for task in 0 1; do
  SLURM_STEP_NODELIST=127.0.0.1 SLURM_NTASKS=2 SLURM_PROCID=$task SLURM_LOCALID=$task "$@" &
  echo $! > "$TASKS/$task"
done
highest=0
for task in 0 1; do
  wait "$(cat "$TASKS/$task")"
  code=$?
  if [ $code -gt $highest ]; then highest=$code; fi
done
exit $highest
"""
MEMORAX = f"""#!/bin/sh
exec {sys.executable} -m memorax "$@"
"""
SCALE = Path(__file__).parents[2] / "docs" / "scale.md"


def programs(folder):
    """Stand-ins for programs of a cluster, and what their callers' environment is."""
    (folder / "bin").mkdir()
    scripts = {"srun": SRUN, "memorax": MEMORAX, "scontrol": '#!/bin/sh\necho "$@" > "$TASKS/scontrol"\n'}
    for name, text in scripts.items():
        (folder / "bin" / name).write_text(text)
        (folder / "bin" / name).chmod(0o755)
    flags = "--xla_force_host_platform_device_count=2 --xla_backend_optimization_level=0"
    paths = {"PATH": f"{folder / 'bin'}:{os.environ['PATH']}", "TASKS": str(folder)}
    return os.environ | paths | {"XLA_FLAGS": flags, "JAX_PLATFORMS": "cpu"}


def small(text, folder):
    """A command of the documentation for a small run in a folder."""
    text = text.replace("/shared/runs/big", str(folder))
    assert "ppo --seeds 8 --steps 1e9" in text.replace("--distributed ", "")
    sizes = f"{' '.join(OPTIONS)} {SIZES['ppo']} --seeds 1 --steps 768_000"
    return text.replace("--seeds 8 --steps 1e9", sizes)


def test_the_batch_file_of_the_documentation(tmp_path):
    folder = tmp_path / "run"
    script = next(block for block in SCALE.read_text().split("```") if block.startswith("text\n#!/bin/bash"))
    script = small(script.removeprefix("text\n"), folder)
    environment = programs(tmp_path) | {"SLURM_JOB_ID": str(free_port())}
    for attempt in range(2):
        job = begin(["bash", "-c", script], environment)
        wait_for_rows(folder, [job], trained(folder) + 1280)
        os.kill(int((tmp_path / "1").read_text()), signal.SIGTERM)
        codes, said, errors = finish([job])
        assert codes == [128 + signal.SIGTERM], errors
        assert "stopped and saved at step" in said[0]
        assert (tmp_path / "scontrol").read_text() == f"requeue {environment['SLURM_JOB_ID']}\n"
        (tmp_path / "scontrol").unlink()
        assert ("resuming from step" in said[0]) == bool(attempt)


def test_the_command_of_the_kubernetes_job(tmp_path):
    folder = tmp_path / "run"
    lines = SCALE.read_text().split("- |\n")[1].split("resources:")[0]
    script = small(lines, folder).replace("memorax-train-0.memorax-train:9876", f"127.0.0.1:{free_port()}")
    environment = programs(tmp_path)
    for attempt in range(2):
        pods = [begin(["sh", "-c", script], environment | {"JOB_COMPLETION_INDEX": str(i)}) for i in range(2)]
        wait_for_rows(folder, pods, trained(folder) + 1280)
        pods[0].send_signal(signal.SIGTERM)
        codes, said, errors = finish(pods)
        assert codes == [128 + signal.SIGTERM] * 2, errors
        assert ("resuming from step" in said[0]) == bool(attempt)


CONNECT = """
import sys
from memorax.experiment import connect
try:
    connect(sys.argv[1], int(sys.argv[2]), int(sys.argv[3]), patience=float(sys.argv[4]))
except ValueError as error:
    sys.exit(str(error))
"""


def connecting(port, number, index, patience):
    command = [sys.executable, "-c", CONNECT, f"127.0.0.1:{port}", str(number), str(index), str(patience)]
    return begin(command)


def test_processes_that_do_not_come_together_say_why():
    port = free_port()
    began = time.monotonic()
    codes, _, errors = finish([connecting(port, 2, 1, 3)])
    assert codes == [1]
    assert f"error: 2 processes must come together at 127.0.0.1:{port} within 3 seconds, this is number 1" in errors[0]
    assert "the first process cannot be reached" in errors[0]
    codes, _, errors = finish([connecting(port, 3, i, 15) for i in range(2)])
    assert codes == [1, 1], errors
    assert "this is number 0: not all have come" in errors[0]
    assert time.monotonic() - began < PATIENCE


def test_processes_that_were_given_different_numbers_say_so():
    port = free_port()
    codes, _, errors = finish([connecting(port, 2, 0, 100), connecting(port, 3, 1, 100)])
    assert codes == [1, 1], errors
    for mine, theirs, error in ((2, 3, errors[0]), (3, 2, errors[1])):
        assert f"`num_processes` must be the same in all processes, got {mine} in number" in error
        assert f"and {theirs} in number" in error


def test_a_request_that_is_refused_ends_all(tmp_path):
    codes, _, errors = finish(pair(tmp_path / "run", "--steps", "5120", "--num-envs", "7"))
    assert codes[0] == 2
    assert codes[1] != 0
    assert "must divide" in errors[0]
    assert not (tmp_path / "run").exists()


@pytest.mark.parametrize(
    ("arguments", "error"),
    [
        (("here:1", None, 0), "`coordinator`, `process_id` and `num_processes` must be given together, got none of"),
        (("here:1", 2, 2), "`process_id` must be at most 1, got 2"),
        (("here", 2, 1), "`coordinator` must be HOST:PORT, got here"),
        ((None, None, None), "`distributed` must be started by SLURM, Open MPI or in Kubernetes"),
    ],
)
def test_a_connection_that_cannot_be_made_is_refused(arguments, error):
    with pytest.raises(ValueError, match=error):
        connect(*arguments)
