"""What parameter files share: the trees of environment, explorers, memory and runner, written once.

Each function reads what it needs from the control panel. A key with the name of a component's parameter is that one.
"""

from collections.abc import Sequence
from typing import Any

from digideep.environment.explorer import Explorer
from digideep.environment.making.atari import Atari
from digideep.environment.making.make_environment import EnvironmentSpec
from digideep.environment.making.registration import module_name
from digideep.environment.normalizers import VecNormalizeObs, VecNormalizeReward, VecSignReward
from digideep.environment.novelty import VecNovelty
from digideep.memory.generic import Memory
from digideep.memory.hindsight import Hindsight
from digideep.memory.priorities import Priorities
from digideep.memory.replay import Replay
from digideep.memory.sampler import NewestChunk, NewestSequences
from digideep.memory.sequences import SequenceReplay
from digideep.parameters.checks import require, require_int
from digideep.parameters.component import Component, Description, describe, parameters_of
from digideep.parameters.schedule import Linear
from digideep.parameters.sizes import memory_chunks, num_ranks, plan_parameters
from digideep.pipeline.ahead import AheadExplorer
from digideep.policy.encoders import Fusion, ImpalaResNet, NatureCNN
from digideep.policy.pixel_encoders import DrQCNN
from digideep.policy.stochastic import RecurrentPolicy, StochasticPolicy
from digideep.utility.errors import UsageError
from params import demonstrations

Panel = dict[str, Any]
Tree = dict[str, Any]
_ENCODERS = {"nature": NatureCNN, "impala": ImpalaResNet, "drq": DrQCNN}


def describe_from(cpanel: Panel, cls: type[Component], **parameters: Any) -> Description:
    """Describe a component by those of its parameters that the panel has keys for.

    Args:
        cpanel: the control panel.
        cls: the component.
        parameters: further ones, which take the place of what the panel says; it is not asked for them.

    Raises:
        UsageError: see `describe`.
    """
    named = {name: cpanel[name] for name in parameters_of(cls) if name not in parameters and name in cpanel}
    return describe(cls, **named, **parameters)


def run_tree(cpanel: Panel, agent: Description) -> Tree:
    """Return the parameter tree of a run. Args: agent: described; "players" of the panel has one for each name."""
    return {
        "runner": describe(demonstrations.runner_class(cpanel), **runner_parameters(cpanel)),
        "env": environment_tree(cpanel),
        "explorer": explorer_tree(cpanel),
        "memory": memory_tree(cpanel),
        "agents": dict.fromkeys(cpanel.get("players") or ["agent"], demonstrations.pretrained(cpanel, agent)),
    }


def session_panel() -> Panel:
    """Return the keys of every control panel that say how a run goes, not what it learns."""
    return {
        "seed": 0,
        "cuda_deterministic": False,  # slower, but runs on CUDA repeat themselves
        "from_module": None,  # a module, or a .py file here, that registers the environment when it is imported
        "from_params": None,  # or arguments of gymnasium's register: {"id": …, "entry_point": "module.Class", …}
        "env_kwargs": {},  # keyword arguments of the environment
        "test_env_kwargs": {},  # further ones in tests and when playing
        "players": None,  # agent -> the entries that it has of an action that is a Dict or a Tuple: paths or patterns
        "info_keys": [],  # what is kept of the environment's info, as /infos/<key>
        "episode_infos": {},  # what is logged of each episode's info: key -> sum, mean or last
        "rnd_coef": 0.0,  # weight of a reward for what is new, besides the task's: random network distillation
        "tell_progress": False,  # reset with options={"progress": share of the frames that are done}: for a curriculum
        "observation_path": None,  # which observation the agent sees, or a list of them; null for all there are
        "critic_observation_path": None,  # likewise what critics see while they learn, which the actor may not
        "channel_axis": None,  # of images, first or last; null takes the smaller end
        "number_epochs": None,  # a number of epochs instead of total_frames
        "epoch_size": None,  # cycles of an epoch instead of epoch_frames
        "target_return": None,  # mean return of a test at which the run is finished
        "target_success": None,  # likewise, the share of its episodes that succeed
        "patience": None,  # tests in a row without a better one after which the run is finished
        "test_activate": True,
        "test_interval": 10,  # epochs
        "test_win_size": 10,  # episodes of a test
        "save_interval": 5,  # epochs
        "keep_checkpoints": 5,  # newest ones to keep; null keeps all
        "histogram_interval": 10,  # epochs; of weights and gradients, with --tensorboard; null for none
        "video_interval": None,  # epochs from one recorded episode to the next; null records none
        "max_exec_time": None,  # hours; null sets no limit
        "max_exec_iter": None,  # epochs of one process; null sets no limit
        "num_threads": 1,  # of torch: one is fastest for small networks
        "num_ranks": None,  # processes that torchrun starts; null takes as many as there are
        "rank_timeout_s": 40.0,  # what one step may take in a rank before it counts as hanging
        "averaging_interval": 1,  # gradient steps that ranks take alone; 1 adds up the gradients of each
        "num_processes": 0,  # of workers; 0 steps them in the main process, best for cheap ones; null chooses
        "worker_timeout_s": 300.0,  # what one step may take in a worker process before it counts as hanging
        "backend": "gymnasium",  # of training and tests; ale and envpool are faster, but do not resume exactly
        "compile": "auto",  # of gradient steps: auto, on or off
        **demonstrations.data_panel(),
    }


