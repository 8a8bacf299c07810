"""The card of an export: everything that its user must know, as JSON."""

import hashlib
import math
from typing import Any

import jax
import numpy as np

import memorax
from memorax.core.spaces import Box, Dict, Discrete, MultiDiscrete, Space, Tuple
from memorax.experiment.config import RunConfig
from memorax.experiment.export.program import Program
from memorax.experiment.export.step import ExportedStep


def make_card(form: str, step: ExportedStep, program: Program, spaces: dict[str, Space], origin: Any) -> dict[str, Any]:
    """Describe an export.

    Args:
        form: Its format.
        step: The policy's step.
        program: The file.
        spaces: `observation_space` and `action_space`.
        origin: What the policy comes from, as `describe_origin` gives it.
    """
    start = {"shape": list(step.reward.shape), "dtype": "bool"}
    carry = {
        name: {"shape": list(x.shape), "dtype": x.dtype.name, "initial": _compact(x)}
        for name, x in step.initial_carry.items()
    }
    return {
        "format": form,
        "file": program.file,
        "sha256": hashlib.sha256(program.data).hexdigest(),
        **program.details,
        **{name: describe_space(space) for name, space in spaces.items()},
        "observation": {name: _array(x) for name, x in step.observation.items()},
        "reward": _array(step.reward),
        "episode_start": start,
        "action": _array(step.action),
        "carry": carry,
        "origin": origin,
        "versions": {"memorax": memorax.__version__, **program.versions},
    }


def describe_origin(agent: Any, state: Any, config: RunConfig | None) -> dict[str, Any]:
    """Say which algorithm, and which run, a policy comes from."""
    origin: dict[str, Any] = {"algorithm": type(agent).__name__, "step": int(state.step)}
    if config is not None:
        origin |= {"env": config.env, "env_options": dict(config.env_options), "model": config.model}
    return origin


def describe_space(space: Space) -> dict[str, Any]:
    """Describe a space by type, sizes, bounds and dtype; infinite bounds are the strings that numpy reads."""
    kind = {"type": type(space).__name__}
    if isinstance(space, Dict):
        return kind | {"spaces": {name: describe_space(part) for name, part in space.spaces.items()}}
    if isinstance(space, Tuple):
        return kind | {"spaces": [describe_space(part) for part in space.spaces]}
    described = kind | {"shape": list(space.shape), "dtype": np.dtype(space.dtype).name}
    if isinstance(space, Discrete):
        return described | {"n": space.n}
    if isinstance(space, MultiDiscrete):
        return described | {"nvec": np.asarray(space.nvec).tolist()}
    if isinstance(space, Box):
        return described | {"low": _compact(space.low), "high": _compact(space.high)}
    return described


def _array(x: jax.ShapeDtypeStruct) -> dict[str, Any]:
    return {"shape": list(x.shape), "dtype": np.dtype(x.dtype).name}


def _compact(x: np.ndarray) -> Any:
    """An array as JSON: one number where all are the same; infinity as a string, which numpy reads."""
    array = np.asarray(x)
    wide = array.astype(np.float32) if array.dtype.kind == "V" else array
    if wide.size and np.all(wide == wide.flat[0]):
        return _finite(wide.flat[0].item())
    return _finite(wide.tolist())


def _finite(x: Any) -> Any:
    if isinstance(x, list):
        return [_finite(part) for part in x]
    return str(x) if isinstance(x, float) and not math.isfinite(x) else x
