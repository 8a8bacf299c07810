"""Acting and learning where the environments run in Python: a loop in Python around compiled acting and learning."""

import dataclasses
import functools
from collections.abc import Callable, Iterator
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from memorax import lox
from memorax.acting import host_programs as programs
from memorax.acting.checks import check_state, whole_updates
from memorax.acting.host_learner import Learner, OverlappedLearner
from memorax.acting.host_programs import HostPrograms
from memorax.acting.seed_axis import as_given, as_seeds, copied
from memorax.acting.vector_env import RolloutState
from memorax.core.checks import boolean, check, integer, optional
from memorax.core.types import Key, PyTree, Transition
from memorax.environments.host import HostCopies, HostEnvironment, HostEnvironmentError, HostStep
from memorax.environments.host.copies import next_session, wait

Logs = dict[str, Any]


class HostMethod:
    """A method of an agent that runs in Python.

    Args:
        call: Takes the method's arguments; returns `(result, logs)`.

    Attributes:
        spooled: What `memorax.lox.spool` gives of the method: `call` itself.
    """

    def __init__(self, call: Callable[..., tuple[Any, Logs]]) -> None:
        self.spooled = call

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        """Call the method, without its logs."""
        return self.spooled(*args, **kwargs)[0]


class HostRunner:
    """Runs an agent in environments in Python; its `methods` take the place of the agent's compiled ones.

    They have the same arguments and results. Instead of being mapped over seeds by `jax.vmap`, they take keys
    `[seeds]` and a state `[seeds, ...]` as well as a single key and state; every seed has environments of its own.

    Environments are made when they are first needed. A state knows which episodes it belongs to; where the environments
    are elsewhere, because the state was loaded or others came in between, they begin new episodes.

    Args:
        agent: The agent.
        env: Its environment.
        num_envs: Number of environments of each seed.

    Raises:
        ValueError: The environment cannot be split into its groups, or acting must not overlap with learning.
    """

    def __init__(self, agent: Any, env: HostEnvironment, num_envs: int) -> None:
        if env.overlap and not agent.allows_overlap:
            raise ValueError(
                f"`overlap` of {env.name} must be False for {type(agent).__name__}, which learns from every step "
                "before it takes the next, got True"
            )
        self.agent, self.env, self.num_envs = agent, env, num_envs
        self._groups = env.number_of_groups(num_envs)
        self.compiled = HostPrograms(agent)
        self._training: HostCopies | None = None
        self._evaluating: HostCopies | None = None

    @functools.cached_property
    def groups(self) -> int:
        """Number of groups that take turns: one where exploration differs among the environments, as in R2D2."""
        schedule = getattr(self.agent, "epsilon_schedule", None)
        return 1 if schedule is not None and np.ndim(schedule(jnp.float32(0))) else self._groups

    def __getstate__(self) -> None:
        """Keep nothing: a copy of the agent makes a runner of its own."""

    def methods(self) -> dict[str, HostMethod]:
        """The methods of the agent that run here, by name."""
        return {
            name: HostMethod(getattr(self, f"_{name}")) for name in ("init", "train", "warmup", "rollout", "evaluate")
        }

    def close(self) -> None:
        """Release all environments, and the processes in which they run."""
        for copies in (self._training, self._evaluating):
            if copies is not None:
                copies.close()
        self._training = self._evaluating = None

    def _init(self, key: Key) -> tuple[Any, Logs]:
        keys, single = as_seeds(key)
        numbers = self.compiled(programs.session)(keys)
        started = self._begin(self._copies(keys.shape[0]), np.asarray(numbers))
        return as_given(self.compiled(programs.init)(keys, numbers, started), single), {}

    def _train(self, key: Key, state: Any, num_steps: int) -> tuple[Any, Logs]:
        updates = whole_updates(check("num_steps", num_steps, integer()), self.agent.steps_per_update)
        keys, single = as_seeds(key)
        state = self._attached(copied(state, single))
        learning = OverlappedLearner if self.env.overlap else Learner
        with learning(self.compiled, state) as learner:
            try:
                for _ in range(updates):
                    split = self.compiled(programs.split_key, self.groups)
                    act_keys, learn_key = split(learner.placed(keys), learner.acting)
                    with learner.place():
                        rollout = self._interact(act_keys, learner.acting, self.agent.collect_steps, "explore")
                    learner.learn(learn_key, *rollout)
                state, logs = learner.finish()
            except HostEnvironmentError as error:
                state, logs = learner.finish()
                error.state, error.logs = as_given(state, single), as_given(_joined(logs), single)
                error.steps = len(logs) * self.agent.steps_per_update
                raise
        return as_given(state, single), as_given(_joined(logs), single)

    def _warmup(self, key: Key, state: Any, num_steps: int) -> tuple[Any, Logs]:
        steps = check("num_steps", num_steps, integer(0)) // self.num_envs
        if not hasattr(self.agent, "store") or not steps:
            return state, {}
        keys, single = as_seeds(key)
        state = self._attached(copied(state, single))
        act_keys = self.compiled(programs.keys_of_groups, self.groups)(self.compiled(programs.step_key)(keys, state))
        loops, kept = self._interact(act_keys, state, steps, "random")
        store = self.compiled(programs.store, donate=(0,))
        return as_given(store(dataclasses.replace(state, loop=None), state.loop, loops, kept), single), {}

    def _rollout(self, key: Key, state: Any, num_steps: int) -> tuple[tuple[Any, Transition], Logs]:
        steps = check("num_steps", num_steps, integer(1))
        keys, single = as_seeds(key)
        state = self._attached(copied(state, single))
        act_keys = self.compiled(programs.keys_of_groups, self.groups)(self.compiled(programs.step_key)(keys, state))
        loops, kept = self._interact(act_keys, state, steps, "explore")
        trajectory = self.compiled(programs.join)(kept)
        state = self.compiled(programs.go_on)(state, loops, kept)
        logs = {name: jnp.swapaxes(x, 1, 2) for name, x in trajectory.info.items()}
        return as_given((state, trajectory), single), as_given(logs, single)

    def _evaluate(
        self,
        key: Key,
        state: Any,
        num_steps: int | None = None,
        num_episodes: int | None = None,
        deterministic: bool = True,
    ) -> tuple[Any, Logs]:
        behavior = "exploit" if check("deterministic", deterministic, boolean()) else "explore"
        check("num_steps", num_steps, optional(integer(1)))
        check("num_episodes", num_episodes, optional(integer(1)))
        if num_steps is None and num_episodes is None:
            raise ValueError("`evaluate` needs `num_steps` or `num_episodes`, got neither")
        keys, single = as_seeds(key)
        learned, _ = as_seeds(_acting_part(state), single)
        if num_episodes is None:
            watched = self._watch(keys, learned, behavior, 0)
            steps = [next(watched) for _ in range(num_steps or 0)]
            logs = {name: np.stack([info[name] for info in steps], axis=1) for name in steps[0]}
        else:
            logs = self._play_episodes(keys, learned, behavior, num_episodes, num_steps)
        return state, as_given(logs, single)

    def _play_episodes(self, keys: Key, learned: Any, behavior: str, num_episodes: int, num_steps: int | None) -> Logs:
        """Let every environment play one episode, as often as it takes; statistics `[seeds, 1, num_episodes]`."""
        played: list[Logs] = []
        for round_ in range(-(-num_episodes // self.num_envs)):
            wanted = min(self.num_envs, num_episodes - round_ * self.num_envs)
            record: Logs = {}
            for t, info in enumerate(self._watch(keys, learned, behavior, round_)):
                now = {name: x[:, :wanted] for name, x in info.items()}
                record = record or {name: np.zeros_like(x) for name, x in now.items()}
                first = now["returned_episode"] & ~record["returned_episode"]
                record = {name: np.where(first, now[name], old) for name, old in record.items()}
                if record["returned_episode"].all() or t + 1 == num_steps:
                    break
            played.append(record)
        return {name: np.concatenate([one[name] for one in played], axis=1)[:, None] for name in played[0]}

    def _watch(self, keys: Key, learned: Any, behavior: str, round_: int) -> Iterator[Logs]:
        """Act in new episodes; give the statistics of each step, `[seeds, num_envs]`."""
        copies = self._evaluating
        if copies is None or copies.seeds != keys.shape[0]:
            self._evaluating = copies = HostCopies(self.env, keys.shape[0], self.num_envs)
        numbers = np.asarray(self.compiled(programs.session)(keys))
        numbers = np.concatenate([np.random.SeedSequence((int(n), round_)).generate_state(1) for n in numbers])
        started = self._begin(copies, numbers)
        loop = self.compiled(programs.begin_evaluation)(keys, numbers, started)
        act_keys, t = self.compiled(programs.evaluation_key, shared=(1,))(keys, np.uint32(round_)), 0
        choose = self.compiled(programs.choose, behavior, shared=(3,))
        while True:
            acted, action = choose(learned, act_keys, loop, np.uint32(t))
            try:
                outcome = _outcome(wait(copies.step(0, jax.device_get(action))))
            except HostEnvironmentError:
                self.close()
                raise
            loop, info = self.compiled(programs.follow_and_watch)(learned, loop, acted, outcome)
            yield jax.device_get(info)
            t += 1

    def _copies(self, seeds: int) -> HostCopies:
        if self._training is None or self._training.seeds != seeds:
            if self._training is not None:
                self._training.close()
            self._training = HostCopies(self.env, seeds, self.num_envs, self.groups)
        return self._training

    def _begin(self, copies: HostCopies, numbers: np.ndarray) -> tuple[PyTree, np.ndarray | None]:
        """Start an episode in every environment; observations and masks, `[seeds, num_envs, ...]`."""
        try:
            return jax.tree.map(lambda *parts: np.concatenate(parts, axis=1), *copies.reset(numbers))
        except HostEnvironmentError:
            self.close()
            raise

    def _attached(self, state: Any) -> Any:
        """Let the environments be where the state is, in new episodes if they are elsewhere."""
        check_state(state, self.num_envs, axis=1)
        place = state.loop.env_state
        copies = self._copies(place.session.shape[0])
        if copies.are_at(place):
            return state
        numbers = next_session(place)
        return self.compiled(programs.begin_again)(state, numbers, self._begin(copies, numbers))

    def _interact(
        self, keys: list[Key], state: Any, num_steps: int, behavior: str
    ) -> tuple[list[RolloutState], list[Transition]]:
        """Act `num_steps` times in every environment; while one group steps, the policy acts for the next."""
        copies, learned = self._copies(keys[0].shape[0]), _acting_part(state)
        loops = self.compiled(programs.split_rows, self.groups)(state.loop)
        blank = self.compiled(programs.blank, behavior, num_steps)
        kept = [blank(learned, key, loop) for key, loop in zip(keys, loops, strict=True)]
        choose = self.compiled(programs.choose, behavior, shared=(3,))
        follow = self.compiled(programs.follow_and_keep, shared=(5,), donate=(4,))
        acted, stepping = [()] * self.groups, [None] * self.groups
        try:
            for t in range(num_steps + 1):
                for g, key in enumerate(keys):
                    if t > 0:
                        outcome = _outcome(wait(stepping[g]))  # type: ignore[arg-type]
                        loops[g], kept[g] = follow(learned, loops[g], acted[g], outcome, kept[g], np.uint32(t - 1))
                    if t < num_steps:
                        acted[g], action = choose(learned, key, loops[g], np.uint32(t))
                        stepping[g] = copies.step(g, jax.device_get(action))  # type: ignore[call-overload]
        except BaseException:  # some groups may be steps ahead of others
            self.close()
            raise
        return loops, kept


def _outcome(step: HostStep) -> tuple:
    observation = jax.device_put(step.observation)
    final = observation if step.final_observation is step.observation else step.final_observation
    return observation, step.reward, step.terminated, step.truncated, final, step.action_mask


def _acting_part(state: Any) -> Any:
    """What acting needs of a state: all but environments and replay buffer."""
    return dataclasses.replace(state, loop=None, buffer=None)


def _joined(logs: list[lox.Logs]) -> lox.Logs:
    """Join the logs of several updates along time, `[seeds, time, ...]`."""
    return jax.tree.map(lambda *parts: jnp.concatenate(parts, axis=1), *logs) if logs else lox.Logs({}, {})
