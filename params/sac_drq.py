"""SAC on dm_control from pixels (DrQ): cheetah run by default. `python main.py --params params/sac_drq.py`

Needs `pip install 'digideep[dmc]'`, and a library that draws; see docs/pixels.md.
"""

from params import dmc, sac_classic

cpanel = (
    sac_classic.cpanel
    | dmc.panel()
    | {
        "total_frames": 125_000,  # pictures of the run, at least: 500,000 control steps
        "epoch_frames": 5000,
        "test_interval": 2,
        # Kostrikov et al. 2020, arXiv:2004.13649, and the authors' code: everything from here on
        "from_pixels": True,
        "frame_skip": 4,
        "memory_size": 100_000,  # 2.1 GB
        "warm_start": 1000,
        "batch_size": 512,  # 128, the default of that code, works too
        "random_shift": 4,  # pixels
        "polyak_factor": 0.01,
        "target_update_interval": 2,
        "alpha": 0.1,
        "encoder": "drq",  # or nature, impala
        "shared_features": 50,  # that actor and critics make of what one encoder sees
        "hidden_sizes": [1024, 1024],
        "num_threads": 2,  # convolutions gain from each core
    }
)


def gen_params(cpanel):
    """Return the parameter tree of a run."""
    tree = sac_classic.gen_params(cpanel)
    return tree | {"env": dmc.environment(cpanel), "memory": dmc.memory(cpanel)}
