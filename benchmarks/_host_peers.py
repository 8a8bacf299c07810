"""Recurrent PPO of other libraries on Atari, with the network and the sizes of `benchmarks.host_environments`.

`python -m benchmarks._host_peers FOLDER ...` runs cleanrl's own `ppo_atari_lstm.py` from a checkout of its repository,
where Gymnasium has renamed two wrappers since, and passes the other arguments on.
"""

import re
import runpy
import statistics
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

GAME = "PongNoFrameskip-v4"
LSTM, DENSE, EPOCHS, MINIBATCHES = 128, 512, 4, 4


def rate_of_sb3(num_envs: int, num_steps: int, updates: int) -> float:
    """Steps per second of RecurrentPPO of sb3-contrib, after one update."""
    import ale_py  # noqa: PLC0415 - optional
    import gymnasium  # noqa: PLC0415 - optional
    from sb3_contrib import RecurrentPPO  # noqa: PLC0415 - optional
    from stable_baselines3.common.env_util import make_atari_env  # noqa: PLC0415 - optional

    gymnasium.register_envs(ale_py)
    env = make_atari_env(GAME, n_envs=num_envs)
    network: dict[str, Any] = {
        "lstm_hidden_size": LSTM,
        "shared_lstm": True,
        "enable_critic_lstm": False,
        "net_arch": [],
        "features_extractor_kwargs": {"features_dim": DENSE},
    }
    steps = num_envs * num_steps
    sizes = {"n_steps": num_steps, "batch_size": steps // MINIBATCHES, "n_epochs": EPOCHS}
    agent = RecurrentPPO("CnnLstmPolicy", env, policy_kwargs=network, device="cpu", **sizes)
    agent.learn(steps)
    start = time.perf_counter()
    agent.learn(updates * steps, reset_num_timesteps=False)
    rate = updates * steps / (time.perf_counter() - start)
    env.close()
    return rate


def rate_of_cleanrl(folder: Path, num_envs: int, num_steps: int, updates: int) -> float:
    """Steps per second of cleanrl's script, as it reports them itself."""
    sizes = {"env-id": GAME, "num-envs": num_envs, "num-steps": num_steps, "num-minibatches": MINIBATCHES}
    sizes |= {"update-epochs": EPOCHS, "total-timesteps": updates * num_envs * num_steps}
    options = [text for name, value in sizes.items() for text in (f"--{name}", str(value))]
    command = [sys.executable, "-m", "benchmarks._host_peers", str(folder), "--no-cuda", *options]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    rates = [float(number) for number in re.findall(r"SPS: (\d+)", done.stdout)]
    if done.returncode or not rates:
        raise RuntimeError(f"cleanrl failed: {done.stderr[-2000:]}")
    return statistics.median(rates[-1:])


def run_cleanrl(folder: Path, arguments: list[str]) -> None:
    """Run the script here."""
    import ale_py  # noqa: PLC0415 - optional
    import gymnasium  # noqa: PLC0415 - optional

    gymnasium.register_envs(ale_py)
    wrappers: Any = gymnasium.wrappers
    wrappers.GrayScaleObservation = wrappers.GrayscaleObservation
    wrappers.FrameStack = wrappers.FrameStackObservation
    sys.path.insert(0, str(folder))
    sys.argv = ["ppo_atari_lstm.py", *arguments]
    runpy.run_path(str(folder / "cleanrl" / "ppo_atari_lstm.py"), run_name="__main__")


if __name__ == "__main__":
    run_cleanrl(Path(sys.argv[1]), sys.argv[2:])
