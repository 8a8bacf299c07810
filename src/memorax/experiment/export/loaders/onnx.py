"""Acts with the policy in this folder: `pip install onnxruntime`."""

import hashlib
import json
from pathlib import Path

import numpy as np
import onnxruntime


class Policy:
    """`action, carry = policy.predict(observation)`, then with that carry and the reward; arrays are `[batch, ...]`."""

    def __init__(self, folder=Path(__file__).parent):
        self.card = json.loads((Path(folder) / "card.json").read_text())
        program = (Path(folder) / self.card["file"]).read_bytes()
        if hashlib.sha256(program).hexdigest() != self.card["sha256"]:
            raise ValueError(f"{self.card['file']} is damaged: its hash is not that of the card")
        self.session = onnxruntime.InferenceSession(program)

    def initial_carry(self, batch=1):
        """The carry before the first step of an episode."""
        rows = {name: ((batch, *x["shape"]), x) for name, x in self.card["carry"].items()}
        return {name: np.broadcast_to(np.asarray(x["initial"], x["dtype"]), shape) for name, (shape, x) in rows.items()}

    def predict(self, observation, carry=None, episode_start=None, reward=0.0):
        """Choose the best actions; the memory is reset, before it is used, where an episode starts."""
        parts = observation if isinstance(observation, dict) else {"observation": observation}
        parts = {name: np.asarray(parts[name], x["dtype"]) for name, x in self.card["observation"].items()}
        rows = (len(next(iter(parts.values()))), *self.card["reward"]["shape"])
        start = carry is None if episode_start is None else episode_start
        start, reward = np.broadcast_to(np.asarray(start, bool), rows), np.broadcast_to(np.float32(reward), rows)
        carry = self.initial_carry(rows[0]) if carry is None else carry
        feeds = {**carry, **parts, "reward": reward, "episode_start": start}
        action, *after = self.session.run(None, {x.name: feeds[x.name] for x in self.session.get_inputs()})
        return action, dict(zip(self.card["carry"], after, strict=True))
