"""An agent that compiles in no time: it walks at random and calls that learning."""

from typing import Any

import jax
import jax.numpy as jnp

from memorax import lox
from memorax.acting import State, StepCount
from memorax.algorithms import PPOConfig
from memorax.experiment import RunConfig

UPDATE, ENVS = 12, 3


class FakeAgent:
    """Has what the run loop asks of an agent. It loses its mind after `breaks_at` steps."""

    steps_per_update = UPDATE

    def __init__(
        self, breaks_at: int | None = None, breaks_with: float = float("nan"), *, endless: bool = False
    ) -> None:
        self.breaks_at, self.breaks_with, self.endless = breaks_at, breaks_with, endless

    def init(self, key: jax.Array) -> State:
        learner = {"position": jax.random.normal(key, (5,)), "seed": jax.random.key_data(key)[-1]}
        return State(StepCount.of(0), jnp.zeros((ENVS, 2)), learner)

    def train(self, key: jax.Array, state: State, num_steps: int) -> State:
        def body(state: State, _: None) -> tuple[State, None]:
            move = jax.random.normal(state.step.fold_into(key), (5,))
            step = state.step + UPDATE
            if self.breaks_at is not None:
                move = jnp.where(step.as_float() > self.breaks_at, self.breaks_with, move)
            position = state.learner["position"] + move
            lox.log(
                {
                    "returned_episode": (jnp.arange(ENVS) > 0) & (not self.endless),
                    "returned_episode_returns": position[:ENVS],
                    "returned_episode_lengths": jnp.full((ENVS,), UPDATE // ENVS, jnp.int32),
                }
            )
            lox.log({"losses": {"move": jnp.sum(move), "a_never": jnp.float32(jnp.nan)}})
            return State(step, state.loop, state.learner | {"position": position}), None

        return jax.lax.scan(body, state, None, length=num_steps // UPDATE)[0]

    def evaluate(
        self, key: jax.Array, state: State, num_steps: int, num_episodes: int, deterministic: bool = True
    ) -> State:
        """Return where it is, the first coordinate, and by how much it samples; the noise of a key is small."""
        bonus = 0.0 if deterministic else 100.0
        noise = 1e-3 * jax.random.uniform(key, (num_episodes,))
        lox.log(
            {
                "returned_episode": jnp.full((num_episodes,), not self.endless),
                "returned_episode_returns": state.learner["position"][0] + bonus + noise,
                "returned_episode_lengths": jnp.full((num_episodes,), min(num_steps, 5), jnp.int32),
            }
        )
        return state


def config(**fields: Any) -> RunConfig:
    """A run of ten updates in five intervals, with a checkpoint in its midst."""
    defaults: dict[str, Any] = {
        "algorithm": "ppo",
        "env": "memory::RepeatPreviousEasy",
        "steps": 10 * UPDATE,
        "seeds": 2,
        "seed": 7,
        "log_every": 2 * UPDATE,
        "checkpoint_every": 4 * UPDATE,
        "hyperparameters": PPOConfig(),
    }
    return RunConfig(**(defaults | fields))
