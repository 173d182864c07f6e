"""Random network distillation: a reward for observations that are new, added to the task's own.

Source: Burda et al. 2018, arXiv:1810.12894, Sections 2.2 to 2.4.
"""

import itertools
import math
from collections.abc import Sequence
from typing import Any

import gymnasium as gym
import numpy as np

from digideep.environment.normalizers import Arrays, VectorWrapper
from digideep.environment.running_statistics import RunningMeanStd, merge
from digideep.environment.stepping.step_buffers import StepBuffers
from digideep.parameters.checks import require, require_between
from digideep.utility.ranks import Ranks
from digideep.utility.seeding import make_generator

_BETAS, _EPSILON = (0.9, 0.999), 1e-8  # of Adam, Kingma and Ba 2015
_VAR_EPSILON = 1e-8
_CLIP = 5.0  # of normalised observations, Section 2.4; and of the normalised reward


class Perceptron:
    """A multilayer perceptron with ReLU in numpy: the environment knows no torch, and this one learns at each step.

    Args:
        sizes: of the input, of each hidden layer and of the output.
        generator: draws the weights, He et al. 2015, arXiv:1502.01852, Eq. 10.

    Attributes:
        flat: float32 (P,), all weights and biases; changing it changes the network.
    """

    def __init__(self, sizes: Sequence[int], generator: np.random.Generator):
        pairs = list(itertools.pairwise(sizes))
        self.flat = np.zeros(sum(a * b + b for a, b in pairs), np.float32)
        self._gradient = np.zeros_like(self.flat)
        self._layers, self._gradients = _views(self.flat, pairs), _views(self._gradient, pairs)
        for (weight, bias), (inputs, _) in zip(self._layers, pairs, strict=True):
            weight[...] = generator.normal(0.0, math.sqrt(2 / inputs), weight.shape)
            # Without them, the mean observation, which becomes 0, would be known from the start.
            bias[...] = generator.normal(0.0, math.sqrt(1 / inputs), bias.shape)

    def forward(self, x: np.ndarray) -> list[np.ndarray]:
        """Return the input, what each hidden layer gives, and the output: float32 (B, size) each."""
        values = [x]
        for number, (weight, bias) in enumerate(self._layers, 1):
            x = x @ weight + bias
            if number < len(self._layers):
                np.maximum(x, 0, out=x)
            values.append(x)
        return values

    def backward(self, values: Sequence[np.ndarray], gradient: np.ndarray) -> np.ndarray:
        """Return the gradient of all parameters, float32 (P,), until the next call.

        Args:
            values: from `forward`.
            gradient: of the output, float32 (B, size).
        """
        for number in range(len(self._layers) - 1, -1, -1):
            weight, bias = self._gradients[number]
            np.matmul(values[number].T, gradient, out=weight)
            np.sum(gradient, 0, out=bias)
            if number:
                gradient = (gradient @ self._layers[number][0].T) * (values[number] > 0)
        return self._gradient


def _views(flat: np.ndarray, pairs: Sequence[tuple[int, int]]) -> list[tuple[np.ndarray, np.ndarray]]:
    """Return weight (inputs, outputs) and bias of each layer as views of a flat array."""
    found, start = [], 0
    for inputs, outputs in pairs:
        middle, end = start + inputs * outputs, start + inputs * outputs + outputs
        found.append((flat[start:middle].reshape(inputs, outputs), flat[middle:end]))
        start = end
    return found


