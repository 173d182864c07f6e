"""Say so where ranks spend their time on messages to each other."""

import logging
import time
from collections.abc import Mapping
from statistics import median

import torch
from torch import Tensor

from digideep.agent.base import AgentBase
from digideep.learning.gradient_step import GradientStep
from digideep.utility.ranks import Ranks

_SAMPLES = 9
_LEAST_GAIN = 1.25  # times the frames/s of one rank, below which a second one is not worth its core
_log = logging.getLogger("digideep")


class MessageCost:
    """Estimates, at the end of the second epoch of a process, what share of it messages took; docs/scaling.md.

    The first one may hold the compiling. All ranks call `epoch` at the same moment.

    Args:
        agents: by name.
        ranks: that train them.
    """

    def __init__(self, agents: Mapping[str, AgentBase], ranks: Ranks):
        self._agents, self._ranks, self._epochs = agents, ranks, 0
        self._began, self._steps = 0.0, dict.fromkeys(agents, 0)

    def epoch(self) -> None:
        """Note that an epoch has ended."""
        self._epochs += 1
        if self._ranks.size == 1 or self._epochs > 2:
            return
        steps = {name: agent.n_gradient_steps for name, agent in self._agents.items()}
        if self._epochs == 2:
            taken = {name: number - self._steps[name] for name, number in steps.items()}
            seconds = time.perf_counter() - self._began
            messages_s = sum(number * self._of_step(self._agents[name]) for name, number in taken.items())
            share, size = min(messages_s / seconds, 0.99), self._ranks.size
            if size * (1 - share) < _LEAST_GAIN:
                _log.warning(
                    "Messages between ranks take about %.0f %% of the time: %d ranks are about %.1f times as fast as "
                    "one. Larger minibatches need fewer messages, averaging_interval above 1 as well: docs/scaling.md.",
                    100 * share, size, size * (1 - share),
                )  # fmt: skip
        self._began, self._steps = time.perf_counter(), steps

    def _of_step(self, agent: AgentBase) -> float:
        """Measure the seconds of the messages of one gradient step of an agent."""
        flats = [part.flat for part in agent.parts.values() if isinstance(part, GradientStep)]
        return sum(map(self._of_message, flats)) / agent.averaging_interval

    def _of_message(self, flat: Tensor) -> float:
        message, times = torch.zeros_like(flat), []
        for _ in range(_SAMPLES):
            began = time.perf_counter()
            self._ranks.sum(message)
            times.append(time.perf_counter() - began)
        return median(times)
