"""DQN that draws from a second memory, which an explorer of its own fills, for tests."""

from digideep.environment.explorer import Explorer
from digideep.memory.generic import Memory
from digideep.memory.priorities import Priorities
from digideep.parameters.component import describe
from digideep.parameters.schedule import Linear
from digideep.pipeline.runner import Runner
from params import dqn_classic

cpanel = dqn_classic.cpanel | {
    "demo_workers": 3,
    "demo_steps": 4,
    "demo_chunks": 3,
    "demo_kwargs": {},
    "shares": {"demo": describe(Linear, start=0.5, end=0.1)},
    "is_forgetful": False,
}


class Collecting(Runner):
    """Runs the explorer "demo" before each cycle."""

    def train_cycle(self):
        self.collect("demo")
        super().train_cycle()


class Forgetful(Collecting):
    """Begins anew with the explorer "demo" where it is resumed."""

    def restore_explorers(self, state, environment):
        demo = self.explorer.pop("demo")
        super().restore_explorers(state, environment)
        self.explorer["demo"] = demo


def gen_params(cpanel):
    tree = dqn_classic.gen_params(cpanel)
    tree["runner"] |= {"class": Forgetful if cpanel["is_forgetful"] else Collecting}
    tree["memory"] = {
        "train": tree["memory"],
        "demo": describe(Memory, chunk_sample_len=cpanel["demo_steps"], buffer_chunk_len=cpanel["demo_chunks"]),
    }
    tree["explorer"]["demo"] = describe(
        Explorer, num_workers=cpanel["demo_workers"], n_steps=cpanel["demo_steps"], deterministic=True, memory="demo",
        num_processes=cpanel["num_processes"], extra_env_kwargs=cpanel["demo_kwargs"],
    )  # fmt: skip
    priorities = describe(Priorities)
    own = {"shares": cpanel["shares"], "priorities": {"train": priorities, "demo": priorities}}
    tree["agents"]["agent"]["sampler"] |= own if cpanel["prioritized"] else own | {"priorities": None}
    return tree
