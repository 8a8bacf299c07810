"""What a memory is worth and what can be read from it, on an agent that was written by hand."""

import json
from types import SimpleNamespace

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import struct
from tests.example_agents import ppo

import memorax
from memorax.acting import VectorEnv
from memorax.diagnostics import diagnose, horizon_generalization, memory_ablation, probe, recall_over_lag
from memorax.diagnostics.figures import make_figure

LENGTH = 6


@struct.dataclass
class State:
    step: jax.Array


class Latch:
    """Plays MemoryChain as well as can be: it keeps the last bit that it saw, and always answers with it."""

    recurrent = True

    def __init__(self):
        env = memorax.make("memory::MemoryChain", length=LENGTH)[0]
        self.vector_env = VectorEnv(env, env.default_params, 4)

    def init(self, key):
        return State(jnp.zeros((), jnp.uint32))

    def initialize_carry(self, key, batch):
        return jnp.zeros((batch, 1))

    def acting(self, state, behavior):
        def policy(key, carry, timestep, action=None):
            carry = jnp.where(timestep.done[:, None], 0.0, carry)
            seen = timestep.observation[:, 2:3]
            carry = jnp.where(seen != 0, seen, carry)
            bit = carry[:, 0]
            if action is None:
                action = (bit > 0).astype(jnp.int32)
            return carry, action, {"value": bit, "log_prob": bit * (2.0 * action - 1)}

        return policy, None


@pytest.fixture(scope="module")
def latch():
    agent = Latch()
    return SimpleNamespace(agent=agent, state=agent.init(None))


@pytest.fixture(scope="module")
def ablation(latch):
    return memory_ablation(latch, episodes=64, recovery_steps=8)


def test_an_intact_memory_is_worth_everything(ablation):
    assert (ablation.intact.mean, ablation.intact.episodes, ablation.intact.length) == (1.0, 64, LENGTH + 1)
    assert ablation.intact.interval == (1.0, 1.0)


def test_a_memory_that_is_reset_before_the_answer_is_worth_nothing(latch, ablation):
    assert list(ablation.reset) == [1, 2, 4]
    for returns in ablation.reset.values():
        # It answers 0 for what it has forgotten, which is right half of the time.
        assert abs(returns.mean) < 0.4
        assert returns.interval[0] < returns.mean < returns.interval[1]
    kept = memory_ablation(latch, every=[LENGTH + 1], episodes=16, recovery_steps=0)
    assert kept.reset[LENGTH + 1].mean == 1.0, "the episode is over before"
    assert kept.swap[LENGTH + 1].mean == 1.0


def test_the_memory_of_another_episode_answers_for_that_episode(ablation):
    assert abs(ablation.swap[4].mean) < 0.4
    assert ablation.swap[4].mean != ablation.reset[4].mean


def test_a_strange_observation_is_remembered_for_a_bit(ablation):
    # Noise in the place of the bit is taken for a bit.
    assert abs(ablation.poison[2].mean) < 0.4
    change = ablation.recovery["value"]
    assert change[0] > 1
    np.testing.assert_allclose(change[1:3], change[0], rtol=0.5)
    assert len(change) <= LENGTH + 1, "episodes end before"


def test_the_hidden_bit_is_read_from_the_memory(latch):
    probes = probe(latch, num_envs=32, num_steps=42)
    bits = probes["bits"]
    assert (bits.kind, bits.score) == ("accuracy", 1.0)
    assert bits.from_observation < 0.9
    assert 0.3 < bits.chance < 0.7
    assert np.all(bits.over_time[: LENGTH + 1] == 1.0)
    assert np.all(np.isnan(bits.over_time[LENGTH + 1 :]))
    assert next(iter(probes)) == "bits", "the best comes first"
    assert probes["time"].score < 0.5, "which it does not keep"


