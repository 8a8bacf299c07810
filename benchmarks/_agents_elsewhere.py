"""Agents of other libraries at the work of ours: loading them, and what they need to run beside today's JAX.

`rejax` is installed by pip. purejaxrl, popjaxrl and PureJaxQL are programs in git repositories: they are read from a
checkout, and left out without one. What their environments, wrappers and cells are called today is put in its place;
nothing that is timed is changed.
"""

import sys
import types
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple
from unittest import mock

import gymnax
import jax

GRU = (
    ("nn.GRUCell()(rnn_state, ins)", "nn.GRUCell(features=ins.shape[1])(rnn_state, ins)"),
    ("nn.GRUCell.initialize_carry(", "nn.GRUCell(features=hidden_size).initialize_carry("),
    ("jax.random.PRNGKey(0), (batch_size,), hidden_size", "jax.random.PRNGKey(0), (batch_size, hidden_size)"),
)
"""How Flax's cells are told their width today."""
_RETURNS = ('"return_info"][...,1]', '"returned_episode_returns"]')
"""What popjaxrl's wrapper and purejaxrl's call an episode's return."""
UNUSED = (
    *("brax", "brax.envs", "brax.envs.wrappers", "brax.envs.wrappers.training", "navix", "wandb", "hydra"),
    *("omegaconf", "safetensors", "safetensors.flax"),
)
"""Libraries that the programs import and that the work does not need."""


class Contender(NamedTuple):
    """A program to be timed.

    Attributes:
        name: The library.
        function: `state -> (state, anything)`; the state may be given again, and what it is given may be donated.
        state: Before the first call.
        steps: Environment steps of a call, those of all seeds.
        parameters: Number of parameters of the networks; None: not known before it runs.
    """

    name: str
    function: Callable[[Any], tuple[Any, Any]]
    state: Any
    steps: int
    parameters: int | None = None


class Folded:
    """A gymnax environment of today as those of 2023 were: five values a step, termination and truncation as one."""

    def __init__(self, env: Any) -> None:
        self.env = env

    def __getattr__(self, name: str) -> Any:
        """Give everything else of the environment."""
        if name.startswith("__"):  # what copying asks of an object that is not yet made
            raise AttributeError(name)
        return getattr(self.env, name)

    def step(self, key: Any, state: Any, action: Any, params: Any) -> tuple[Any, ...]:
        """Take a step, and leave out the final observation, of which nobody knew."""
        obs, state, reward, terminated, truncated, info = self.env.step(key, state, action, params)
        del info["final_observation"]
        return obs, state, reward, terminated | truncated, info


def environment(name: str) -> tuple[Folded, Any]:
    """Make an environment and its parameters."""
    env, params = gymnax.make(name)
    return Folded(env), params


def program(path: Path, changes: tuple[tuple[str, str], ...] = (), modules: dict[str, Any] | None = None) -> Any:
    """Run a file of a checkout as a module.

    Args:
        path: The file.
        changes: What stands there, and what is put in its place.
        modules: What its imports find, by name.
    """
    source = path.read_text()
    for old, new in changes:
        if old not in source:
            raise ValueError(f"`{old}` must be in {path}; is it another version?")
        source = source.replace(old, new)
    name = f"_elsewhere_{path.parent.name}_{path.stem}"
    module = sys.modules[name] = types.ModuleType(name)
    fake_gymnax = types.ModuleType("gymnax")
    vars(fake_gymnax).update(vars(gymnax) | {"make": environment})
    known = {name: mock.MagicMock() for name in UNUSED} | {"gymnax": fake_gymnax} | (modules or {})
    with mock.patch.dict(sys.modules, known):
        exec(compile(source, str(path), "exec"), module.__dict__)
    return module


def purejaxrl(checkout: Path, file: str, config: dict[str, Any]) -> Contender:
    """Make purejaxrl's PPO of a file: `ppo.py` or `ppo_rnn.py`."""
    folder = checkout / "purejaxrl"
    module = program(folder / file, GRU if "rnn" in file else (), {"wrappers": program(folder / "wrappers.py")})
    return _from_scratch("purejaxrl", module.make_train(_settings(config)), config)


def popjaxrl(checkout: Path, wrappers: Path, config: dict[str, Any]) -> Contender:
    """Make popjaxrl's PPO with a GRU; its wrapper is that of purejaxrl, of which it is a copy for older gymnax."""
    env, params = environment("CartPole-v1")
    modules = {"envs": types.ModuleType("envs"), "envs.wrappers": program(wrappers / "purejaxrl" / "wrappers.py")}
    module = program(checkout / "algorithms" / "ppo_gru.py", (*GRU, _RETURNS), modules)
    return _from_scratch("popjaxrl", module.make_train(_settings(config) | {"ENV": env, "ENV_PARAMS": params}), config)


