"""CrossQ on MuJoCo tasks: HalfCheetah-v5 by default. `python main.py --params params/crossq_mujoco.py`

With critics of 256 units it is twelve times as fast: `--set critic_hidden_sizes='[256, 256]'`.
"""

from params import crossq_classic, sac_mujoco

cpanel = (
    crossq_classic.cpanel
    | sac_mujoco.cpanel
    | {
        # Bhatt et al. 2024, arXiv:1902.05605, Table 2: width of the critics, delay, beta1, learning rates
        "network": "batch_renorm",
        "critic_hidden_sizes": [2048, 2048],
        "polyak_factor": None,
        "policy_delay": 3,
        "beta1": 0.5,
        "alpha": 1.0,
    }
)
gen_params = crossq_classic.gen_params
