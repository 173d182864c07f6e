"""Offline training: from what a memory began with, without an environment."""

from digideep.pipeline.runner import Runner
from digideep.utility.errors import UsageError


class OfflineRunner(Runner):
    """Learns from a data set alone: the environment is stepped in tests, and nowhere else.

    The run is counted in frames all the same, none of which is collected: with one gradient step per frame they are the
    gradient steps. Parameters are those of `Runner`.
    """

    def override(self) -> None:
        """Refuse a memory that begins with nothing."""
        if self.memory.data is None:
            raise UsageError("OfflineRunner learns from a data set alone: give the memory 'data' that it begins with.")

    def train_cycle(self) -> None:
        """Turn the loop once, without its first two statements: let time pass, and learn."""
        train = self.explorer["train"]
        train.steps += train.n_steps or 0
        self.memory.n_collected += 1
        for agent_name in self.agents:
            self.monitor.record(f"/update/{agent_name}", self.agents[agent_name].update())
