"""TD3+BC from a data set, without an environment but in tests: HalfCheetah-v5. `digideep train params.td3_bc`

The data set is Minari's by default, `minari download mujoco/halfcheetah/medium-v0`; or give one of your own.
"""

from params import td3_mujoco

cpanel = td3_mujoco.cpanel | {
    "dataset": "mujoco/halfcheetah/medium-v0",
    "offline": True,
    "total_frames": 1_000_000,  # gradient steps: none is collected
    "epoch_frames": 5000,
    "n_steps": 1000,  # gradient steps of a cycle
    "test_interval": 5,
    # Fujimoto and Gu 2021, arXiv:2106.06860, Table 4: alpha, normalised observations, lr
    "bc_alpha": 2.5,  # weight of the values beside the error of the actions; 0 is behaviour cloning
    "normalize_observations": True,  # by the mean and the spread of the data set
    "lr_actor": 3e-4,
    "lr_critic": 3e-4,
}
gen_params = td3_mujoco.gen_params
