"""SAC on dm_control: cheetah run by default. `python main.py --params params/sac_dmc.py`"""

from params import dmc, sac_mujoco

cpanel = (
    sac_mujoco.cpanel
    | dmc.panel()
    | {
        # Haarnoja et al. 2018, arXiv:1812.05905, Table 1: lr
        "lr_actor": 3e-4,
        "lr_critic": 3e-4,
        "lr_alpha": 3e-4,
        "alpha": 0.1,  # rewards are at most 1 a step, and 0.2 would drown them
    }
)


def gen_params(cpanel):
    """Return the parameter tree of a run."""
    return sac_mujoco.gen_params(cpanel) | {
        "env": dmc.environment(cpanel),
        "memory": dmc.memory(cpanel),
    }
