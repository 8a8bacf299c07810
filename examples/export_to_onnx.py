"""Export a trained agent to ONNX, and act in numpy, without memorax and without JAX: `pip install memorax[onnx]`.

python examples/export_to_onnx.py
"""

import dataclasses
import importlib.util
from pathlib import Path

import numpy as np

import memorax


def main(steps: int = 100_000, out: str = "runs/exported") -> float:
    """Train, export, and play card by card with the exported policy; give the share of right answers."""
    run, folder = Path(out) / "run", Path(out) / "onnx"
    config = dataclasses.replace(memorax.default_run("ppo"), env="memory::RepeatPreviousEasy", steps=steps, seeds=1)
    memorax.train(config, run)
    memorax.load(run).export(folder, "onnx")

    # All that follows could run on another machine: it needs numpy and ONNX Runtime.
    spec = importlib.util.spec_from_file_location("load", folder / "load.py")
    assert spec is not None and spec.loader is not None  # noqa: S101, PT018
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    policy, rng, tables, lag = module.Policy(), np.random.default_rng(0), 16, 4
    decks = np.stack([rng.permutation(np.repeat(np.arange(4), 13)) for _ in range(tables)])
    carry, reward, right = None, np.zeros(tables, np.float32), []
    for t in range(51):
        cards = np.eye(4, dtype=np.float32)[decks[:, t]]
        action, carry = policy.predict(cards, carry, episode_start=t == 0, reward=reward)
        if t >= lag - 1:
            hit = action == decks[:, t - lag + 1]
            right.append(hit)
            reward = np.where(hit, 1.0, -1.0).astype(np.float32) / (52 - lag)
    share = float(np.mean(right))
    print(f"{share:.0%} of the answers were right; a guess is right in 25 %")
    return share


if __name__ == "__main__":
    main()
