"""PQN on classic control: CartPole-v1 by default. `python main.py --params params/pqn_classic.py`"""

from digideep.agent.pqn import PQN
from digideep.memory.sampler import NewestChunk
from digideep.parameters.component import describe
from digideep.parameters.schedule import Linear
from digideep.policy.discrete import GreedyActionValues
from params import networks, shared

cpanel = shared.session_panel() | {
    "model_name": "CartPole-v1",
    "total_frames": 507_904,  # of the run; at least
    "epoch_frames": 20_480,  # of an epoch, after which figures are written; about
    "memory_size_in_chunks": 1,  # the newest chunk only
    # The authors' configuration for CartPole-v1 and Acrobot-v1 (purejaxql, config/alg/pqn_cartpole.yaml). They multiply
    # rewards by 0.1
    "num_workers": 32,  # environments
    "n_steps": 64,  # of each environment in a cycle
    "n_update": 4,  # epochs over a chunk
    "num_mini_batches": 16,
    "gamma": 0.99,
    "gae_lambda": 0.95,  # lambda of the returns
    "epsilon_start": 1.0,
    "epsilon_end": 0.2,
    "epsilon_frames": 100_000,  # over which exploration falls from start to end
    "lr": 1e-4,
    "anneal_lr": True,  # to 0 over the run
    "max_grad_norm": 10.0,
    "recompute_advantages": False,  # estimate returns anew with each epoch
    "network": "layer_norm",  # or mlp, batch_renorm, simba
    "hidden_sizes": [256, 256],
}


def gen_params(cpanel):
    """Return the parameter tree of a run."""
    ends = {"start": cpanel["epsilon_start"], "end": cpanel["epsilon_end"], "duration": cpanel["epsilon_frames"]}
    agent = shared.describe_from(
        cpanel,
        PQN,
        policy=networks.describe_policy(cpanel, GreedyActionValues),
        sampler=describe(NewestChunk),
        epsilon=describe(Linear, **ends),
        lr=shared.annealed(cpanel, "lr"),
    )
    return shared.run_tree(cpanel, agent)
