"""Bad values for every field of every public constructor, and what becomes of them."""

import dataclasses
import inspect
import math
import re
from collections.abc import Callable, Iterator
from typing import Any

import flax.linen as nn
import jax.numpy as jnp
import numpy as np

from memorax import algorithms, networks
from memorax.buffers import Layout
from memorax.environments import make, registered, wrappers
from memorax.experiment import RunConfig
from memorax.networks import architectures, blocks, heads, layers, positional_embeddings, sequence_models
from memorax.networks.sequence_models import GRU, MODELS

NAN, INF = math.nan, math.inf
WRONG = {
    "int": ["x", None, [1], NAN, INF, 1.5, True, -1, 0, 1e20, 10**20, int, {"a": 1}],
    "float": ["x", None, [1.0], NAN, INF, -INF, True, float, {"a": 1}],
    "bool": ["false", None, [True], NAN, 0, 1, 2, 1.0, bool],
    "str": [None, 3, 1.5, True, ["x"], NAN, "no such thing"],
    "dtype": [0, 1.5, "x", True, [1], NAN],
    "function": ["x", 3, NAN, [1], True],
    "sequence": ["x", 3, NAN, [NAN], ["x"], [None], [0], [-1], [True], [1.5], [10**20]],
    "module": ["x", 3, None, NAN, [1], True, nn.Dense, nn.GRUCell],
}
MODULES = ("cell", "model", "module", "expert", "torso", "head", "feature_extractor")
NOT_FUZZED = {"parent", "name", "config", "env_params", "env", "environment", "options", "method"}
PARTS: dict[str, Callable[[], Any]] = {
    "action_dim": lambda: 3,
    "cell": lambda: nn.GRUCell(features=4),
    "model": lambda: GRU(4),
    "module": lambda: GRU(4),
    "torso": lambda: GRU(4),
    "network": lambda: GRU(4),
    "blocks": lambda: [GRU(4)],
    "expert": lambda: blocks.FFN(hidden_dim=4),
    "head": heads.VNetwork,
    "feature_extractor": lambda: networks.FeatureExtractor(networks.MLP((4,))),
    "observation_extractor": lambda: networks.MLP((4,)),
    "features": lambda: 8,
    "memory_length": lambda: 3,
    "gamma": lambda: 0.9,
    "cumulant": lambda: _reward,
    "demons": lambda: {"a": heads.GVF(heads.VNetwork(), 0.9, _reward)},
}


SPECIAL: dict[str, Callable[[], dict[str, Any]]] = {
    "Memoroid": lambda: {"cell": networks.LRUCell(features=4)},
    "SegmentRecurrence": lambda: {"module": networks.SelfAttention(features=4, num_heads=2), "memory_length": 3},
    "RTRL": lambda: {"model": MODELS.get("lru").build(4)},
    "GVF": lambda: {"head": heads.VNetwork(), "gamma": 0.9, "cumulant": _reward},
    "Projection": lambda: {"features": 4},
    "RL2Wrapper": lambda: {"model": GRU(4), "episodes_per_trial": 2},
    "PatchEmbedding": lambda: {"features": 4, "patch_size": 2},
    "Frames": lambda: {"features": 4, "count": 2},
    "BlockDiagonalDense": lambda: {"features": 4, "num_heads": 2},
    "MultiHeadLayerNorm": lambda: {"num_heads": 2},
    "RunConfig": lambda: {
        "algorithm": "ppo",
        "env": "memory::RepeatPreviousEasy",
        "hyperparameters": algorithms.PPOConfig(),
    },
    "Layout": lambda: {
        "max_length": 64,
        "min_length": 8,
        "sample_batch_size": 2,
        "sample_sequence_length": 4,
    },
}
"""Arguments of single constructors, where those of `PARTS` do not fit."""
WRAPPERS: dict[str, dict[str, Any]] = {
    "DelayedObservation": {"steps": 2},
    "FlickeringObservation": {},
    "FrameStack": {"frames": 2},
    "MaskObservation": {"hide": [0]},
    "NoisyObservation": {"scale": 0.1},
    "NormalizeObservation": {"mean": np.zeros(2), "variance": np.ones(2)},
    "PeriodicObservation": {"period": 2},
    "NormalizeReward": {"variance": 1.0},
    "ScaleReward": {"scale": 2.0},
    "TimeLimit": {"max_steps": 5},
}


def _reward(transition: Any) -> Any:
    return transition.reward


