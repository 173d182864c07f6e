"""The control panel: finding a parameter file, and overriding the values that people change."""

import copy
import importlib
import importlib.util
import json
import logging
import sys
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np

from digideep.parameters.checks import shown
from digideep.parameters.suggest import did_you_mean
from digideep.parameters.tree import Tree, like, to_plain
from digideep.utility.errors import UsageError
from digideep.utility.text import one_line
from digideep.utility.user_code import alone, place

Panel = dict[str, Any]

_log = logging.getLogger("digideep")

# What the keys of 2019's digideep, those that have been renamed since, and those of stable-baselines3 and CleanRL are
# called today: the first name that a panel has, and what else there is to say of its value.
_TODAY: dict[str, dict[str, str]] = {
    "tau": {"gae_lambda": "", "polyak_factor": ""},
    "use_gae": {"gae_lambda": ", where 1.0 takes plain returns"},
    "actor_feature_size": {"hidden_sizes": ", a list such as [64, 64]"},
    "hidden_size": {"hidden_sizes": ", a list such as [256, 256]"},
    "use_double": {"is_double": ""},
    "use_dueling": {"is_dueling": ""},
    "lr": {"lr_actor": " and 'lr_critic'"},
    "lr_actor": {"lr": ""},
    "lr_critic": {"lr": ""},
    "lr_value": {"lr_critic": ""},
    "lr_softq": {"lr_critic": ""},
    "n_update": {"gradient_steps_per_frame": ""},
    "batch_size": {"num_mini_batches": ", the number of parts that a chunk is cut into"},
    "num_mini_batches": {"batch_size": ", the number of transitions in a gradient step"},
    "keep_old_checkpoints": {"keep_checkpoints": ", the number of checkpoints to keep, or null for all"},
    "observation_key": {"observation_path": ""},
    "nstack": {"frame_stack": ""},
    "add_frame_stack_axis": {"frame_stack": ", the number of frames"},
    "add_image_transpose": {"channel_axis": ", first or last"},
    "add_vec_normalize": {"normalize_observations": " and 'normalize_rewards'"},
    "total_timesteps": {"total_frames": ""},
    "n_envs": {"num_workers": ""},
    "num_envs": {"num_workers": ""},
    "num_steps": {"n_steps": ""},
    "n_epochs": {"n_update": ""},
    "update_epochs": {"n_update": ""},
    "num_minibatches": {"num_mini_batches": ""},
    "env_id": {"model_name": ""},
    "learning_rate": {"lr": "", "lr_actor": " and 'lr_critic'"},
    "ent_coef": {"entropy_coef": "", "alpha": " and 'automatic_entropy_tuning'"},
    "vf_coef": {"value_loss_coef": ""},
    "clip_range": {"clip_param": ""},
    "clip_coef": {"clip_param": ""},
    "buffer_size": {"memory_size": ""},
    "learning_starts": {"warm_start": ""},
    "gradient_steps": {"gradient_steps_per_frame": ""},
    "target_network_frequency": {"target_update_interval": ""},
    "net_arch": {"hidden_sizes": ", a list such as [64, 64]"},
    "policy_kwargs": {"hidden_sizes": ", and other parameters of the policy have keys of their own"},
    "clip_range_vf": {"use_clipped_value_loss": ", true or false"},
    "clip_vloss": {"use_clipped_value_loss": ""},
    "norm_adv": {"normalize_advantages": ""},
    "normalize_advantage": {"normalize_advantages": ""},
    "n_minibatches": {"num_mini_batches": ""},
    "start_e": {"epsilon_start": ""},
    "end_e": {"epsilon_end": ""},
    "exploration_initial_eps": {"epsilon_start": ""},
    "exploration_final_eps": {"epsilon_end": ""},
    "exploration_fraction": {"epsilon_frames": ", in frames"},
    "train_freq": {"gradient_steps_per_frame": ", gradient steps by frames"},
    "train_frequency": {"gradient_steps_per_frame": ", gradient steps by frames"},
    "policy_noise": {"target_noise_std": ""},
    "target_policy_noise": {"target_noise_std": ""},
    "noise_clip": {"target_noise_clip": ""},
    "target_noise_clip": {"target_noise_clip": ""},
    "exploration_noise": {"noise_std": ""},
    "policy_frequency": {"policy_delay": ""},
    "policy_lr": {"lr_actor": ""},
    "q_lr": {"lr_critic": ""},
    "autotune": {"automatic_entropy_tuning": ""},
    "n_quantiles": {"critic_outputs": ""},
    "top_quantiles_to_drop_per_net": {"dropped_quantiles": ""},
    "n_critics": {"num_critics": ""},
    "q_lambda": {"gae_lambda": ""},
}
# Who reads a name, where nobody does.
_ELSEWHERE = {
    **dict.fromkeys(
        ("hindsight", "goal_strategy", "num_sampled_goals"),
        "It belongs to hindsight=true of replay methods: SAC, TQC, CrossQ, TD3, DDPG, DQN or QR-DQN.",
    ),
    "network": "It belongs to replay methods and PQN. Others have hidden_sizes and activation.",
    **dict.fromkeys(
        ("critic_network", "critic_hidden_sizes", "num_critics", "num_target_critics", "dropout"),
        "It belongs to SAC and what is built on it: TQC, CrossQ, REDQ, DroQ, discrete SAC.",
    ),
    "random_shift": "It belongs to replay methods from pixels: params/dqn_drq.py, sac_drq.py and ddpg_drqv2.py.",
    **dict.fromkeys(
        ("cell", "core_size", "sequence_length", "burn_in"),
        "It belongs to recurrent=true of PPO, A2C, DQN, QR-DQN, SAC, TQC or CrossQ.",
    ),
}
# The parameter files of 2019, in digideep.params or params.
_FILES_OF_2019 = {
    "atari_ppo": "ppo_atari", "mujoco_ppo": "ppo_mujoco", "classic_ddpg": "ddpg_classic",
    "sac_params": "sacv1_classic", "sacv2_params": "sac_classic",
}  # fmt: skip
# What to do instead where a panel has no such name.
_GONE = {
    "track": "Add --wandb or --mlflow.",
    "capture_video": "Set video_interval, in epochs.",
    "cuda": "Add --device cuda, or cpu.",
    "torch_deterministic": "Runs repeat themselves; on CUDA with cuda_deterministic.",
    "agent_type": "The parameter file names the agent's class: take another file.",
    "runner_name": "The parameter file names the Runner's class, under 'runner' in its tree.",
    "eps": "It is the optimizer's parameter: override /agents/agent/optimizer by --repeal.",
    "warm_start": "Override /explorer/train/warm_start by --repeal.",
    **dict.fromkeys(("mean_lambda", "std_lambda", "z_lambda"), "No loss has such a term today."),
    "add_monitor": "Leave it out: episodes are always logged.",
    "add_time_step": "Wrap environments into gymnasium's TimeAwareObservation, by norm_wrappers.",
    "add_frame_stack_axis": "Wrap environments into gymnasium's FrameStackObservation, by norm_wrappers.",
    "nstack": "Wrap environments into gymnasium's FrameStackObservation, by norm_wrappers.",
    "add_vec_normalize": "Put VecNormalizeObs under vect_wrappers in the parameter file.",
    "add_dummy_multi_agent": "Leave it out: nothing takes its place.",
}


