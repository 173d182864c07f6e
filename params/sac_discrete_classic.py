"""Discrete SAC on classic control: CartPole-v1 by default. `python main.py --params params/sac_discrete_classic.py`"""

from digideep.agent.sac_discrete import DiscreteSAC
from digideep.policy.discrete import CategoricalPolicy
from params import sac_classic

_OF_MEMORY = ("cell", "core_size", "sequence_length", "burn_in")  # of a policy that remembers
cpanel = {key: value for key, value in sac_classic.cpanel.items() if key not in _OF_MEMORY} | {
    "model_name": "CartPole-v1",
    "total_frames": 50_000,
    "num_workers": 4,
    "n_steps": 4,
    # DQN's of dqn_classic.py: random start, batch. SAC's of sac_classic.py: replay ratio, rates; with half the ratio,
    # rates of 3e-4 and polyak_factor 0.005, CartPole stays at 250. Christodoulou 2019, arXiv:1910.07207, Table 3, has
    # them for Atari
    "warm_start": 1000,
    "batch_size": 128,
    "polyak_factor": 0.01,
    "target_entropy_ratio": 0.3,  # of the largest entropy; with the paper's 0.98 actions stay nearly random
    "use_action_mask": False,  # choose only what info["action_mask"] allows
}


def gen_params(cpanel):
    """Return the parameter tree of a run."""
    return sac_classic.gen_params(cpanel, DiscreteSAC, [CategoricalPolicy])
