"""Cart and pole seen by their positions alone, exact or noisy."""

from typing import ClassVar

from memorax.environments.memory.cart_pole import CartPole, CartPoleParams


class PositionOnlyCartPole(CartPole):
    """Balance a pole from positions alone; velocities must be remembered as differences.

    * Observation: position of the cart and angle of the pole, float32 `[2]`.
    * Action: push left or right, `Discrete(2)`.
    * Reward: `1 / T` in every step, also in the one in which the pole falls.
    * Length: up to T steps; terminated where the cart leaves +-2.4 m or the pole 12 degrees, truncated at T (both
      flags may be set at once).
    * Easy, Medium, Hard: T = 200, 400, 600.

    Source: Morad et al. (2023), POPGym: Benchmarking Partially Observable Reinforcement Learning,
    https://arxiv.org/abs/2303.01859.
    """

    optimal_return = 1.0
    _settings: ClassVar = {"Easy": (200, 0.0), "Medium": (400, 0.0), "Hard": (600, 0.0)}

    def memory_length(self, params: CartPoleParams | None = None) -> int:
        """Two positions make a velocity."""
        return 1


class NoisyPositionOnlyCartPole(CartPole):
    """Balance a pole from noisy positions; many steps must be averaged.

    * Observation: position of the cart and angle of the pole plus normal noise, clipped to +-(4.8 m, 24 degrees),
      float32 `[2]`.
    * Action: push left or right, `Discrete(2)`.
    * Reward: `1 / T` in every step, also in the one in which the pole falls.
    * Length: up to T = 200 steps; terminated where the cart leaves +-2.4 m or the pole 12 degrees, truncated at T
      (both flags may be set at once).
    * Easy, Medium, Hard: standard deviation of the noise 0.1, 0.2, 0.3.

    Source: Morad et al. (2023), POPGym: Benchmarking Partially Observable Reinforcement Learning,
    https://arxiv.org/abs/2303.01859.
    """

    _settings: ClassVar = {"Easy": (200, 0.1), "Medium": (200, 0.2), "Hard": (200, 0.3)}
