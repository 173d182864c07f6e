"""DrQ-v2 on dm_control from pixels: cheetah run by default. `python main.py --params params/ddpg_drqv2.py`

Needs `pip install 'digideep[dmc]'`, and a library that draws; see docs/pixels.md.
"""

from digideep.agent.drqv2 import DrQv2
from digideep.parameters.component import describe
from digideep.parameters.schedule import Linear
from digideep.policy.continuous import DeterministicPolicy
from params import dmc, networks, shared

cpanel = (
    shared.replay_panel()
    | dmc.panel()
    | {
        "total_frames": 500_000,  # pictures of the run, at least: 1 million control steps
        "epoch_frames": 5000,  # of an epoch, after which figures are written; about
        "num_workers": 1,  # environments
        "n_steps": 2,  # of each environment in a cycle
        "test_interval": 2,
        # Yarats et al. 2021, arXiv:2107.09645, Table 1, and the authors' code: everything from here on; differs:
        # memory_size (1,000,000 there, 21.3 GB; this is the whole run, 10.7 GB)
        "from_pixels": True,
        "frame_skip": 2,
        "memory_size": 500_000,  # transitions
        "warm_start": 2000,
        "gradient_steps_per_frame": 0.5,
        "batch_size": 256,  # 512 for walkers
        "n_step_return": 3,  # 1 for walkers
        "random_shift": 4,  # pixels
        "gamma": 0.99,
        "polyak_factor": 0.01,
        "noise_std_start": 1.0,
        "noise_std_end": 0.1,
        "noise_std_frames": 500_000,  # over which it falls: 100,000 for easy tasks, 2 million for hard ones
        "noise_clip": 0.3,
        "lr_actor": 1e-4,
        "lr_critic": 1e-4,
        "encoder": "drq",  # or nature, impala
        "shared_features": 50,  # that actor and critics make of what one encoder sees
        "hidden_sizes": [1024, 1024],
        "num_threads": 2,  # convolutions gain from each core
    }
)


def gen_params(cpanel):
    """Return the parameter tree of a run."""
    std = describe(
        Linear, start=cpanel["noise_std_start"], end=cpanel["noise_std_end"], duration=cpanel["noise_std_frames"]
    )
    policy = networks.describe_policy(cpanel, DeterministicPolicy)
    agent = shared.describe_from(cpanel, DrQv2, policy=policy, sampler=shared.replay_sampler(cpanel), noise_std=std)
    return shared.run_tree(cpanel, agent) | {"env": dmc.environment(cpanel), "memory": dmc.memory(cpanel)}
