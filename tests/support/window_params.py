"""PPO whose Runner draws windows of its own, for tests."""

import numpy as np

from digideep.pipeline.runner import Runner
from digideep.telemetry.plotting import Plotter, VisdomWindow
from params import ppo_classic

cpanel = ppo_classic.cpanel


class Watched(Runner):
    def override(self):
        self.plotter = Plotter(self.session.logbook, "mine", {"reward": ["main", "mean", "2sigma"]}, window_size=3)
        self.picture = VisdomWindow(self.session.logbook, "image", "picture")

    def train_cycle(self):
        super().train_cycle()
        self.plotter.append(self.frames, reward=self.frames % 1000)
        self.picture(np.full((3, 2, 2), self.i_epoch * 10, np.uint8))

    def state_dict(self):
        return {**super().state_dict(), "plotter": self.plotter.state_dict()}

    def load_state_dict(self, state):
        super().load_state_dict(state)
        if "plotter" in state:
            self.plotter.load_state_dict(state["plotter"])


def gen_params(cpanel):
    tree = ppo_classic.gen_params(cpanel)
    tree["runner"] |= {"class": Watched}
    return tree
