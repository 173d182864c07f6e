"""What recipes share about data sets: in which memory one lies, and who learns from it. See docs/demonstrations.md."""

from typing import Any

from digideep.agent.behaviour_cloning import BehaviourCloning
from digideep.environment.datasets import MinariData
from digideep.memory.generic import Memory
from digideep.memory.replay import Replay
from digideep.parameters.component import Description, describe
from digideep.pipeline.offline import OfflineRunner
from digideep.pipeline.runner import Runner
from digideep.utility.errors import UsageError

_CHUNK = 100  # steps of a chunk of the memory "demo", which no explorer fills


def data_panel() -> dict[str, Any]:
    """Return the keys of every control panel that say what is learned from a data set."""
    return {
        "dataset": None,  # a directory, or the id of one of Minari's: demonstrations, in a memory of their own
        "bc_steps": 0,  # gradient steps of behaviour cloning before the first frame
        "bc_batch_size": 256,  # recorded transitions of one of these steps
        "bc_lr": 1e-3,  # learning rate of these steps
    }


def replay_data_panel() -> dict[str, Any]:
    """Return further keys, of replay methods."""
    return {
        "dataset_share": 0.0,  # of each batch that comes from the data set; a number or a schedule over gradient steps
        "offline": False,  # true learns from the data set alone: no environment is stepped but in tests
    }


def is_offline(cpanel: dict[str, Any]) -> bool:
    """True if a panel wants to learn from a data set alone. Raises: UsageError: for keys that contradict each other."""
    offline, share = cpanel.get("offline", False), cpanel.get("dataset_share", 0.0)
    given = {"offline": offline, "bc_steps": cpanel["bc_steps"], "dataset_share": share}
    if cpanel["dataset"] is None:
        for key, value in given.items():
            if value:
                raise UsageError(f"{key}={value} needs a data set to learn from: give dataset, or leave it out.")
    elif not any(given.values()):
        other = ", dataset_share or offline" if "offline" in cpanel else ""
        raise UsageError(f"dataset is given, and nothing learns from it. Set bc_steps{other}, or leave it out.")
    if offline and share:
        raise UsageError("offline learns from the data set alone: leave dataset_share at 0.")
    return bool(offline)


def runner_class(cpanel: dict[str, Any]) -> type[Runner]:
    """Return what turns the loop."""
    return OfflineRunner if is_offline(cpanel) else Runner


def memories(cpanel: dict[str, Any], train: Description) -> dict[str, Any]:
    """Return the memory of a run, or several by name. Args: train: that of the train explorer."""
    if cpanel["dataset"] is None:
        return train
    data = describe(MinariData, dataset=cpanel["dataset"])
    if is_offline(cpanel):
        return train | {"buffer_chunk_len": None, "data": data}
    on_disk = cpanel.get("memory_on_disk", False)
    demo = describe(Memory, chunk_sample_len=_CHUNK, buffer_chunk_len=None, on_disk=on_disk, data=data)
    return {"train": train, "demo": demo | {key: train[key] for key in ("stacks",) if key in train}}


def pretrained(cpanel: dict[str, Any], agent: Description) -> Description:
    """Return an agent that begins with behaviour cloning, where the panel says so."""
    steps, size, lr = (cpanel[f"bc_{key}"] for key in ("steps", "batch_size", "lr"))
    if not steps:
        return agent
    memory = "train" if is_offline(cpanel) else "demo"
    cloning = describe(BehaviourCloning, steps=steps, sampler=describe(Replay, batch_size=size), memory=memory, lr=lr)
    return agent | {"pretraining": cloning}


def shares(cpanel: dict[str, Any]) -> dict[str, Any]:
    """Return the parameter `shares` of a `Replay`, where the panel says so; nothing otherwise."""
    return {"shares": {"demo": cpanel["dataset_share"]}} if cpanel["dataset_share"] else {}
