"""General value functions of a `Horde` head: predictions of their own cumulants, with their own discounts."""

import dataclasses
from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp

from memorax.acting.vector_env import VectorEnv
from memorax.core.types import Array, Carry, Key, Timestep, Transition
from memorax.learning.unroll import add_time
from memorax.learning.values import NStepTargets, expected_values, main_values, temporal_differences, value_losses
from memorax.networks.heads import GVF, Horde, HordeValues
from memorax.objectives import episode_ends, lambda_returns, weighted_mean


class GVFTarget(NamedTuple):
    """What a general value function learns from a rollout, `[batch, time]`; the first three as in `episode_ends`."""

    cumulant: Array
    discount: Array
    hidden: Array
    target: Array


def gvfs_of(head: Any) -> Mapping[str, GVF]:
    """Give the general value functions of a head by name; most heads have none."""
    return head.demons if isinstance(head, Horde) else {}


def check_gvfs(name: str, head: Any, output: Any, vector_env: VectorEnv) -> None:
    """Require heads of the main head's kind, and cumulants of one number per step.

    Args:
        name: The network's name in messages.
        head: Its head.
        output: Shapes and types of what the head gives.
        vector_env: The environments.

    Raises:
        TypeError: A general value function has a head of another kind than the main head.
        ValueError: A cumulant has another shape than a reward.
    """
    if not gvfs_of(head):
        return
    shape = getattr(jax.eval_shape(expected_values, output), "shape", None)
    for gvf_name, gvf in gvfs_of(head).items():
        if getattr(jax.eval_shape(expected_values, output.demons[gvf_name]), "shape", None) != shape:
            kind, wanted = (type(x.head).__name__ for x in (gvf, head))
            raise TypeError(
                f"demon `{gvf_name}` of `{name}` must have a head that values what the main head does, "
                f"{wanted}, got {kind}"
            )

    def repeat_action(key: Key, carry: Carry, timestep: Timestep) -> tuple[Carry, Array, dict[str, Array]]:
        del key
        return carry, timestep.action, {}

    def first_step(key: Key) -> list[Transition]:
        _, step = vector_env.step(key, vector_env.reset(key, ()), repeat_action)
        return [with_cumulant(gvf_name, gvf, add_time(step)) for gvf_name, gvf in gvfs_of(head).items()]

    jax.eval_shape(first_step, jax.random.key(0))


def with_cumulant(name: str, gvf: GVF, trajectory: Transition) -> Transition:
    """Put the cumulant in place of the reward, and the function's own bootstrap values in place of the agent's.

    Args:
        name: Name of the general value function.
        gvf: The general value function.
        trajectory: Transitions, `[batch, time]`.

    Raises:
        ValueError: The cumulant has another shape than the reward.
    """
    bare = dataclasses.replace(trajectory, carry=None, aux={}, info={})
    cumulant = gvf.cumulant(bare)
    if jnp.shape(cumulant) != trajectory.reward.shape:
        # Any other shape would be broadcast, and something else would be predicted.
        raise ValueError(
            f"`cumulant` of demon `{name}` must give one number per step, [batch, time] = "
            f"{list(trajectory.reward.shape)}, got {list(jnp.shape(cumulant))}"
        )
    bootstrap: Any = trajectory.aux.get("bootstrap")
    aux = {} if bootstrap is None else {"bootstrap": bootstrap.demons[name]}
    return dataclasses.replace(bare, reward=jnp.asarray(cumulant, jnp.float32), aux=aux)


def with_main_bootstrap(trajectory: Transition) -> Transition:
    """Keep of the bootstrap values those of the main head only."""
    bootstrap = main_values(trajectory.aux.get("bootstrap"))
    if bootstrap is None:
        return trajectory
    return dataclasses.replace(trajectory, aux=trajectory.aux | {"bootstrap": bootstrap})


def gvf_targets(head: Any, trajectory: Transition, values: HordeValues | Array, lam: float) -> dict[str, GVFTarget]:
    """Compute the lambda-returns of all cumulants, the targets of general value functions.

    Args:
        head: The head.
        trajectory: Transitions, `[batch, time]`.
        values: What the head gave, as scalars, `[batch, time + 1]`.
        lam: Weight of longer returns, `[0, 1]`.

    Returns:
        Targets by name; empty where the head has no general value functions.
    """
    targets = {}
    for name, gvf in gvfs_of(head).items():
        ends = episode_ends(with_cumulant(name, gvf, trajectory), gvf.gamma)
        targets[name] = GVFTarget(*ends, target=ends[0])
    return refresh_gvf_targets(targets, values, lam)


def refresh_gvf_targets(
    targets: Mapping[str, GVFTarget], values: HordeValues | Array, lam: float
) -> dict[str, GVFTarget]:
    """Compute the targets again from newer values, `[batch, time + 1]`, which get no gradient."""
    if not isinstance(values, HordeValues):
        return {}
    values = jax.lax.stop_gradient(values)
    return {
        name: target._replace(target=lambda_returns(*target[:3], values.demons[name], lam))
        for name, target in targets.items()
    }


def gvf_losses(output: Any, targets: Mapping[str, GVFTarget], weight: Array) -> dict[str, Array]:
    """Average the losses of general value functions.

    Args:
        output: Values, `[batch, time]`.
        targets: Their targets.
        weight: `[batch, time]`.

    Returns:
        Losses, `[]`, by the names under which they are logged.
    """
    return {
        f"demon_{name}": weighted_mean(value_losses(output.demons[name], x.target), weight)
        for name, x in targets.items()
    }


def replayed_gvf_losses(
    head: Any, batch: Transition, chosen: Any, following: Any, targets: Callable[..., NStepTargets], importance: Array
) -> dict[str, Array]:
    """Average the losses of general value functions towards the n-step returns of their cumulants.

    Args:
        head: The head.
        batch: Transitions from a replay buffer, `[batch, time]`.
        chosen: Values of the actions taken, `[batch, time]`.
        following: Values of the successors of these steps, `[batch, time]`; they get no gradient.
        targets: Gives, for transitions and a discount, how returns bootstrap.
        importance: Importance sampling weight of each sequence, `[batch]`.

    Returns:
        Losses, `[]`, by the names under which they are logged.
    """
    averages = {}
    for name, gvf in gvfs_of(head).items():
        bootstrap = targets(with_cumulant(name, gvf, batch), gvf.gamma)
        loss, _ = temporal_differences(chosen.demons[name], following.demons[name], bootstrap)
        averages[f"demon_{name}"] = weighted_mean(importance[:, None] * loss, 1.0 - bootstrap.hidden)
    return averages
