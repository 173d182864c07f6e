"""SAC on MuJoCo tasks: HalfCheetah-v5 by default. `python main.py --params params/sac_mujoco.py`"""

from params import sac_classic

cpanel = sac_classic.cpanel | {
    "model_name": "HalfCheetah-v5",
    "total_frames": 1_000_000,
    "epoch_frames": 5000,
    "test_interval": 2,
    # Spinning Up's and Tianshou's SAC: alpha (tuned here), and sac_classic.py's lr. CleanRL's: random actions
    "warm_start": 5000,
    "alpha": 0.2,
}
gen_params = sac_classic.gen_params
