"""The rules of the embedded tasks once more, in plain Python and written for reading.

`start(hidden)` gives the first observation; `step(action)` gives `(observation, reward, terminated, truncated)`.
`best()` names an optimal action, knowing everything.
"""

import math
import random

import numpy as np


def one_hot(i, n=4):
    return np.eye(n, dtype=np.float32)[i]


class RepeatPrevious:
    def __init__(self, cards, k):
        self.cards, self.k, self.seen = list(cards), k, [cards[0]]

    def start(self):
        return one_hot(self.seen[-1])

    def best(self):
        return self.seen[-self.k] if len(self.seen) >= self.k else 0

    def step(self, action):
        n, reward = len(self.cards), 0.0
        if len(self.seen) >= self.k:
            reward = (1 if action == self.seen[-self.k] else -1) / (n - self.k)
        self.seen.append(self.cards[len(self.seen)])
        return one_hot(self.seen[-1]), reward, len(self.seen) == n, False


class RepeatFirst:
    def __init__(self, cards):
        self.cards, self.shown = list(cards), 0

    def start(self):
        return one_hot(self.cards[0])

    def best(self):
        return self.cards[0]

    def step(self, action):
        reward = (1 if action == self.cards[0] else -1) / (len(self.cards) - 1)
        self.shown += 1
        return one_hot(self.cards[self.shown]), reward, self.shown == len(self.cards) - 1, False


class TMaze:
    UP, DOWN, RIGHT, LEFT = range(4)

    def __init__(self, goal, length, max_steps=None):
        self.goal, self.cells, self.limit = goal, ["start"] + ["corridor"] * length + ["junction"], max_steps
        self.at, self.time = 0, 0

    def start(self):
        place = self.cells[self.at]
        sign = {"start": 0 if self.goal == 0 else 1, "corridor": 2, "junction": 3}
        return one_hot(sign[place])

    def best(self):
        return self.RIGHT if self.cells[self.at] != "junction" else (self.UP, self.DOWN)[self.goal]

    def step(self, action):
        self.time += 1
        reward, ended = 0.0, False
        if self.cells[self.at] == "junction" and action in (self.UP, self.DOWN):
            reward, ended = (4.0 if action == (self.UP, self.DOWN)[self.goal] else -0.1), True
        elif action == self.RIGHT and self.at + 1 < len(self.cells):
            self.at += 1
        elif action == self.LEFT and self.at > 0:
            self.at -= 1
        return self.start(), reward, ended, self.limit is not None and self.time >= self.limit


class DeadlineTMaze:
    MOVES = ((1, 0), (0, 1), (-1, 0), (0, -1))

    def __init__(self, goal, length, active):
        self.goal, self.length, self.active = goal, length, int(active)
        self.cells = {(x, 0) for x in range(self.active + length + 1)}
        self.junction = self.active + length
        self.cells |= {(self.junction, 1), (self.junction, -1)}
        self.at, self.time, self.visits = (self.active, 0), 0, 0

    def start(self):
        x, y = self.at
        if x == 0:
            self.visits += 1
            return np.array([0, self.goal if self.visits == 1 else 0], np.float32)
        return np.array([x == self.junction, y if x == self.junction else 0], np.float32)

    def best(self):
        if self.active and self.visits == 0:
            return 2
        if self.at[0] < self.junction:
            return 0
        return 1 if self.goal > 0 else 3

    def step(self, action):
        dx, dy = self.MOVES[action]
        target = (self.at[0] + dx, self.at[1] + dy)
        self.at = target if target in self.cells else self.at
        self.time += 1
        observation = self.start()
        if self.time == self.length + 2 * self.active + 1:
            return observation, float(self.at[1] == self.goal), True, False
        behind = self.at[0] < self.time - self.active
        return observation, (-1 / self.length if behind else 0.0), False, False


class MemoryChain:
    def __init__(self, bits, query, length):
        self.bits, self.query, self.length, self.time = bits, query, length, 0

    def show(self, time):
        question = self.query if time == self.length - 1 else 0
        bits = [2 * b - 1 for b in self.bits] if time == 0 else [0] * len(self.bits)
        return np.array([1 - time / self.length, question, *bits], np.float32)

    def start(self):
        return self.show(0)

    def best(self):
        return self.bits[self.query]

    def step(self, action):
        observation, self.time = self.show(self.time), self.time + 1
        if self.time <= self.length:
            return observation, 0.0, False, False
        return observation, (1.0 if action == self.bits[self.query] else -1.0), True, False


class CartPole:
    """In float64; `physics` may be read and set between steps."""

    def __init__(self, physics, max_steps, noise):
        self.physics, self.limit, self.noise, self.time = [float(v) for v in physics], max_steps, noise, 0

    def show(self, drawn):
        x, _, angle, _ = self.physics
        seen = np.array([x, angle]) + self.noise * np.asarray(drawn)
        return np.clip(seen, [-4.8, -math.radians(24)], [4.8, math.radians(24)])

    def step(self, action, drawn):
        x, v, angle, spin = self.physics
        total, cos, sin = 1.1, math.cos(angle), math.sin(angle)
        pushed = ((10.0 if action == 1 else -10.0) + 0.05 * spin * spin * sin) / total
        spin_rate = (9.8 * sin - cos * pushed) / (0.5 * (4.0 / 3.0 - 0.1 * cos * cos / total))
        rate = pushed - 0.05 * spin_rate * cos / total
        self.physics = [x + 0.02 * v, v + 0.02 * rate, angle + 0.02 * spin, spin + 0.02 * spin_rate]
        self.time += 1
        fallen = abs(self.physics[0]) > 2.4 or abs(self.physics[2]) > math.radians(12)
        return self.show(drawn), 1 / self.limit, fallen, self.time >= self.limit


def run(reference, mix, seed, most=5000):
    """Play to the end; each action is the best one with probability `mix`, otherwise random."""
    draw = random.Random(seed)
    observations, steps = [reference.start()], []
    for _ in range(most):
        choices = {RepeatPrevious: 4, RepeatFirst: 4, MemoryChain: 2}.get(type(reference), 4)
        action = reference.best() if draw.random() < mix else draw.randrange(choices)
        observation, *outcome = reference.step(action)
        observations.append(observation)
        steps.append((action, *outcome))
        if outcome[1] or outcome[2]:
            break
    return np.stack(observations), [np.array(column) for column in zip(*steps, strict=True)]
