"""Memory-augmented reinforcement learning in JAX.

An agent is an algorithm, a network and an environment; a network is a feature extractor, a torso with memory and a
head. The rooms are imported by name, so that a script pays only for what it uses:

* `memorax.algorithms`: the agents and their configurations,
* `memorax.networks`: feature extractors, memory models, heads,
* `memorax.environments`: `make`, `register`, wrappers and the memory tasks,
* `memorax.lox`: logging from inside compiled code.
"""

__version__ = "0.1.0"

__all__ = ["__version__"]
