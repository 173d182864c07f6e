"""PPO on dm_control: cheetah run by default. `python main.py --params params/ppo_dmc.py`"""

from params import dmc, ppo_mujoco

cpanel = ppo_mujoco.cpanel | dmc.panel() | {"gae_lambda": 0.95}  # Schulman et al. 2017, Table 3


def gen_params(cpanel):
    """Return the parameter tree of a run."""
    return ppo_mujoco.gen_params(cpanel) | {"env": dmc.environment(cpanel)}
