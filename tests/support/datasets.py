"""Small data sets, recorded in real environments by somebody who acts as it is written."""

import numpy as np

from digideep.environment.making.make_environment import EnvironmentSpec, make_environment
from digideep.post.record import record


class Written:
    """Acts as it is written, again from the start in each episode; see `Demonstrator`."""

    is_plain, method = True, "written"

    def __init__(self, name, actions, module="tests.support.environments", **kwargs):
        self.environment = make_environment(EnvironmentSpec(name=name, from_module=module, kwargs=kwargs))
        self.actions = actions

    def begin(self):
        self.left = list(self.actions)

    def act(self, observation, info):
        action = self.left.pop(0)
        return np.array(action) if isinstance(action, list) else action


def counted(root, dataset_id="counter/written-v0", *, frames=None, episodes=None, length=3):
    """Episodes of Counter, which terminate after `length` steps: what is seen, done and rewarded is known."""
    demonstrator = Written("Counter-v0", [5, 7, 6, 5, 6, 7, 5], length=length)
    return record(demonstrator, dataset_id, root, episodes=episodes, frames=frames, seed=3, notes={}).path


def pendulums(root, dataset_id="pendulum/written-v0", *, episodes=2):
    """Episodes of Pendulum, truncated after 200 steps; actions are of one sign for ten steps each."""
    actions = [[float(2 * (-1) ** (step // 10)) * 0.75] for step in range(200)]
    demonstrator = Written("Pendulum-v1", actions, None)
    return record(demonstrator, dataset_id, root, episodes=episodes, frames=None, seed=3, notes={}).path
