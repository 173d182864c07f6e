"""PPO with several players: three share their parameters in mpe2's simple_spread_v3, by default.

`python main.py --params params/ppo_mpe.py`; see docs/several_agents.md for independent learners and other games.
"""

from params import ppo_classic

cpanel = ppo_classic.cpanel | {
    "model_name": "mpe2/simple_spread_v3",
    # agent -> players, by name or pattern: one each are independent learners, one for several shares its parameters
    "players": {"agent": ["*"]},
    "total_frames": 500_000,  # each of them a step of three players
    "epoch_frames": 20_000,
    "num_workers": 16,
    "n_steps": 125,  # five episodes
    # Epochs, lambda, clip, lr, eps and entropy of the scripts of Yu et al. 2022, arXiv:2103.01955, for simple_spread;
    # their lr stays, this one falls; they have one minibatch, and 20 million frames
    "gamma": 0.95,  # of Lowe et al. 2017, arXiv:1706.02275, for these games; with theirs, 0.99, seeds unlearned here
    "gae_lambda": 0.95,
    "anneal_clip_param": False,
    "lr": 7e-4,
    "entropy_coef": 0.01,
    "normalize_observations": True,
    "normalize_rewards": True,
}
gen_params = ppo_classic.gen_params