@dataclasses.dataclass(frozen=True)
class Target:
    """A constructor, and arguments that it accepts."""

    name: str
    build: Callable[..., Any]
    fields: dict[str, str]  # kind by field
    optional: frozenset[str]
    base: dict[str, Any]


@dataclasses.dataclass(frozen=True)
class Finding:
    """What became of a bad value."""

    where: str
    value: Any
    kind: str  # "obscure", "meaningless", "refused though good"
    message: str

    def __str__(self) -> str:
        return f"{self.kind}: {self.where}={self.value!r}: {self.message}"


def kind_of(name: str, annotation: Any, default: Any) -> str | None:
    """The kind of a field, by its annotation, else by its default."""
    text = annotation.__name__ if isinstance(annotation, type) else str(annotation)
    text = re.sub(r"\s*\|\s*None|NoneType|typing\.|collections\.abc\.", "", text)
    text = text.split("Annotated[")[-1].split(",")[0] if "Annotated[" in text else text
    if name in ("dtype", "param_dtype") or (name in MODULES and text != "str"):
        return "dtype" if name.endswith("dtype") else "module"
    if text in ("int", "float", "bool", "str"):
        return text
    marks = {"Literal": "str", "Sequence[int]": "sequence", "Callable": "function", "Initializer": "function"}
    for mark, kind in (marks | {"Module": "module"}).items():
        if mark in text:
            return kind
    return {bool: "bool", int: "int", float: "float", str: "str"}.get(type(default))


def target(name: str, build: Callable[..., Any], base: dict[str, Any] | None = None) -> Target | None:
    """Describe a constructor by its signature; None where required arguments are unknown."""
    short = name.rsplit(".", maxsplit=1)[-1]
    fields, optional, given = {}, set(), dict(base or (SPECIAL[short]() if short in SPECIAL else {}))
    for parameter in inspect.signature(build).parameters.values():
        if parameter.name in NOT_FUZZED or parameter.kind in (parameter.VAR_KEYWORD, parameter.VAR_POSITIONAL):
            continue
        required = parameter.default is parameter.empty
        if required and parameter.name not in given:
            if parameter.name not in PARTS:
                return None
            given[parameter.name] = PARTS[parameter.name]()
        default = given.get(parameter.name) if required else parameter.default
        kind = kind_of(parameter.name, parameter.annotation, default)
        if kind is not None:
            fields[parameter.name] = kind
        if parameter.default is None or "None" in str(parameter.annotation):
            optional.add(parameter.name)
    try:
        build(**given)
    except (TypeError, ValueError) as error:
        raise AssertionError(f"{name} does not take {given}: {error}") from error
    return Target(name, build, fields, frozenset(optional), given)


def public(package: Any) -> Iterator[tuple[str, Any]]:
    """Public classes and functions of a package."""
    defined = [name for name, value in vars(package).items() if getattr(value, "__module__", "") == package.__name__]
    for name in getattr(package, "__all__", [name for name in defined if not name.startswith("_")]):
        value = getattr(package, name)
        if callable(value) and not inspect.ismodule(value) and not getattr(value, "_is_protocol", False):
            yield f"{package.__name__.removeprefix('memorax.')}.{name}", value


def targets() -> Iterator[Target]:
    """All public constructors."""
    for package in (networks, heads, blocks, layers, positional_embeddings, sequence_models, architectures):
        for name, value in public(package):
            is_module = isinstance(value, type) and issubclass(value, nn.Module)
            is_config = dataclasses.is_dataclass(value) and name.endswith("Config")
            if (is_module or is_config or package is architectures) and (found := target(name, value)):
                yield found
    for model in MODELS:
        build = MODELS.get(model).build
        if found := target(f"model {model}", build, {next(iter(inspect.signature(build).parameters)): 8}):
            yield found
    configs = ((name, value) for name, value in public(algorithms) if name.endswith("Config"))
    yield from filter(None, (target(name, value) for name, value in configs))
    others = [RunConfig, Layout, networks.streaming_network]
    yield from filter(None, (target(value.__name__, value) for value in others))
    yield from tasks()
    yield from wrapped()


def wrapped() -> Iterator[Target]:
    """Wrappers, around a task with vectors as observations."""
    for name, value in vars(wrappers).items():
        if isinstance(value, type) and name in WRAPPERS:
            env, _ = make("memory::PositionOnlyPendulumEasy")
            if found := target(f"wrappers.{name}", value, {"env": env} | WRAPPERS[name]):
                yield found


