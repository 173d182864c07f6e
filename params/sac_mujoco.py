"""SAC on MuJoCo tasks: HalfCheetah-v5 by default. `python main.py --params params/sac_mujoco.py`"""

from params import sac_classic

cpanel = sac_classic.cpanel | {
    "model_name": "HalfCheetah-v5",
    # 200 x 5,000 cycles of one frame: 1,000,000 frames
    "number_epochs": 200,
    "epoch_size": 5000,
    "test_interval": 2,
    # Spinning Up's and Tianshou's SAC: alpha (tuned here), and sac_classic.py's lr. CleanRL's: random actions
    "warm_start": 5000,
    "alpha": 0.2,
}
gen_params = sac_classic.gen_params
