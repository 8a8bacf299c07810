"""Cart and pole without positions: balance from velocities alone."""

from typing import ClassVar

import numpy as np

from memorax.core.spaces import Box
from memorax.core.types import Array
from memorax.environments.memory.cart_pole import CartPole, CartPoleParams, CartPoleState


class VelocityOnlyCartPole(CartPole):
    """Balance a pole from velocities alone; positions must be remembered as sums.

    The `popgym` package shows positions in the first observation of an episode; here it shows velocities too, unless
    `popgym_compat` is set.

    * Observation: velocity of the cart and of the angle of the pole, float32 `[2]`.
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

    def __init__(self, difficulty: str = "Easy", *, popgym_compat: bool = False) -> None:
        """Set up the cart.

        Args:
            difficulty: "Easy", "Medium" or "Hard".
            popgym_compat: Show positions, not velocities, in the first observation of an episode.

        Raises:
            TypeError: If `popgym_compat` is no boolean.
            ValueError: If `difficulty` is unknown.
        """
        super().__init__(difficulty)
        if not isinstance(popgym_compat, bool):
            raise TypeError(f"`popgym_compat` must be True or False, got {popgym_compat!r}")
        self.popgym_compat = popgym_compat

    def start(self, drawn: tuple[Array, Array], params: CartPoleParams) -> tuple[Array, CartPoleState]:
        """Set the pole up."""
        observation, state = super().start(drawn, params)
        return (state.physics[::2] if self.popgym_compat else observation), state

    def _observe(self, physics: Array, noise: Array, params: CartPoleParams) -> Array:
        return physics[1::2]

    def observation_space(self, params: CartPoleParams | None = None) -> Box:
        """Two velocities without bounds."""
        return Box(-np.inf, np.inf, (2,))
