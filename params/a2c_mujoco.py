"""A2C on MuJoCo tasks: HalfCheetah-v5 by default. `python main.py --params params/a2c_mujoco.py`"""

from params import a2c_classic

cpanel = a2c_classic.cpanel | {
    "model_name": "HalfCheetah-v5",
    "total_frames": 1_003_520,
    # Tianshou's A2C for MuJoCo: 16 environments of 5 steps, lambda, entropy bonus, normalisation, spread of actions
    "num_workers": 16,
    "gae_lambda": 0.95,
    "entropy_coef": 0.01,
    "normalize_observations": True,
    "normalize_rewards": True,
    "log_std_init": -0.5,
}
gen_params = a2c_classic.gen_params
