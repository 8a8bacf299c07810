"""`check_algorithm`: does an algorithm keep its promises?"""

import dataclasses
import inspect
from collections.abc import Callable, Iterable
from functools import partial
from typing import Any

from memorax.testing.algorithm_properties import PROPERTIES, replays_what_it_did, stays_finite
from memorax.testing.normalization_properties import PROPERTIES as NORMALIZATION
from memorax.testing.probe_environments import Clock
from memorax.testing.transform_properties import PROPERTIES as TRANSFORMATIONS


def check_algorithm(make_agent: Callable[..., Any], *, properties: Iterable[str] | None = None) -> None:
    """Check an algorithm: repeatable, resumable and mappable runs, evaluation, logs, replay of its own rollouts.

    Call it in a test of your own algorithm, with small networks: it takes some minutes, nearly all of them for
    compilation. The environments have three discrete actions, observations of one number and episodes of a few steps
    (`memorax.testing.probe_environments`). The properties are functions in `memorax.testing.algorithm_properties`,
    `memorax.testing.normalization_properties` and `memorax.testing.transform_properties`:

    * `keeps_its_types`: `train` and `rollout` keep shapes and dtypes of the state, which holds arrays only.
    * `does_not_depend_on_how_it_is_split`: one call of `train` for 2n steps equals two for n, bit for bit.
    * `counts_its_steps`, `is_repeatable`, `compiles_once`: whole updates, beyond 2^32 too; the same keys, the same bits;
      one program.
    * `maps_over_seeds`: seeds under `vmap` equal seeds alone.
    * `is_not_disturbed_by_evaluation`, `evaluates_whole_episodes`: `evaluate` returns the state and logs each episode.
    * `logs_episodes_and_losses`: episodes once per step, losses once per update, all finite.
    * `replays_what_it_did`: log-probabilities and values, recomputed over a sequence, equal those while acting.
    * `stays_finite`: no NaN, whichever way episodes end.
    * `traces_inside_shard_map`, `learns_the_same_on_every_device`, `trains_in_donated_memory`, `leaks_no_tracers`,
      `trains_without_compilation`: JAX's transformations and debugging modes.
    * `keeps_statistics_of_everything_seen`, `evaluates_by_statistics_that_stay`: normalization, where the configuration
      has it.

    Args:
        make_agent: Makes an agent: `make_agent(env, **config)`, where `config` are fields of its configuration.
        properties: Names of the properties to check; None: all.

    Raises:
        AssertionError: If properties do not hold; the message names each, and what was found.
        ValueError: If a property is unknown.

    Example:
        >>> from memorax.testing import check_algorithm
        >>> def make_agent(env, **config):
        ...     network = Network(extractor, torso, heads.DiscreteQNetwork(action_dim=3))
        ...     return MyAlgorithm(MyConfig(num_envs=2, **config), env, None, network, optax.adam(1e-3))
        >>> check_algorithm(make_agent)
    """
    agent = make_agent(Clock("terminated"))
    checks = {check.__name__: partial(check, agent) for check in (*PROPERTIES, *TRANSFORMATIONS)}
    checks["replays_what_it_did"] = partial(_replays_what_it_did, make_agent)
    checks["stays_finite"] = partial(_stays_finite, make_agent)
    if {"normalize_observations", "normalize_rewards"} <= {field.name for field in dataclasses.fields(agent.config)}:
        checks |= {check.__name__: partial(check, make_agent) for check in NORMALIZATION}
    names = list(checks if properties is None else properties)
    unknown = [name for name in names if name not in checks]
    if unknown:
        raise ValueError(f"`properties` must be among {', '.join(checks)}, got {unknown[0]!r}")
    broken = [found for name in names if (found := _violation(name, checks[name]))]
    if broken:
        listed = "\n".join(f"* {line}" for line in broken)
        raise AssertionError(f"{len(broken)} of {len(names)} properties do not hold:\n{listed}")


def _replays_what_it_did(make_agent: Callable[..., Any]) -> None:
    """What is computed over a sequence equals what was recorded while acting."""
    replays_what_it_did(make_agent(Clock("terminated", 2, 7)))


def _stays_finite(make_agent: Callable[..., Any]) -> None:
    """Whichever way episodes end, no number becomes NaN or infinite."""
    for ends in ("terminated", "truncated", "both", "never"):
        stays_finite(make_agent, Clock(ends, 1, 2))


def _violation(name: str, check: "partial[None]") -> str | None:
    summary = (inspect.getdoc(check.func) or "").split("\n", maxsplit=1)[0]
    try:
        check()
    except AssertionError as error:
        return f"`{name}` ({summary}) {error}"
    except (TypeError, ValueError) as error:  # JAX refuses a state that changes its type, in a scan for instance
        return f"`{name}` ({summary}) raises {type(error).__name__}: {error}"
    return None
