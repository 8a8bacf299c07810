"""Horizon generalisation: the agent in longer and shorter variants of the task that it was trained in."""

import dataclasses
from collections.abc import Mapping
from typing import Any

import jax

from memorax.acting import Behavior
from memorax.core.checks import check, integer, size
from memorax.diagnostics.returns import Returns, make_player
from memorax.diagnostics.subject import Subject


@dataclasses.dataclass(frozen=True)
class HorizonGeneralization:
    """Returns in variants of an environment.

    Attributes:
        variants: The returns by the variant's name, such as its length.
        best: The expected return of the best policy with memory in each variant; None where it is not known.
        memoryless: The same of the best policy without memory.
    """

    variants: dict[Any, Returns]
    best: dict[Any, float | None]
    memoryless: dict[Any, float | None]

    def to_json(self) -> dict[str, Any]:
        """As plain numbers and lists."""
        return {
            str(name): returns.to_json() | {"best": self.best[name], "memoryless": self.memoryless[name]}
            for name, returns in self.variants.items()
        }


def horizon_generalization(
    policy: Any,
    environments: Mapping[Any, Any],
    *,
    episodes: int = 128,
    max_steps: int = 10_000,
    behavior: Behavior = "exploit",
    seed: int = 0,
) -> HorizonGeneralization:
    """Evaluate an agent in variants of its environment, whose spaces must be the same.

    Args:
        policy: What `memorax.load` gives, or anything with an `agent` and its `state`.
        environments: An environment, or `(environment, parameters)`, by the name of the variant.
        episodes: Episodes to play in each.
        max_steps: Longest episode; longer ones are left out.
        behavior: `"exploit"` acts greedily, `"explore"` as in training.
        seed: Random seed.

    Returns:
        The returns.

    Raises:
        TypeError: `policy` has no agent or no state, or an argument is of another type.
        ValueError: An argument is out of range, there is no environment, or one has other spaces than the agent's own.

    Source:
        Length generalisation of recurrent agents, by models with one and with several stable states:
        https://arxiv.org/abs/2605.12206.
    """
    subject = Subject(policy, behavior)
    episodes, max_steps = check("episodes", episodes, size(2)), check("max_steps", max_steps, size())
    if not environments:
        raise ValueError("`environments` must name at least one environment, got none")
    key = jax.random.key(check("seed", seed, integer(0, 2**32 - 1)))
    variants, best, memoryless = {}, {}, {}
    for name, entry in environments.items():
        env, params = entry if isinstance(entry, tuple) else (entry, None)
        vector_env = type(subject.vector_env)(env, params, episodes)
        vector_env.bounded = subject.vector_env.bounded
        _check_spaces(name, subject, vector_env)
        variants[name] = make_player(subject, episodes, max_steps, vector_env=vector_env)(key)
        best[name], memoryless[name] = (getattr(env, x, None) for x in ("optimal_return", "memoryless_return"))
    return HorizonGeneralization(variants, best, memoryless)


def _check_spaces(name: Any, subject: Subject, vector_env: Any) -> None:
    """Require the spaces that the networks were built for."""
    own = subject.vector_env
    spaces = {"action": (own.action_space, vector_env.action_space)}
    if spaces["action"][0] != spaces["action"][1]:
        raise ValueError(
            f"`environments[{name!r}]` must have the agent's action space {spaces['action'][0]!r}, got "
            f"{spaces['action'][1]!r}"
        )
    shapes = [
        jax.tree.map(
            lambda x: (x.shape[1:], x.dtype),
            jax.eval_shape(lambda env=env: env.reset(jax.random.key(0), (), 1)).timestep.observation,
        )
        for env in (own, vector_env)
    ]
    if shapes[0] != shapes[1]:
        raise ValueError(
            f"`environments[{name!r}]` must have observations of the shapes and dtypes {shapes[0]}, got {shapes[1]}"
        )
