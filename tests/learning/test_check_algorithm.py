"""`check_algorithm` finds what is wrong with an algorithm, and says so."""

import dataclasses

import jax
import jax.numpy as jnp
import optax
import pytest
from tests import example_agents as agents

from memorax import lox
from memorax.acting import NormalizationConfig, OnPolicy
from memorax.algorithms import PPO
from memorax.learning import ActorCritic, ActorCriticLearner
from memorax.testing import check_algorithm
from memorax.testing.algorithm_properties import PROPERTIES


@dataclasses.dataclass(frozen=True)
class MyConfig(NormalizationConfig):
    num_envs: int = 3
    num_steps: int = 4
    gamma: float = 0.9


class MyAlgorithm(OnPolicy[MyConfig, ActorCritic]):
    """An algorithm that was written outside of the package: REINFORCE with rewards as returns."""

    Config = MyConfig

    def __init__(self, config, env, env_params, actor, critic, optimizer):
        super().__init__(config, env, env_params)
        self.networks = ActorCritic(self.vector_env, actor, critic)
        self.optimizers = {"actor": optimizer, "critic": optimizer}

    def init_learner(self, key, rollout_state):
        params = self.networks.init(key, rollout_state.timestep, rollout_state.carry)
        return ActorCriticLearner.create(self.optimizers, params)

    def policy(self, learner, step, behavior):
        return self.networks.policy(learner.params, behavior)

    def learn(self, key, learner, trajectory, rollout_state, carry):
        def loss(params):
            _, (distribution, value) = self.networks.unroll(params, trajectory.inputs, carry)
            log_prob = distribution.log_prob(trajectory.action)
            return jnp.mean(jnp.square(value - trajectory.reward) - log_prob * trajectory.reward)

        value, gradients = jax.value_and_grad(loss)(learner.params)
        lox.log({"losses": {"reinforce": value}})
        return learner.update(self.optimizers, gradients)


def maker(cls):
    def make_agent(env, **config):
        parts = agents.ppo(env, "gru", cls=PPO).networks
        networks = parts.actor.network, parts.critic.network
        return cls(MyConfig(**config), env, None, *networks, optax.sgd(0.1))

    return make_agent


@pytest.mark.slow
def test_an_algorithm_from_outside_of_the_package_is_checked():
    check_algorithm(maker(MyAlgorithm))


class Forgetful(MyAlgorithm):
    """Records other values than it has, and logs under a name of its own."""

    def learn(self, key, learner, trajectory, rollout_state, carry):
        lox.log({"my_loss": jnp.zeros(())})
        return super().learn(key, learner, trajectory, rollout_state, carry)

    def policy(self, learner, step, behavior):
        act = super().policy(learner, step, behavior)

        def late(key, carry, timestep):
            after, action, aux = act(key, carry, timestep)
            return after, action, aux | {"value": aux["value"] + 1.0}

        return late


def test_what_is_wrong_is_named():
    names = ["logs_episodes_and_losses", "replays_what_it_did", "counts_its_steps"]
    with pytest.raises(AssertionError, match="2 of 3 properties do not hold") as error:
        check_algorithm(maker(Forgetful), properties=names)
    assert "losses must be logged under `losses/`, got `my_loss`" in str(error.value)
    assert "`replays_what_it_did`" in str(error.value)
    assert "`counts_its_steps`" not in str(error.value)


def test_a_property_that_does_not_exist_is_refused():
    with pytest.raises(ValueError, match=r"`properties` must be among keeps_its_types, .*, got 'is_quick'"):
        check_algorithm(maker(MyAlgorithm), properties=["is_quick"])
    assert len(PROPERTIES) == 9
