"""What the demons of a head learn: predictions of their own cumulants, by their own discounts."""

import dataclasses
import inspect
from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp

from memorax.acting.loop import Stage
from memorax.acting.unroll import add_time
from memorax.acting.value_outputs import NStep, expected, losses, main, temporal_differences
from memorax.core.types import Array, Carry, Key, Timestep, Transition
from memorax.networks.heads import GVF, Horde, HordeValues
from memorax.objectives import episode_ends, lambda_returns, weighted_mean


class Question(NamedTuple):
    """What a demon learns from a rollout, `[batch, time]`; the first three as `episode_ends` gives them."""

    cumulant: Array
    discount: Array
    cut: Array
    target: Array


def demons_of(head: Any) -> Mapping[str, GVF]:
    """Give the demons of a head by name; most heads have none."""
    return head.demons if isinstance(head, Horde) else {}


def refuse_demons(name: str, head: Any, whom: str) -> None:
    """Refuse heads with demons, where nobody would learn what they predict.

    Args:
        name: What the network is called in messages.
        head: Its head.
        whom: For whom it is.

    Raises:
        TypeError: The head has demons.
    """
    if isinstance(head, Horde):
        raise TypeError(
            f"`{name}` must have a head without demons for {whom}, got Horde; give its main head alone, "
            f"{type(head.head).__name__}"
        )


def check_head(name: str, head: Any) -> None:
    """Refuse a head that values a given action only, and a demon in the place of a head.

    Args:
        name: What the network is called in messages.
        head: Its head.

    Raises:
        TypeError: It is one of these.
    """
    kind = type(head).__name__
    if isinstance(head, GVF):
        raise TypeError(
            f"`{name}` must have a head for the values that the agent itself needs, got GVF; wrap it in Horde, beside "
            f"a main head such as {type(head.head).__name__}"
        )
    if "action" in inspect.signature(type(head).__call__).parameters:
        raise TypeError(f"`{name}` must have a head that values states, or all actions at once, got {kind}")


def check_demons(name: str, head: Any, output: Any, stage: Stage) -> None:
    """Refuse demons that value other things than the main head, or whose cumulants are not one number per step.

    Args:
        name: What the network is called in messages.
        head: Its head.
        output: Shapes and kind of what the head gives.
        stage: The environments.

    Raises:
        TypeError: A demon's head is of another kind than the main head.
        ValueError: A cumulant has another shape than a reward.
    """
    shape = getattr(jax.eval_shape(expected, output), "shape", None)
    for demon, gvf in demons_of(head).items():
        if getattr(jax.eval_shape(expected, output.demons[demon]), "shape", None) != shape:
            kind, wanted = (type(x.head).__name__ for x in (gvf, head))
            raise TypeError(
                f"demon `{demon}` of `{name}` must have a head that values what the main head does, "
                f"{wanted}, got {kind}"
            )

    def act(key: Key, carry: Carry, timestep: Timestep) -> tuple[Carry, Array, dict[str, Array]]:
        del key
        return carry, timestep.action, {}

    def ask(key: Key) -> list[Transition]:
        transition = add_time(stage.step(key, stage.reset(key, ()), act)[1])
        return [seen_by(demon, gvf, transition) for demon, gvf in demons_of(head).items()]

    jax.eval_shape(ask, jax.random.key(0))


def seen_by(name: str, demon: GVF, trajectory: Transition) -> Transition:
    """Show a trajectory to a demon: its cumulant in the place of the reward, its own values to bootstrap from.

    Args:
        name: The demon's name.
        demon: The demon.
        trajectory: Steps, `[batch, time]`.

    Raises:
        ValueError: The cumulant has another shape than the reward.
    """
    bare = dataclasses.replace(trajectory, carry=None, aux={}, info={})
    cumulant = demon.cumulant(bare)
    if jnp.shape(cumulant) != trajectory.reward.shape:
        # Any other shape would be broadcast, and the demon would learn something else than it was asked.
        raise ValueError(
            f"`cumulant` of demon `{name}` must give one number per step, [batch, time] = "
            f"{list(trajectory.reward.shape)}, got {list(jnp.shape(cumulant))}"
        )
    bootstrap: Any = trajectory.aux.get("bootstrap")
    aux = {} if bootstrap is None else {"bootstrap": bootstrap.demons[name]}
    return dataclasses.replace(bare, reward=jnp.asarray(cumulant, jnp.float32), aux=aux)


def seen_by_main(trajectory: Transition) -> Transition:
    """Show a trajectory to the main head: without the values that demons bootstrap from."""
    bootstrap = main(trajectory.aux.get("bootstrap"))
    if bootstrap is None:
        return trajectory
    return dataclasses.replace(trajectory, aux=trajectory.aux | {"bootstrap": bootstrap})


def questions(head: Any, trajectory: Transition, values: HordeValues | Array, lam: float) -> dict[str, Question]:
    """Compute what the demons of a head should have predicted, by the lambda-returns of their cumulants.

    Args:
        head: The head.
        trajectory: Steps, `[batch, time]`.
        values: What the head gave, as numbers, `[batch, time + 1]`.
        lam: Weight of longer returns, `[0, 1]`.

    Returns:
        By the demons' names; empty where the head has none.
    """
    asked = {}
    for name, demon in demons_of(head).items():
        ends = episode_ends(seen_by(name, demon, trajectory), demon.gamma)
        asked[name] = Question(*ends, target=ends[0])
    return ask_anew(asked, values, lam)


def ask_anew(asked: Mapping[str, Question], values: HordeValues | Array, lam: float) -> dict[str, Question]:
    """Compute the targets of demons by other values, `[batch, time + 1]`, that get no gradient."""
    if not isinstance(values, HordeValues):
        return {}
    values = jax.lax.stop_gradient(values)
    return {
        name: question._replace(target=lambda_returns(*question[:3], values.demons[name], lam))
        for name, question in asked.items()
    }


def demon_losses(output: Any, asked: Mapping[str, Question], weight: Array) -> dict[str, Array]:
    """Average how far demons are from their targets.

    Args:
        output: Values, `[batch, time]`.
        asked: What the demons should have predicted.
        weight: `[batch, time]`.

    Returns:
        Losses, `[]`, by the names under which they are logged.
    """
    return {f"demon_{name}": weighted_mean(losses(output.demons[name], x.target), weight) for name, x in asked.items()}


def replayed_demon_losses(
    head: Any, batch: Transition, chosen: Any, following: Any, targets: Callable[..., NStep], importance: Array
) -> dict[str, Array]:
    """Average how far demons are from the n-step returns of their cumulants.

    Args:
        head: The head.
        batch: Steps from a replay, `[batch, time]`.
        chosen: Values of what was done, `[batch, time]`.
        following: Values of what would be done, `[batch, time + 1]`; they get no gradient.
        targets: Says, given steps and a discount, how returns bootstrap.
        importance: Weight of each sequence, `[batch]`.

    Returns:
        Losses, `[]`, by the names under which they are logged.
    """
    averages = {}
    for name, demon in demons_of(head).items():
        bootstrap = targets(seen_by(name, demon, batch), demon.gamma)
        error, _ = temporal_differences(chosen.demons[name], following.demons[name], bootstrap)
        averages[f"demon_{name}"] = weighted_mean(importance[:, None] * error, 1.0 - bootstrap.cut)
    return averages