def runner_parameters(cpanel: Panel) -> dict[str, Any]:
    """Return the parameters of a Runner."""
    return {
        **plan_parameters(cpanel),
        "num_ranks": num_ranks(cpanel),
        "rank_timeout_s": cpanel["rank_timeout_s"],
        "target_return": cpanel["target_return"],
        "target_success": cpanel["target_success"],
        "patience": cpanel["patience"],
        "seed": cpanel["seed"],
        "test_act": cpanel["test_activate"],
        "test_int": cpanel["test_interval"],
        "save_int": cpanel["save_interval"],
        "keep_checkpoints": cpanel["keep_checkpoints"],
        "histogram_int": cpanel["histogram_interval"],
        "video_int": cpanel["video_interval"],
        "max_time": cpanel["max_exec_time"],
        "max_iter": cpanel["max_exec_iter"],
        "num_threads": cpanel["num_threads"],
        "cuda_deterministic": cpanel["cuda_deterministic"],
    }


def environment_tree(
    cpanel: Panel, vect_wrappers: Sequence[Description] | None = None, norm_wrappers: Sequence[Description] = ()
) -> Description:
    """Describe the environment that all explorers run; a panel with "players" says which agent plays which of them.

    Args:
        cpanel: the control panel.
        vect_wrappers: around the workers of an explorer: subclasses of `VectorWrapper`, innermost first; None for
            those that the panel asks for.
        norm_wrappers: around each environment, from `describe_wrapper`, innermost first.
    """
    players = {"players": cpanel["players"]} if cpanel.get("players") else {}
    return describe(
        EnvironmentSpec,
        name=cpanel["model_name"],
        kwargs=cpanel["env_kwargs"],
        from_module=module_name(cpanel["from_module"]),
        from_params=cpanel["from_params"],
        info_keys=_info_keys(cpanel),
        episode_infos=cpanel["episode_infos"],
        tell_progress=cpanel["tell_progress"],
        norm_wrappers=list(norm_wrappers),
        vect_wrappers=_vect_wrappers(cpanel) if vect_wrappers is None else list(vect_wrappers),
        **players,
    )


def _vect_wrappers(cpanel: Panel) -> list[Description]:
    """Describe those that the panel asks for; not every panel has the keys."""
    wrappers = [describe(VecSignReward)] if cpanel.get("reward_clipping", False) else []
    if cpanel.get("normalize_observations", False):
        wrappers.append(describe(VecNormalizeObs, clip=10.0))
    if cpanel.get("normalize_rewards", False):
        wrappers.append(describe(VecNormalizeReward, gamma=cpanel["gamma"], clip=10.0))
    if cpanel.get("rnd_coef", 0.0):
        require(not cpanel.get("offline", False), "rnd_coef", cpanel["rnd_coef"], "0 where offline is true")
        wrappers.append(describe(VecNovelty, rnd_coef=cpanel["rnd_coef"], gamma=cpanel["gamma"]))
    return wrappers