@alone()
def load_params(name: str) -> ModuleType:
    """Import a parameter file, which has the dictionary `cpanel` and the function `gen_params(cpanel)`.

    Args:
        name: a path that ends in .py, or a dotted module name.

    Raises:
        UsageError: if it is not there, does not import, or lacks one of the two.
    """
    module = _import_file(Path(name)) if name.endswith(".py") else _import_module(name, name)
    if not is_recipe(module):
        raise UsageError(f"--params {name} must define a dictionary 'cpanel' and a function 'gen_params(cpanel)'.")
    return module


def is_recipe(module: ModuleType) -> bool:
    """True if a module has what a parameter file has."""
    return isinstance(getattr(module, "cpanel", None), dict) and callable(getattr(module, "gen_params", None))


def _import_file(path: Path) -> ModuleType:
    """Import a file under the name that it has seen from here, so that its classes can be found again."""
    if not path.is_file():
        recipe = ".".join(path.with_suffix("").parts)
        is_installed = path.parts[:-1] == ("params",) and importlib.util.find_spec(recipe) is not None
        advice = (
            f"The recipe that came with Digideep is --params {recipe}."
            if is_installed
            else "Give the path of a parameter file or a dotted module name, such as params.ppo_classic."
        )
        raise UsageError(f"--params {path} is not there. {advice}")
    here, place = Path.cwd(), path.resolve()
    if place.is_relative_to(here) and str(here) in sys.path:
        parts = place.relative_to(here).with_suffix("").parts
    else:
        parts = (path.stem,)
        sys.path.insert(0, str(place.parent))
    if not all(part.isidentifier() for part in parts):
        raise UsageError(f"--params {path} is no importable name. Use letters, digits and underscores only.")
    module = _import_module(".".join(parts), str(path))
    found = Path(module.__file__ or "").resolve()
    if found != path.resolve():
        raise UsageError(f"--params {path} has the name of another module, {found}. Rename the file.")
    return module


def _import_module(name: str, given: str) -> ModuleType:
    """Import a module. Args: given: what --params says."""
    try:
        return importlib.import_module(name)
    except UsageError as err:
        raise UsageError(f"--params {given}: {err}") from err
    except ModuleNotFoundError as err:
        advice = f"{place(err)}. Correct the import."
        if f"{name}.".startswith(f"{err.name}."):
            advice = ". Give a path ending in .py, or a module that is on PYTHONPATH."
            if (today := _FILES_OF_2019.get(name.rpartition(".")[2])) is not None:
                advice = f". Today this recipe is params.{today}."
        raise UsageError(f"--params {given} cannot be imported: {err}{advice}") from err
    except Exception as err:
        raise UsageError(f"--params {given} fails when it is imported: {type(err).__name__}: {err}") from err


