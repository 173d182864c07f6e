"""A session's policy as one module of tensors: from what the environment gives to what it takes."""

import copy
import json
import math
from typing import Any, NamedTuple

import gymnasium as gym
import numpy as np
import torch
from torch import Tensor, nn

from digideep.environment.joint_actions import JointScaler, action_scaler
from digideep.environment.normalizers import VecNormalizeObs
from digideep.environment.spaces import observation_reader
from digideep.parameters.tree import to_plain
from digideep.policy.networks import EnsemblePerceptron
from digideep.post.policy import Policy
from digideep.utility.errors import UsageError
from digideep.utility.version import __version__


class Port(NamedTuple):
    """An input or an output of a file."""

    name: str
    dtype: str
    shape: tuple[int, ...]  # without the batch, which comes first


class Normalize(nn.Module):
    """`VecNormalizeObs` as it is after training, on tensors: in float64, as there."""

    def __init__(self, wrapper: VecNormalizeObs, path: str):
        super().__init__()
        state = wrapper.state_dict()[path]
        self.mean: Tensor
        self.scale: Tensor
        self.register_buffer("mean", torch.tensor(state["mean"], dtype=torch.float64))
        variance = torch.tensor(state["var"], dtype=torch.float64)
        self.register_buffer("scale", torch.sqrt(variance + wrapper.epsilon))
        self.clip = wrapper.clip

    def forward(self, observations: Tensor) -> Tensor:
        scaled = (observations.double() - self.mean) / self.scale
        return scaled.clamp(-self.clip, self.clip).float()


class ExportedPolicy(nn.Module):
    """From batches of raw observations (B, ...) to a batch of environment actions (B, ...).

    Inputs come in the order of `inputs`: the observations, then an action mask, then a hidden state, as far as the
    policy has them. Outputs are the actions, one for each entry that the agent has of a Dict or a Tuple; then the
    hidden state after them.

    Args:
        policy: of a session.
        space: of the environment's own observations (a player's, where there are several), whose dtypes are taken.
        mask: an action mask as the environment gives it; None if there is none.

    Attributes:
        inputs: what `forward` takes. outputs: what it returns.

    Raises:
        UsageError: if a wrapper has no counterpart here.
    """

    def __init__(self, policy: Policy, space: gym.Space, mask: np.ndarray | None = None):
        super().__init__()
        agent, info = policy.agent, policy.info
        for wrapper in policy.wrappers:
            if wrapper.changes_observations and not isinstance(wrapper, VecNormalizeObs):
                raise UsageError(
                    f"{type(wrapper).__name__} cannot be exported: what it does is not known on tensors. Use "
                    "loader.policy, which runs it. If it changes rewards only, set its changes_observations to False."
                )
        self.inputs, self.outputs = [], []
        self.paths, self._dtypes, stages = agent.observation_paths, [], []
        is_one = not isinstance(space, (gym.spaces.Dict, gym.spaces.Tuple))
        for path in self.paths:
            leaf, kept = observation_reader(space, path)(space), info.observation_spaces[path]
            name = "observations" if is_one else f"observations{path}"
            self.inputs.append(Port(name, str(leaf.dtype), tuple(leaf.shape)))
            self._dtypes.append(torch_dtype(kept.dtype))
            normalizers = [w for w in policy.wrappers if isinstance(w, VecNormalizeObs) and path in w.state_dict()]
            stages.append(nn.Sequential(*(Normalize(wrapper, path) for wrapper in normalizers)))
        for path, entry in policy.entries.items():
            name = f"actions/{path}" if path else "actions"
            self.outputs.append(Port(name, str(entry.dtype), tuple(entry.shape or ())))
        self._action_dtypes = [torch_dtype(entry.dtype) for entry in policy.entries.values()]
        self._is_masked, self._is_recurrent = agent.use_action_mask, policy.hidden_state is not None
        if self._is_masked:
            assert mask is not None
            self.inputs.append(Port("action_mask", str(mask.dtype), mask.shape))
        if policy.hidden_state is not None:
            state = Port("hidden_state", "float32", policy.hidden_state.shape[1:])
            self.inputs.append(state)
            self.outputs.append(state._replace(name="next_hidden_state"))
        self.before, self.policy, self.flatten = nn.ModuleList(stages), copy.deepcopy(agent.policy), agent.flatten
        if getattr(agent, "numpy_act", None) is not None:
            # The session acts by numpy in float32, in whatever it learns.
            for module in self.policy.modules():
                if isinstance(module, EnsemblePerceptron):
                    module.act_in_float32()
        self._join, self._scale_actions = agent.join, action_scaler(info.action_space, torch)

    def forward(self, *inputs: Tensor) -> Any:
        """Choose actions. Returns: the `outputs`; a tensor if there is one, a tuple of them if there are several."""
        seen = {
            path: stage(tensor.to(dtype))
            for path, stage, tensor, dtype in zip(self.paths, self.before, inputs, self._dtypes, strict=False)
        }
        rest = list(inputs[len(self.paths) :])
        allowed = rest.pop(0) != 0 if self._is_masked else None
        choice = self.policy.mode(self._join(seen), state=rest.pop(0) if self._is_recurrent else None, allowed=allowed)
        scale = self._scale_actions
        entries = scale.parts(choice.actions) if isinstance(scale, JointScaler) else [scale(choice.actions)]
        outputs = [entry.to(dtype) for entry, dtype in zip(entries, self._action_dtypes, strict=True)]
        outputs += [choice.state] if self._is_recurrent else []
        return tuple(outputs) if len(outputs) > 1 else outputs[0]


def torch_dtype(dtype: Any) -> torch.dtype:
    """Return the dtype of tensors that hold what arrays of a dtype hold."""
    return torch.from_numpy(np.zeros(1, dtype)).dtype


def describe_export(module: ExportedPolicy, policy: Policy, epoch: int) -> dict[str, str]:
    """Return what a file says of itself: strings by key, in JSON unless they are names."""
    return {
        "digideep_version": __version__,
        "environment": policy.spec.name,
        "environment_kwargs": json.dumps(policy.spec.kwargs),
        "norm_wrappers": json.dumps(to_plain(policy.spec.norm_wrappers)),
        "atari": json.dumps(to_plain(policy.spec.atari)),
        "agent": policy.name,
        "players": json.dumps(policy.players),
        "epoch": str(epoch),
        "inputs": json.dumps([port._asdict() for port in module.inputs]),
        "outputs": json.dumps([port._asdict() for port in module.outputs]),
        "action_space": json.dumps(_describe_actions(policy)),
    }


def _describe_actions(policy: Policy) -> dict[str, Any]:
    """Describe the agent's actions; of entries of a Dict or a Tuple, each by path."""
    entries = {path: describe_space(space) for path, space in policy.entries.items()}
    return entries.get("", {"type": "Dict", "entries": entries})


def describe_space(space: gym.Space) -> dict[str, Any]:
    """Describe a space of actions in JSON values; bounds that are no numbers are null."""
    described = {"type": type(space).__name__, "dtype": str(space.dtype), "shape": list(space.shape or ())}
    if isinstance(space, gym.spaces.Box):
        for name in ("low", "high"):
            bounds = getattr(space, name).reshape(-1).tolist()
            described[name] = [float(bound) if math.isfinite(bound) else None for bound in bounds]
    for name in ("n", "nvec", "start"):
        if hasattr(space, name):
            described[name] = np.asarray(getattr(space, name)).tolist()
    return described