def _info_keys(cpanel: Panel) -> list[str]:
    """Return the panel's keys, and the action mask if the agent uses one."""
    keys = list(cpanel["info_keys"])
    is_missing = cpanel.get("use_action_mask", False) and "action_mask" not in keys
    return [*keys, "action_mask"] if is_missing else keys


def explorer_tree(cpanel: Panel) -> dict[str, Description]:
    """Describe the explorers: "train" steps as the panel says, "test" and "eval" run episodes without exploration."""
    for key in ("num_workers", "test_win_size"):
        require_int(key, cpanel[key], 1)
    workers, episodes = cpanel["num_workers"], cpanel["test_win_size"]
    processes, patience = cpanel["num_processes"], cpanel["worker_timeout_s"]
    whole = {"deterministic": True, "do_reset": True, "keep_trajectory": False}
    whole["extra_env_kwargs"] = cpanel["test_env_kwargs"]
    return {
        "train": describe_from(cpanel, AheadExplorer if cpanel.get("ahead", False) else Explorer),
        "test": describe(
            Explorer, num_workers=min(workers, episodes), num_processes=processes and min(processes, workers, episodes),
            n_episodes=episodes, backend=cpanel["backend"], worker_timeout_s=patience, **whole,
        ),
        "eval": describe(Explorer, num_workers=1, n_episodes=1, worker_timeout_s=patience, **whole),
    }  # fmt: skip


def memory_tree(cpanel: Panel, **parameters: Any) -> Tree:
    """Describe the memory, which takes the train explorer's chunks; with a data set, that of demonstrations too.

    Args:
        cpanel: the control panel.
        parameters: further ones of the memories.
    """
    train = describe(Memory, chunk_sample_len=cpanel["n_steps"], buffer_chunk_len=memory_chunks(cpanel),
                     on_disk=cpanel.get("memory_on_disk", False), **parameters)  # fmt: skip
    return demonstrations.memories(cpanel, train)


def annealed(cpanel: Panel, key: str) -> float | Description:
    """Return a number of the panel, or a line from it to 0 over the run where "anneal_<key>" says so.

    Raises:
        UsageError: if that should begin at a schedule.
    """
    if cpanel[f"anneal_{key}"] and isinstance(cpanel[key], dict):
        raise UsageError(f"{key} is a schedule already. Set anneal_{key} to false.")
    return describe(Linear, start=cpanel[key], end=0.0) if cpanel[f"anneal_{key}"] else cpanel[key]


def recurrence_panel() -> Panel:
    """Return the keys of the control panels of methods whose policy may remember, see docs/recurrence.md."""
    return {
        "recurrent": False,  # the policy remembers
        "cell": "gru",  # or lstm
        "core_size": 64,  # units of the cell
        "share_core": False,  # one core for actor and critic: half the cost
        "sequence_length": None,  # rows that gradients reach back; null takes all of a worker's n_steps
    }


def encoder_parameters(cpanel: Panel) -> dict[str, Description]:
    """Return the parameter `encoder` of a policy, where the panel says something of images; nothing otherwise.

    Raises:
        UsageError: if there is no such encoder.
    """
    if "encoder" in cpanel:
        require(cpanel["encoder"] in list(_ENCODERS), "encoder", cpanel["encoder"], "nature, impala or drq")
        return {"encoder": describe_from(cpanel, _ENCODERS[cpanel["encoder"]])}
    return {} if cpanel["channel_axis"] is None else {"encoder": describe_from(cpanel, Fusion)}


def stochastic_policy(cpanel: Panel) -> Description:
    """Describe the policy of an on-policy method. A recurrent one has its core in the place of the last layer."""
    own = encoder_parameters(cpanel)
    layers, is_shared = cpanel["hidden_sizes"][:-1], cpanel["share_core"]
    recurrent = describe_from(cpanel, RecurrentPolicy, hidden_sizes=layers, is_shared=is_shared, **own)
    return recurrent if cpanel["recurrent"] else describe_from(cpanel, StochasticPolicy, **own)


