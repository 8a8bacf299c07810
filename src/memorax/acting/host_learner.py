"""Learning from the rollouts in environments that run in Python: after acting, or while the next one is acted."""

import contextlib
import dataclasses
from concurrent.futures import Future, ThreadPoolExecutor
from typing import Any, Self

import jax
import jax.numpy as jnp

from memorax import lox
from memorax.acting import host_programs as programs
from memorax.acting.host_programs import HostPrograms
from memorax.acting.vector_env import RolloutState
from memorax.core.types import Key, Transition


class Learner:
    """Learns from each rollout when it is complete, before the next one begins.

    Args:
        compiled: The programs of the agent, whose `learn` is used.
        state: State of the run, `[seeds, ...]`, whose memory is given up.

    Attributes:
        acting: What the next rollout is acted with: a state, of which the replay buffer is not needed.
        actor: The device that acts; None where it is the one that learns.
    """

    actor: Any = None

    def __init__(self, compiled: HostPrograms, state: Any) -> None:
        self._learn = compiled(programs.learn, donate=(1,))
        self._state = self.acting = state
        self._logs: list[lox.Logs] = []

    def __enter__(self) -> Self:
        """Begin."""
        return self

    def __exit__(self, *error: object) -> None:
        """End."""

    def placed(self, tree: Any) -> Any:
        """Put arrays where acting takes place."""
        return tree if self.actor is None else jax.device_put(tree, self.actor)

    def place(self) -> contextlib.AbstractContextManager:
        """Make acting take place there."""
        return contextlib.nullcontext() if self.actor is None else jax.default_device(self.actor)

    def learn(self, key: Key, loops: list[RolloutState], kept: list[Transition]) -> None:
        """Learn from a rollout that `acting` has acted.

        Args:
            key: A random key for each seed.
            loops: State of each group of environments after it.
            kept: Its transitions, of each group.
        """
        self._update(key, loops, kept)
        self.acting = self._state

    def finish(self) -> tuple[Any, list[lox.Logs]]:
        """Give the state after the last update, and what was logged in each."""
        return self._state, self._logs

    def _update(self, key: Key, loops: list[RolloutState], kept: list[Transition]) -> None:
        learned = dataclasses.replace(self._state, loop=None)
        self._state, logged = self._learn(key, learned, self._state.loop, loops, kept)
        self._logs.append(logged)


class OverlappedLearner(Learner):
    """Learns in a thread of its own while the next rollout is acted, with the parameters of one update before.

    The first two rollouts are acted with the parameters that there are at the beginning. Where JAX has a second device
    it acts, and beside a single accelerator the CPU does: one device computes one thing after the other.

    Args:
        compiled: As `Learner` has it.
        state: As `Learner` has it.
    """

    def __init__(self, compiled: HostPrograms, state: Any) -> None:
        super().__init__(compiled, state)
        self._go_on = compiled(programs.go_on)
        self._thread = ThreadPoolExecutor(1, "memorax-learner")
        self._pending: Future[None] | None = None
        (self._device, self.actor) = _devices(state)
        self.acting = self.placed(_copy_to_act(state, state))

    def __exit__(self, *error: object) -> None:
        """Wait for the learner, and end its thread."""
        self._thread.shutdown(wait=True)

    def learn(self, key: Key, loops: list[RolloutState], kept: list[Transition]) -> None:
        """Begin to learn from a rollout, once the one before is learned from."""
        passed = dataclasses.replace(self.acting, learner=None, scales=None)
        ahead = self._go_on(passed, loops, kept)
        state, _ = self.finish()
        self.acting = self.placed(_copy_to_act(state, ahead))
        if self.actor is not None:
            key, loops, kept = jax.device_put((key, loops, kept), self._device)
        self._pending = self._thread.submit(self._update, key, loops, kept)

    def finish(self) -> tuple[Any, list[lox.Logs]]:
        """Wait for the last update."""
        if self._pending is not None:
            pending, self._pending = self._pending, None
            pending.result()
        return super().finish()


def _copy_to_act(state: Any, ahead: Any) -> Any:
    """Copy what acting needs of a state, and go on in the environments, and after the steps, of another one."""
    learned = jax.tree.map(jnp.copy, dataclasses.replace(state, step=None, loop=None, buffer=None))
    return dataclasses.replace(learned, step=ahead.step, loop=ahead.loop)


def _devices(state: Any) -> tuple[Any, Any]:
    """Find the device that learns, and another one that acts; None where there is none, or where several learn."""
    (learner, *others) = jax.tree.leaves(state)[0].devices()
    if others:
        return None, None
    beside = list(jax.local_devices())
    with contextlib.suppress(RuntimeError):  # JAX can be told to do without the CPU
        beside += jax.local_devices(backend="cpu")
    return learner, next((device for device in beside if device != learner), None)
