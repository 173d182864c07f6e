"""SAC with hindsight on Fetch robots: FetchReach-v4 by default. `python main.py --params params/sac_fetch.py`

Needs `pip install 'digideep[robotics]'`. docs/hindsight.md has the command for FetchPush-v4.
"""

from params import sac_classic

cpanel = sac_classic.cpanel | {
    "model_name": "FetchReach-v4",
    "observation_path": ["/observation", "/desired_goal"],  # what was achieved stands in the observation
    "total_frames": 20_000,
    "test_interval": 2,
    "test_win_size": 20,
    # Andrychowicz et al. 2017, arXiv:1707.01495, Section 4.5: strategy and k
    "hindsight": True,
    "goal_strategy": "future",
    "num_sampled_goals": 4,
    # RL-Zoo's SAC with HER for FetchReach: batch, lr, size of memory, random start, gamma. Differs: it normalises
    # observations
    "warm_start": 1000,
    "gamma": 0.95,
}
gen_params = sac_classic.gen_params
