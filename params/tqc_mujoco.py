"""TQC on MuJoCo tasks: HalfCheetah-v5 by default. `python main.py --params params/tqc_mujoco.py`"""

from params import sac_mujoco, tqc_classic

cpanel = (
    tqc_classic.cpanel
    | sac_mujoco.cpanel
    | {
        # Kuznetsov et al. 2020, arXiv:2005.04269, Table 3: 0 for HalfCheetah, 5 for Hopper, 2 for the others
        "dropped_quantiles": 0,
        "critic_outputs": 25,
    }
)
gen_params = tqc_classic.gen_params