def test_read_outs_are_scored_where_they_were_not_fitted():
    class Noise(Latch):
        """Keeps nothing but noise, enough of it to fit anything by."""

        def initialize_carry(self, key, batch):
            return jnp.zeros((batch, 900))

        def acting(self, state, behavior):
            def policy(key, carry, timestep, action=None):
                chosen = jnp.zeros(carry.shape[0], jnp.int32) if action is None else action
                return jax.random.normal(key, carry.shape), chosen, {"value": carry[:, 0], "log_prob": carry[:, 0]}

            return policy, None

    agent = Noise()
    bits = probe(SimpleNamespace(agent=agent, state=agent.init(None)), num_envs=32, num_steps=42)["bits"]
    assert bits.score < 0.7


def test_it_generalizes_to_every_length(latch):
    lengths = {length: memorax.make("memory::MemoryChain", length=length) for length in (2, 6, 20)}
    found = horizon_generalization(latch, lengths, episodes=16)
    assert {name: returns.mean for name, returns in found.variants.items()} == dict.fromkeys(lengths, 1.0)
    assert [returns.length for returns in found.variants.values()] == [3, 7, 21]
    assert found.best == dict.fromkeys(lengths, 1.0)
    late = horizon_generalization(latch, lengths, episodes=16, max_steps=10)
    assert [returns.episodes for returns in late.variants.values()] == [16, 16, 0]
    assert late.to_json()["20"]["mean"] is None


def test_other_spaces_are_refused(latch):
    with pytest.raises(ValueError, match="action space"):
        horizon_generalization(latch, {"other": memorax.make("memory::RepeatPreviousEasy")})
    with pytest.raises(ValueError, match="observations of the shapes"):
        horizon_generalization(latch, {"two bits": memorax.make("memory::MemoryChain", num_bits=2)})
    with pytest.raises(ValueError, match="at least one environment"):
        horizon_generalization(latch, {})


def test_it_looks_back_to_the_bit(latch):
    recall = recall_over_lag(latch, max_lag=LENGTH, num_envs=16, windows=16)
    assert np.all(recall.gradient["value"] <= 1)
    # The bit is shown in the first two observations, and the later one counts.
    assert recall.perturbation["value"][LENGTH] == 0
    assert recall.perturbation["value"][LENGTH - 1] > 0


def test_a_diagnosis_is_whole_and_drawn(latch, tmp_path):
    told = []
    lengths = {f"length={length}": memorax.make("memory::MemoryChain", length=length) for length in (3, 6)}
    found = diagnose(latch, environments=lengths, max_lag=4, episodes=8, tell=told.append)
    assert told == ["recall over lag", "horizon generalization", "memory ablation", "probes"]
    content = json.loads(json.dumps(found.to_json(), allow_nan=False))
    assert content["memory_ablation"]["reset"]["1"]["episodes"] == 8
    assert content["recall_over_lag"]["lags"] == [0, 1, 2, 3, 4]
    figure = make_figure(found, "$x^$")
    figure.savefig(tmp_path / "diagnosis.png")
    assert len(figure.axes) == 5
    for axes in figure.axes:
        legend = axes.get_legend().get_window_extent()
        others = [other.get_window_extent() for other in figure.axes] + [axes.xaxis.get_tightbbox()]
        assert not any(legend.overlaps(box) for box in others), "legends cover nothing"
        assert legend.y0 >= 0
    assert figure.axes[3].get_xlabel() == "length"
    assert [text.get_text() for text in figure.axes[3].get_xticklabels()] == ["3", "6"]
    assert (tmp_path / "diagnosis.png").read_bytes().startswith(b"\x89PNG")


def test_an_agent_without_memory_has_none_to_ablate_or_to_read():
    agent = ppo(memorax.make("memory::MemoryChain", length=2)[0], "mlp")
    found = diagnose(SimpleNamespace(agent=agent, state=agent.init(jax.random.key(0))), max_lag=2, episodes=4)
    assert (found.horizons, found.ablation, found.probes) == (None, None, {})
    assert len(make_figure(found).axes) == 1