def newest_sampler(cpanel: Panel) -> Description:
    """Describe what an on-policy method learns from: the newest chunk; for a recurrent policy in sequences.

    Raises:
        UsageError: if there are fewer sequences than minibatches.
    """
    length, steps, workers = cpanel["sequence_length"], cpanel["n_steps"], cpanel["num_workers"]
    if not cpanel["recurrent"]:
        return describe(NewestChunk)
    sampler = describe(NewestSequences, sequence_length=length)
    if length is not None:
        require_int("sequence_length", length, 1)
    sequences = workers * -(-steps // min(length or steps, steps))
    if sequences < cpanel["num_mini_batches"]:
        raise UsageError(
            f"num_mini_batches must be at most the number of sequences, {workers} workers x "
            f"{sequences // workers} = {sequences}, got {cpanel['num_mini_batches']}. Lower it or sequence_length."
        )
    return sampler


def replay_panel() -> Panel:
    """Return the keys of the control panels of replay methods that say how they go, not what they learn."""
    return session_panel() | {
        **demonstrations.replay_data_panel(),
        "recurrent": False,  # DQN, QR-DQN, SAC, TQC and CrossQ can be
        "memory_size_in_chunks": None,  # chunks that the memory holds, instead of memory_size
        "memory_on_disk": False,  # true keeps the memory in files instead of RAM
        "overlap": False,  # true simulates a step while agents learn; its actions know nothing of that learning
        "precision": "fp32",  # bf16 learns faster on networks of 256 and more where the processor has it
        "network": "mlp",  # of all networks; or layer_norm, batch_renorm, simba
    }


def replay_sampler(cpanel: Panel) -> Description:
    """Describe what a replay method draws, and how often. The first gradient step follows the random warm start.

    Raises:
        UsageError: if the memory cannot hold a batch.
    """
    for key in ("num_workers", "n_steps"):
        require_int(key, cpanel[key], 1)
    size = memory_chunks(cpanel) * cpanel["n_steps"] * cpanel["num_workers"] * num_ranks(cpanel)
    if size < cpanel["batch_size"]:
        raise UsageError(
            f"memory_size must hold at least one batch ({cpanel['batch_size']} transitions), got {size}. Raise it or "
            "lower batch_size."
        )
    priorities = describe(Priorities) if cpanel.get("prioritized", False) else None
    starts = 0 if demonstrations.is_offline(cpanel) else max(cpanel["warm_start"], cpanel["batch_size"])
    is_relabelled = cpanel.get("hindsight", False)
    require(isinstance(is_relabelled, bool), "hindsight", is_relabelled, "true or false")
    # A panel that says false may have its keys; alone they mean nothing.
    relabelling = describe_from(cpanel, Hindsight) if "hindsight" in cpanel else None
    parameters = {"learning_starts": starts, "priorities": priorities, **demonstrations.shares(cpanel)}
    parameters["hindsight"] = relabelling if is_relabelled else None
    # Asked of the keys, since `in` would count as reading them.
    kinds = (Replay, SequenceReplay) if cpanel.keys() >= {"sequence_length", "burn_in"} else (Replay,)
    return [describe_from(cpanel, kind, **parameters) for kind in kinds][-1 if cpanel["recurrent"] else 0]


def atari_panel() -> Panel:
    """Return the keys of the control panels of Atari games that say what is seen and played; see `Atari`."""
    return {
        "model_name": "ALE/Pong-v5",
        "observation_path": "/agent",  # the frames
        "backend": "ale",  # gymnasium resumes exactly, at three quarters of the speed
        # Mnih et al. 2015. Machado et al. 2018 recommend sticky actions (0.25), no end at a lost life, all 18 actions
        "repeat_action_probability": 0.0,
        "terminal_on_life_loss": True,
        "full_action_space": False,
        "frame_skip": 4,
        "noop_max": 30,
        "fire_on_reset": False,
        "screen_size": 84,
        "grayscale": True,
        "frame_stack": 4,
        "reward_clipping": True,  # the learner sees the sign only; what is logged is raw
        "encoder": "nature",  # or impala, better and slower
        "precision": "fp32",  # of the encoder; bf16 is up to twice as fast where the processor has it
        "hidden_sizes": [],  # layers behind the encoder
        "num_threads": 2,  # convolutions gain from each core
        "save_interval": 10,
    }


def atari_tree(cpanel: Panel) -> Description:
    """Describe the environment of an Atari game."""
    # A seed costs about as much as 100 steps.
    return environment_tree(cpanel) | {"atari": describe_from(cpanel, Atari), "steps_per_seed": 5_000}