def popjaxrl_s5(checkout: Path, wrappers: Path, config: dict[str, Any], *, width: int, layers: int) -> Contender:
    """Make popjaxrl's PPO with S5 layers, as it trains them: gated linear units, and no norms."""
    env, params = environment("CartPole-v1")
    folder = checkout / "algorithms"
    modules = {"envs": types.ModuleType("envs"), "envs.wrappers": program(wrappers / "purejaxrl" / "wrappers.py")}
    modules["s5"] = program(folder / "s5.py", (("np.DeviceArray", "np.ndarray"),))
    module = program(folder / "ppo_s5.py", (("from .s5 import", "from s5 import"), _RETURNS), modules)
    sizes = {"D_MODEL": width, "SSM_SIZE": width, "N_LAYERS": layers, "BLOCKS": 1, "ACTIVATION": "full_glu"}
    sizes |= dict.fromkeys(("DO_NORM", "PRENORM", "DO_GTRXL_NORM"), False)
    settings = {f"S5_{name}": value for name, value in sizes.items()}
    settings |= _settings(config) | {"ENV": env, "ENV_PARAMS": params}
    return _from_scratch("popjaxrl", module.make_train(settings), config)


def purejaxql(
    checkout: Path, wrappers: Path, config: dict[str, Any], *, width: int = 64, gru: bool = False
) -> Contender:
    """Make PureJaxQL's PQN, with two layers or, where `gru` is set, with one and a GRU, all of this width."""
    modules = {"gymnax.wrappers.purerl": program(wrappers / "purejaxrl" / "wrappers.py")}
    module = program(checkout / "purejaxql" / ("pqn_rnn_gymnax.py" if gru else "pqn_gymnax.py"), (), modules)
    settings = _settings(config) | {
        "TOTAL_TIMESTEPS_DECAY": config["steps"],
        "NUM_EPOCHS": config["epochs"],
        "HIDDEN_SIZE": width,
        "NUM_LAYERS": 1 if gru else 2,
        "MEMORY_WINDOW": 0,
        "NORM_TYPE": "layer_norm",
        "LAMBDA": 0.95,
        "EPS_START": 1.0,
        "EPS_FINISH": 0.05,
        "EPS_DECAY": 0.5,
        "WANDB_MODE": "disabled",
    }
    return _from_scratch("PureJaxQL", module.make_train(settings), config)


def rejax(algorithm: str, env_name: str, config: dict[str, Any], **options: Any) -> Contender:
    """Make an agent of rejax, which goes on from its last state and does not evaluate."""
    import rejax as library  # noqa: PLC0415

    env, params = environment(env_name)
    agent = getattr(library, algorithm).create(
        env=env,
        env_params=params,
        num_envs=config["envs"],
        total_timesteps=config["steps"],
        eval_freq=config["steps"],
        skip_initial_evaluation=True,
        max_grad_norm=0.5,
        **options,
    )
    agent = agent.replace(eval_callback=lambda agent, state, key: ())
    state = jax.jit(agent.init_state)(jax.random.PRNGKey(0))
    return Contender("rejax", lambda state: agent.train(train_state=state), state, config["steps"])


def _settings(config: dict[str, Any]) -> dict[str, Any]:
    """Give the sizes of the work the names of purejaxrl and its relatives."""
    return {
        "LR": 3e-4,
        "NUM_ENVS": config["envs"],
        "NUM_STEPS": config["length"],
        "TOTAL_TIMESTEPS": config["steps"],
        "UPDATE_EPOCHS": config["epochs"],
        "NUM_MINIBATCHES": config["minibatches"],
        "GAMMA": 0.99,
        "GAE_LAMBDA": 0.95,
        "CLIP_EPS": 0.2,
        "ENT_COEF": 0.01,
        "VF_COEF": 0.5,
        "MAX_GRAD_NORM": 0.5,
        "ACTIVATION": "tanh",
        "ENV_NAME": "CartPole-v1",
        "ANNEAL_LR": False,
        "DEBUG": False,
    }


def _from_scratch(name: str, train: Callable[[Any], Any], config: dict[str, Any]) -> Contender:
    """A program that begins anew in each call, which is an initialization of small networks more."""
    return Contender(name, lambda key: (key, train(key)), jax.random.PRNGKey(0), config["steps"])
