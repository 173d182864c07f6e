"""REDQ on MuJoCo tasks: SAC with ten critics and twenty gradient steps a frame; HalfCheetah-v5 by default.

`python main.py --params params/redq_mujoco.py`
"""

from params import sac_mujoco

cpanel = sac_mujoco.cpanel | {
    # Chen et al. 2021, arXiv:2101.05982, Table 2 and Algorithm 1
    "num_critics": 10,
    "num_target_critics": 2,
    "gradient_steps_per_frame": 20.0,
    "policy_delay": 20,
    "lr_actor": 3e-4,
    "lr_critic": 3e-4,
    "lr_alpha": 3e-4,
    "alpha": 1.0,
    "total_frames": 125_000,
}
gen_params = sac_mujoco.gen_params