def tasks() -> Iterator[Target]:
    """The built-in tasks, through `make`."""
    seen = set()
    for name in (card.id for card in registered()):
        if not name.startswith("memory::"):
            continue
        env, _ = make(name)
        if type(env) in seen:
            continue
        seen.add(type(env))
        parameters = inspect.signature(type(env).__init__).parameters.values()
        fields = {p.name: kind_of(p.name, p.annotation, p.default) for p in parameters if p.name != "self"}
        level = ("Easy", "Medium", "Hard")
        fixed = {"difficulty", "level"} if name.endswith(level) else set()
        known = {key: kind for key, kind in fields.items() if kind and key not in fixed}
        optional = {p.name for p in parameters if "None" in str(p.annotation) or p.default is None}
        yield Target(name, lambda name=name, **options: make(name, **options)[0], known, frozenset(optional), {})


def judge(case: Target, field: str, value: Any) -> Finding | None:
    """Give a bad value to a field."""
    kind, where = case.fields[field], f"{case.name}.{field}"
    try:
        case.build(**(case.base | {field: value}))
    except (TypeError, ValueError) as error:
        text = str(error)
        shown = any(part in text for part in (repr(value), str(value), getattr(value, "__name__", repr(value))))
        if isinstance(value, list | tuple | dict) and not shown:
            entries = [*value, *value.values()] if isinstance(value, dict) else value
            shown = any(repr(entry) in text for entry in entries)
        if kind == "part":
            shown |= f"got {type(value).__name__}" in text  # of an object the type says more than its contents
        if not shown:
            modules = [value, *value] if isinstance(value, list) else [value]
            shown = any(isinstance(part, nn.Module) and type(part).__name__ in text for part in modules)
        named = f"`{field}`" in text or f"--{field.replace('_', '-')}" in text
        return None if named and shown else Finding(where, value, "obscure", f"{type(error).__name__}: {text[:160]}")
    except Exception as error:
        return Finding(where, value, "obscure", f"{type(error).__name__}: {str(error)[:160]}")
    return None if may_be_meant(case, field, kind, value) else Finding(where, value, "meaningless", "accepted")


def may_be_meant(case: Target, field: str, kind: str, value: Any) -> bool:
    """Whether an accepted value can be meant."""
    if value is None:
        return field in case.optional
    if kind in ("int", "float") and value == 0:
        return True
    return (case.name.split(".")[-1], field, repr(value)) in MEANT


MEANT = {
    ("Flatten", "end_dim", "-1"),
    ("RunConfig", "algorithm", "'no such thing'"),  # names may be those of plugins, which are loaded later
    ("RunConfig", "model", "'no such thing'"),
    ("RunConfig", "optimizer", "'no such thing'"),
    ("RunConfig", "eval_env", "'no such thing'"),
    ("RunConfig", "fork", "'no such thing'"),
    ("RunConfig", "keep_best", "'no such thing'"),  # anything that is logged may be a metric
    ("RunConfig", "stop_metric", "'no such thing'"),
    ("MaskObservation", "hide", "[0]"),
    ("NoisyObservation", "scale", "[1.0]"),
    ("NormalizeObservation", "clip", "inf"),
    ("NormalizeReward", "clip", "inf"),
}
"""Accepted values that look wrong, by constructor and field."""


def scalars(kind: str, default: Any) -> list[Any]:
    """NumPy and JAX scalars that hold the default."""
    if isinstance(default, bool) or kind == "bool":
        return [np.bool_(default)] if isinstance(default, bool) else []
    if isinstance(default, int) and kind == "int":
        return [np.int64(default), np.int32(default), np.asarray(default)]
    if isinstance(default, int | float) and kind == "float":
        return [np.float64(default), np.float32(default)]
    return []


def findings_of(case: Target, field: str, values: list[Any]) -> Iterator[Finding]:
    """What is wrong with how a constructor takes bad values of one field."""
    return filter(None, (judge(case, field, value) for value in values))


def findings(case: Target) -> Iterator[Finding]:
    """All that is wrong with a constructor."""
    signature = inspect.signature(case.build).parameters
    for field, kind in case.fields.items():
        yield from findings_of(case, field, WRONG[kind])
        default = case.base.get(field, signature[field].default if field in signature else None)
        for value in scalars(kind, default):
            try:
                built = case.build(**(case.base | {field: value}))
            except Exception as error:
                yield Finding(f"{case.name}.{field}", value, "refused though good", str(error)[:160])
                continue
            kept = getattr(built, field, default)
            if isinstance(kept, np.generic | np.ndarray | jnp.ndarray) and "ndarray" not in str(signature[field]):
                yield Finding(f"{case.name}.{field}", value, "refused though good", f"kept as {kept!r}")
