"""SAC that learns from its own steps and from a demonstrator's: docs/several.md. `digideep train params.sac_demo`"""

import numpy as np

from digideep.agent.scripted import ScriptedAgent
from digideep.environment.explorer import Explorer
from digideep.memory.generic import Memory
from digideep.parameters.component import describe
from digideep.parameters.schedule import Linear
from digideep.pipeline.runner import Runner
from params import sac_classic, shared

cpanel = sac_classic.cpanel | {
    "model_name": "Reach-v0",
    "from_module": "digideep.environment.reach",
    "players": {"agent": ["agent"], "demonstrator": ["demonstrator"]},  # agent -> entries of the action
    "total_frames": 15_000,
    "epoch_frames": 1500,
    "num_workers": 4,
    "warm_start": 1000,
    "gradient_steps_per_frame": 0.5,
    "gamma": 0.95,
    "alpha": 0.003,  # small, and fixed: a reward comes once, at the end of an episode, which also ends the entropy's
    "automatic_entropy_tuning": False,
    "hidden_sizes": [64, 64],
    "test_win_size": 50,
    "demo_share": 0.5,  # of each batch that comes from the demonstrator; falls to 0 over the run
    "demo_chunks": 100,  # to collect at the beginning
    "demo_steps": 20,  # of each environment in a chunk
}


class Demonstrator(ScriptedAgent):
    """Goes straight to the goal, with a hand that trembles: it is pushed aside at random, and comes back slowly."""

    def reset_hidden_state(self, num_workers):
        return {"push": np.zeros((num_workers, 2)), "steps": np.zeros(num_workers, np.int64)}

    def action_generator(self, observations, hidden_state, masks, deterministic):
        way = observations["/agent"][:, 2:] - observations["/agent"][:, :2]
        push = 0.8 * hidden_state["push"]
        if not deterministic:
            push += 0.2 * self.numpy_generator.standard_normal(push.shape)
        actions = np.clip(10 * way + push, -1, 1).astype(np.float32)
        return {"actions": actions, "hidden_state": {"push": push, "steps": hidden_state["steps"] + 1}}


class DemoRunner(Runner):
    """Collects demonstrations beside the loop, until there are enough."""

    def __init__(self, session, tree, *, demo_chunks: int, **parameters):
        self.demo_chunks = demo_chunks
        super().__init__(session, tree, **parameters)

    def train_cycle(self):
        if self.memories["demo"].ring.n_chunks < self.demo_chunks:
            self.collect("demo")
        super().train_cycle()

    def keep(self, name, chunk):
        # The demonstrator has moved the hand: what it did is what the agent learns from.
        super().keep(name, chunk | {"/agents/agent/actions": chunk["/agents/demonstrator/actions"]})


def gen_params(cpanel):
    """Return the parameter tree of a run."""
    tree = sac_classic.gen_params(cpanel)
    steps, chunks = cpanel["demo_steps"], cpanel["demo_chunks"]
    tree["runner"] |= {"class": DemoRunner, "demo_chunks": chunks}
    tree["memory"] = {
        "train": tree["memory"],
        "demo": describe(Memory, chunk_sample_len=steps, buffer_chunk_len=chunks),
    }
    tree["explorer"]["demo"] = shared.describe_from(
        cpanel, Explorer, n_steps=steps, memory="demo", extra_env_kwargs={"demo": True}, warm_start=0, overlap=False
    )
    learner = tree["agents"]["agent"]
    learner["sampler"] |= {"shares": {"demo": describe(Linear, start=cpanel["demo_share"], end=0.0)}}
    tree["agents"] = {"agent": learner, "demonstrator": describe(Demonstrator)}
    return tree
