"""Stoix's R2D2 at the work of ours, read from a checkout; its loggers and their libraries are left out."""

import sys
import types
from pathlib import Path
from typing import Any
from unittest import mock

import gymnax
import jax
from benchmarks._agents_elsewhere import UNUSED, Contender, environment

_LOGGING = ("neptune", "neptune.utils", "tensorboard_logger", "wandb", "pandas.io.json._normalize", "huggingface_hub")


def r2d2(checkout: Path, config: dict[str, Any]) -> Contender:
    """Make Stoix's R2D2 with a GRU of `width` units, behind a layer of as many.

    Args:
        checkout: The folder of a checkout.
        config: Sizes: `envs`, `width`, `batch`, `sequence`, `burn_in`, `period`, `n_step`, `positions`, and `rollout`,
            the steps of each environment after which it learns; one gradient step for each of them.
    """
    fake_gymnax = types.ModuleType("gymnax")
    vars(fake_gymnax).update(vars(gymnax) | {"make": environment})
    known = {name: mock.MagicMock() for name in _LOGGING if name not in sys.modules} | {"gymnax": fake_gymnax}
    known |= {name: mock.MagicMock() for name in UNUSED if name.startswith(("brax", "navix"))}
    from omegaconf import OmegaConf  # noqa: PLC0415 - before the patch, which takes back what is imported in it

    with mock.patch.dict(sys.modules, known), mock.patch.object(sys, "path", [str(checkout), *sys.path]):
        from stoix.systems.q_learning import rec_r2d2  # noqa: PLC0415
        from stoix.utils import make_env  # noqa: PLC0415

        settings = OmegaConf.create(_settings(checkout, config, OmegaConf))
        env, _ = make_env.make(config=settings)
        learn, _, state, _ = rec_r2d2.learner_setup(env, jax.random.split(jax.random.PRNGKey(0)), settings)

    def run(state: Any) -> tuple[Any, Any]:
        output = learn(state)
        return output.learner_state, (output.episode_metrics, output.train_metrics)

    return Contender("Stoix", run, state, config["steps"])


def _settings(checkout: Path, config: dict[str, Any], reader: Any) -> dict[str, Any]:
    """Give Stoix's own configuration with these sizes."""
    folder, updates = checkout / "stoix" / "configs", config["steps"] // (config["envs"] * config["rollout"])
    system, env = (
        reader.to_container(reader.load(folder / part))
        for part in ("system/q_learning/rec_r2d2.yaml", "env/gymnax/cartpole.yaml")
    )
    sizes = {
        "rollout_length": config["rollout"],
        "epochs": config["rollout"],
        "warmup_steps": config["positions"] // config["envs"],
        "total_buffer_size": config["positions"],
        "total_batch_size": config["batch"],
        "burn_in_length": config["burn_in"],
        "sample_sequence_length": config["sequence"],
        "period": config["period"],
        "n_step": config["n_step"],
    }
    torso = {"_target_": "stoix.networks.torso.MLPTorso", "activation": "relu"}
    network = {
        "pre_torso": torso | {"layer_sizes": [config["width"]]},
        "rnn_layer": {"cell_type": "gru", "hidden_state_dim": config["width"]},
        "post_torso": torso | {"layer_sizes": []},
        "action_head": {"_target_": "stoix.networks.heads.DiscreteQNetworkHead"},
    }
    arch = {"seed": 0, "update_batch_size": 1, "num_envs": config["envs"], "total_num_envs": config["envs"]}
    return {
        "system": system | sizes,
        "env": env,
        "network": {"actor_network": network},
        "arch": arch | {"num_updates": updates, "num_updates_per_eval": updates},
        "logger": {"checkpointing": {"load_model": False}},
        "num_devices": 1,
    }
