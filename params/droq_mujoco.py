"""DroQ on MuJoCo tasks: SAC with dropout and twenty gradient steps a frame; HalfCheetah-v5 by default.

`python main.py --params params/droq_mujoco.py`
"""

from params import redq_mujoco

cpanel = redq_mujoco.cpanel | {
    # Hiraoka et al. 2022, arXiv:2110.02034, Table 2 and Appendix; dropout 0.01 on Walker2d and Ant, 0.001 on Hopper
    "num_critics": 2,
    "num_target_critics": 2,
    "critic_network": "layer_norm",
    "dropout": 0.01,
}
gen_params = redq_mujoco.gen_params