class VecNovelty(VectorWrapper):
    """Adds a reward for what is new: how badly a network predicts what another, random one says of the observation.

    Each observation that a step leads to is judged first and learned from then, so that what is seen often ceases to
    be new. Observations are standardised and clipped to 5, rewards divided by the standard deviation of their running
    discounted sum, which goes on over the ends of episodes (Section 2.4). Mode "train" only: tests, further explorers
    and data sets get the task's rewards alone, and so do the logs. It comes after wrappers that scale rewards.

    Differs from the paper: one critic learns the sum of both rewards, whose returns end with the episode (Section 2.3
    has two); perceptrons on the flat observation take the place of convolutions; one step of learning per step of the
    workers; the normalisers start without random steps, and the normalised reward is clipped to 5.

    Args:
        mode: the explorer's.
        num_workers: of the explorer.
        observation_spaces: of the environment, by path.
        seed: of the explorer.
        rnd_coef: weight of this reward beside the task's, above 0.
        gamma: discount of the sum by whose spread it is divided, in [0, 1]; 0.99 in Table 5.
        lr: learning rate of the predictor (Adam), above 0; 1e-4 in Table 5.
        hidden_size: units of hidden layers: the random network has one, the predictor two.
        num_features: outputs of both.
    """

    changes_observations = False

    def __init__(
        self,
        mode: str,
        num_workers: int,
        observation_spaces: dict[str, Any],
        seed: int,
        *,
        rnd_coef: float,
        gamma: float = 0.99,
        lr: float = 1e-4,
        hidden_size: int = 64,
        num_features: int = 32,
    ):
        require_between("rnd_coef", rnd_coef, 0)
        require_between("gamma", gamma, 0, 1)
        require_between("lr", lr, 0)
        self._is_learning, self._coef, self._gamma, self._lr = mode == "train", rnd_coef, gamma, lr
        self._choices = {path: int(s.n) for path, s in observation_spaces.items() if isinstance(s, gym.spaces.Discrete)}
        self._starts = {path: int(observation_spaces[path].start) for path in self._choices}
        self._paths = [path for path, space in observation_spaces.items() if _is_numbers(space)]
        require(bool(self._paths), "rnd_coef", rnd_coef, "0, as no observation consists of numbers")
        size = sum(self._choices.get(path) or math.prod(observation_spaces[path].shape) for path in self._paths)
        generator = make_generator(seed, "novelty")
        self._target = Perceptron([size, hidden_size, num_features], generator)
        self._predictor = Perceptron([size, hidden_size, hidden_size, num_features], generator)
        self._moments = np.zeros((2, len(self._predictor.flat)), np.float32)  # of Adam
        self._n_updates = 0
        self._seen, self._spread = RunningMeanStd((size,)), RunningMeanStd(())
        self._returns = np.zeros(num_workers)
        self._sums = np.zeros(3)  # since `metrics` was last asked: steps, their errors, their rewards

    def step(
        self, buffers: StepBuffers, observations: Arrays, rewards: np.ndarray, moved: np.ndarray
    ) -> tuple[Arrays, np.ndarray]:
        """Add the reward to those of rows that took a step, and learn from these rows."""
        rows = np.flatnonzero(moved)
        if not self._is_learning or not len(rows):
            return observations, rewards
        errors = self._learn(self._flatten(buffers.observations, rows))
        returns = self._returns[buffers.workers]
        returns[rows] = returns[rows] * self._gamma + errors
        self._spread.update(returns[rows])
        new = np.minimum(errors / np.sqrt(self._spread.var + _VAR_EPSILON), _CLIP)
        self._sums += len(rows), errors.sum(), new.sum()
        changed = rewards.astype(np.float32)
        changed[rows] += self._coef * new
        return observations, changed

    def _flatten(self, observations: Arrays, rows: np.ndarray) -> np.ndarray:
        """Return observations as vectors, float64 (n, size). Args: rows: int (n,), which of them."""
        parts = []
        for path in self._paths:
            array = observations[path][rows]
            if path in self._choices:
                chosen = np.zeros((len(rows), self._choices[path]))
                chosen[np.arange(len(rows)), array.reshape(-1) - self._starts[path]] = 1
                parts.append(chosen)
            else:
                parts.append(array.reshape(len(rows), -1).astype(np.float64))
        return np.concatenate(parts, 1)

    def _learn(self, rows: np.ndarray) -> np.ndarray:
        """Return the error of each row, float64 (n,), and let the predictor take one step on their mean."""
        self._seen.update(rows)
        scaled = (rows - self._seen.mean) / np.sqrt(self._seen.var + _VAR_EPSILON)
        inputs = np.clip(scaled, -_CLIP, _CLIP).astype(np.float32)
        values = self._predictor.forward(inputs)
        difference = values[-1] - self._target.forward(inputs)[-1]
        errors = np.mean(np.square(difference, dtype=np.float64), 1)
        gradient = self._predictor.backward(values, difference * np.float32(2 / difference.size))
        self._n_updates += 1
        (mean, square), (beta, beta_2) = self._moments, _BETAS
        mean += np.float32(1 - beta) * (gradient - mean)
        square += np.float32(1 - beta_2) * (gradient * gradient - square)
        rate = self._lr * math.sqrt(1 - beta_2**self._n_updates) / (1 - beta**self._n_updates)
        self._predictor.flat -= np.float32(rate) * mean / (np.sqrt(square) + np.float32(_EPSILON))
        return errors

    def metrics(self) -> dict[str, float]:
        """See `VectorWrapper`: means of error and reward before `rnd_coef`, and what divides the error by now."""
        (count, errors, rewards), self._sums = self._sums, np.zeros(3)
        if not count:
            return {}
        scale = math.sqrt(self._spread.var + _VAR_EPSILON)
        return {"/intrinsic/error": errors / count, "/intrinsic/reward": rewards / count, "/intrinsic/scale": scale}

    def merge(self, ranks: Ranks) -> None:
        """Take in what other ranks have seen; their predictors become the mean of all, of rank 0's random network."""
        if self._is_learning:
            merge([self._seen, self._spread], ranks)
            own = np.concatenate([self._target.flat, self._predictor.flat, self._moments.ravel()])
            gathered = ranks.gather_arrays(own)
            target, learned = np.split(gathered, [len(self._target.flat)], axis=1)
            self._target.flat[...] = target[0]
            predictor, moments = np.split(learned.mean(0), [len(self._predictor.flat)])
            self._predictor.flat[...], self._moments[...] = predictor, moments.reshape(2, -1)

    def state_dict(self) -> dict[str, Any]:
        """Return both networks, the optimizer's moments, the statistics and each worker's sum so far."""
        return {
            "target": self._target.flat.copy(), "predictor": self._predictor.flat.copy(),
            "moments": self._moments.copy(), "n_updates": self._n_updates, "seen": self._seen.state_dict(),
            "spread": self._spread.state_dict(), "returns": self._returns.copy(),
        }  # fmt: skip

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Continue where `state_dict` left off."""
        self._target.flat[...], self._predictor.flat[...] = state["target"], state["predictor"]
        self._moments[...], self._n_updates = state["moments"], int(state["n_updates"])
        self._seen.load_state_dict(state["seen"])
        self._spread.load_state_dict(state["spread"])
        self._returns[...] = state["returns"]


def _is_numbers(space: Any) -> bool:
    """True for an observation of one shape that consists of numbers."""
    kinds = (gym.spaces.Box, gym.spaces.Discrete, gym.spaces.MultiDiscrete, gym.spaces.MultiBinary)
    return isinstance(space, kinds) and np.dtype(space.dtype).kind in "biuf"