def override_panel(cpanel: Panel, overrides: Panel) -> Panel:
    """Return a copy of a parameter file's control panel with the values that `--cpanel` gives.

    A key that the panel does not list may be a parameter that the recipe would read: `generate` judges it.

    Raises:
        UsageError: for a key that has another name today, a value of another type than the one it replaces, or one
            that is not plain.
    """
    to_plain(cpanel, "cpanel")  # refuses what could not be written down
    changed = {
        key: value.item() if isinstance(value, np.generic) else copy.deepcopy(value) for key, value in cpanel.items()
    }
    for key, value in overrides.items():
        if key not in cpanel and (key in _TODAY or key in _GONE):
            raise UsageError(f"--cpanel has the unknown key '{key}'. {_advice(key, cpanel)}")
        to_plain({key: value}, "--cpanel")
        changed[key] = like(f"--cpanel '{key}'", value, changed[key]) if key in cpanel else value
    return changed


def _advice(key: str, cpanel: Panel) -> str:
    """Say what to give instead of a key that is not in the panel."""
    for name, remark in _TODAY.get(key, {}).items():
        if name in cpanel:
            return f"Here it is called '{name}'{remark}."
    advice = _GONE.get(key) or _ELSEWHERE.get(key) or did_you_mean(key, cpanel)
    return (
        f"{advice} What else the tree has is set by --repeal, or by --set with its path."
        if advice.startswith("Known")
        else advice
    )


class _WatchedPanel(dict[str, Any]):
    """A control panel that notes which keys are read. Whoever goes through all values reads them all."""

    def __init__(self, values: Panel, read: set[str]):
        super().__init__(values)
        self.read = read

    def __getitem__(self, key: str) -> Any:
        self.read.add(key)
        return super().__getitem__(key)

    def __contains__(self, key: object) -> bool:
        self.read.add(str(key))
        return super().__contains__(key)

    def get(self, key: str, default: Any = None) -> Any:
        self.read.add(key)
        return super().get(key, default)

    def __iter__(self) -> Iterator[str]:  # dict(panel) and {**panel} ask for each key because of it
        return iter(super().keys())

    def items(self) -> Any:
        self.read.update(super().keys())
        return super().items()

    def values(self) -> Any:
        return dict(self.items()).values()

    def copy(self) -> "_WatchedPanel":
        return _WatchedPanel(dict(super().items()), self.read)

    def __or__(self, others: Any) -> Any:
        return _WatchedPanel({**dict(super().items()), **others}, self.read)


def frames_in_panel(cpanel: Panel, total_frames: int | None) -> Panel:
    """Return what to override in a control panel so that the run has so many frames; None changes nothing.

    Raises:
        UsageError: if the panel says nothing of frames.
    """
    if total_frames is None:
        return {}
    if "total_frames" not in cpanel:
        raise UsageError(
            "--total-frames sets 'total_frames' of the control panel, which these parameters do not have. Set "
            "/runner/n_epochs of their tree."
        )
    return {"total_frames": total_frames} | ({"number_epochs": None} if "number_epochs" in cpanel else {})


@alone()
def generate(module: ModuleType, cpanel: Panel) -> Tree:
    """Call `gen_params` and return its parameter tree, with plain values; refuse a file in which it fails.

    A key that nothing reads is told; it is refused where it is one of the original's, or not the file's own.
    """
    read: set[str] = set()
    panel = _WatchedPanel(cpanel, read)
    try:
        tree: Tree = to_plain(module.gen_params(panel))
        if not isinstance(tree, dict):
            returned = f"got {shown(tree)} from gen_params of {module.__name__}"
            raise UsageError(f"The parameter tree must be a dictionary of runner, agents and more, {returned}.")
        for key in sorted(panel.keys() - read):
            if key not in module.cpanel:
                known = {**cpanel, **dict.fromkeys(read)}
                del known[key]
                raise UsageError(f"--cpanel has the unknown key '{key}'. {_advice(key, known)}")
            told = f"Nothing in {module.__name__} reads '{key}' of its control panel."
            advice = _advice(key, {name: value for name, value in cpanel.items() if name in read})
            if key in _GONE or not read.isdisjoint(_TODAY.get(key, ())):
                raise UsageError(f"{told} {advice}")
            _log.warning("%s %s", told, advice)
        return tree
    except UsageError:
        raise
    except Exception as err:
        what = f"gen_params of {module.__name__} fails"
        for key, value in cpanel.items():
            if value is None and module.cpanel.get(key) is not None:
                example = json.dumps(to_plain(module.cpanel[key], "cpanel"))
                advice = f"Give it a value, such as {example}."
                raise UsageError(f"--cpanel '{key}' is null, with which {what}. {advice}") from err
        raise UsageError(f"{what}: {type(err).__name__}: {one_line(str(err))}") from err
