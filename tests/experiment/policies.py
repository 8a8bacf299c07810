"""Small policies that were not trained."""

import dataclasses

import jax

from memorax.experiment import TrainedPolicy, build_agent, default_run


def make_policy(algorithm="ppo", model="gru", env="memory::RepeatPreviousEasy", **fields):
    """A policy that was not trained."""
    run = default_run(algorithm)
    hyperparameters = {
        name: value
        for name, value in {"num_envs": 4, "normalize_observations": fields.pop("normalize", False)}.items()
        if hasattr(run.hyperparameters, name)
    }
    hyperparameters = dataclasses.replace(run.hyperparameters, **hyperparameters)
    fields = {"model": model, "env": env, "env_options": {}, "features": 8, "seeds": 1} | fields
    config = dataclasses.replace(run, hyperparameters=hyperparameters, **fields)
    agent = build_agent(config)
    state = agent.init(jax.random.key(1))
    return TrainedPolicy(agent, state, config)
