"""A pendulum seen by its angle alone, exact or noisy."""

from typing import ClassVar

from memorax.environments.memory.pendulum import Pendulum, PendulumParams


class PositionOnlyPendulum(Pendulum):
    """Swing a pendulum up and hold it from angles alone; the velocity must be remembered as a difference.

    * Observation: cosine and sine of the angle, float32 `[2]`.
    * Action: a torque in [-2, 2], `Box(-2, 2, (1,))`.
    * Reward: between `-1 / T` (hanging down, spinning as fast as can be) and `1 / T` (upright and still).
    * Length: T steps, ended by truncation.
    * Easy, Medium, Hard: T = 200, 150, 100.

    Source: Morad et al. (2023), POPGym: Benchmarking Partially Observable Reinforcement Learning,
    https://arxiv.org/abs/2303.01859.
    """

    _settings: ClassVar = {"Easy": (200, 0.0), "Medium": (150, 0.0), "Hard": (100, 0.0)}

    def memory_length(self, params: PendulumParams | None = None) -> int:
        """Two angles make a velocity."""
        return 1


class NoisyPositionOnlyPendulum(Pendulum):
    """Swing a pendulum up and hold it from noisy angles; many steps must be averaged.

    * Observation: cosine and sine of the angle plus normal noise, clipped to [-1, 1], float32 `[2]`.
    * Action: a torque in [-2, 2], `Box(-2, 2, (1,))`.
    * Reward: between `-1 / T` (hanging down, spinning as fast as can be) and `1 / T` (upright and still).
    * Length: T = 200 steps, ended by truncation.
    * Easy, Medium, Hard: standard deviation of the noise 0.1, 0.2, 0.3.

    Source: Morad et al. (2023), POPGym: Benchmarking Partially Observable Reinforcement Learning,
    https://arxiv.org/abs/2303.01859.
    """

    _settings: ClassVar = {"Easy": (200, 0.1), "Medium": (200, 0.2), "Hard": (200, 0.3)}
