"""Who acts while a data set is recorded: a session's policy, a file that was exported from one, or chance."""

import contextlib
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Protocol

import gymnasium as gym
import numpy as np
import torch

from digideep.environment.joint_actions import JointReader, nested
from digideep.environment.making.joined_actions import JoinedActions
from digideep.environment.making.make_environment import EnvironmentSpec, inspect_environment, make_environment
from digideep.environment.tools.recording import random_chooser
from digideep.parameters.component import build
from digideep.parameters.tree import from_plain
from digideep.post.export import DESCRIPTION, SUFFIXES
from digideep.post.loader import Loader
from digideep.post.policy import Policy, read_observation
from digideep.utility.errors import UsageError
from digideep.utility.seeding import derive_seed, make_generator
from digideep.utility.text import printable
from digideep.utility.user_code import in_words


class Demonstrator(Protocol):
    """Acts in an environment.

    Attributes:
        environment: as it is trained on, with the wrappers around each environment.
        is_plain: True if that is what gymnasium makes of its id.
        method: such as "SAC".
    """

    environment: gym.Env
    is_plain: bool
    method: str

    def begin(self) -> None:
        """Forget the episode so far."""

    def act(self, observation: Any, info: Mapping[str, Any]) -> Any:
        """Return an action of the environment."""


class SessionDemonstrator:
    """Acts as a checkpoint's agent does: a policy, or a script.

    Args:
        session: its directory.
        checkpoint: its name, such as "best"; None takes the newest valid one.
        deterministic: take the policy's mode; False explores as in training.
        seed: of the exploration.

    Raises:
        UsageError: if it cannot be loaded, or several agents act there.
    """

    def __init__(self, session: Path, checkpoint: str | None, *, deterministic: bool, seed: int):
        loader = Loader(session)
        state = loader.state(checkpoint)
        if len(state["agents"]) > 1:
            raise UsageError(
                f"{session} has the agents {', '.join(state['agents'])}: a data set holds what one agent does."
            )
        self._policy, self._deterministic = Policy(state), deterministic
        agent = self._policy.agent
        agent.generator.manual_seed(derive_seed(seed, "record"))
        agent.numpy_generator = make_generator(seed, "record")
        if getattr(agent, "noise", None) is not None:
            agent.noise.generator = make_generator(seed, "record", "noise")  # type: ignore[attr-defined]
        if self._policy.players:
            raise UsageError(f"{session} plays a game of several players: a data set holds what one agent does.")
        self.method, spec = loader.agent_names, self._policy.spec
        self.is_plain = not spec.norm_wrappers and spec.atari is None
        self.environment = loader.environment()

    def begin(self) -> None:
        """See `Demonstrator`."""
        self._policy.reset()

    def act(self, observation: Any, info: Mapping[str, Any]) -> Any:
        """See `Demonstrator`."""
        return self._policy(observation, info, deterministic=self._deterministic)


class FileDemonstrator:
    """Acts as an exported policy does, ONNX or TorchScript, in the environment that the file names.

    Args:
        path: of the file.
        module: a module that registers the environment.

    Raises:
        UsageError: if it is no such file.
    """

    method = "exported policy"

    def __init__(self, path: Path, module: str | None):
        try:
            self._run, said = _open(path)
            self._inputs, self._action_space = json.loads(said["inputs"]), json.loads(said["action_space"])
            wrappers, atari = (from_plain(json.loads(said[key])) for key in ("norm_wrappers", "atari"))
            name, kwargs = said["environment"], json.loads(said["environment_kwargs"])
        except UsageError:
            raise
        except Exception as err:  # runtimes fail in ways of their own
            raise UsageError(f"{printable(str(path))} is no policy that digideep exported: {in_words(err)}") from err
        spec = EnvironmentSpec(name=name, kwargs=kwargs, from_module=module, norm_wrappers=wrappers, atari=atari)
        if "action_mask" in {port["name"] for port in self._inputs}:
            spec = build({"class": EnvironmentSpec, **vars(spec), "info_keys": ["action_mask"]}, EnvironmentSpec)
        self.is_plain = not wrappers and atari is None
        self.environment = make_environment(spec)
        self.begin()

    def begin(self) -> None:
        """See `Demonstrator`."""
        states = [port["shape"] for port in self._inputs if port["name"] == "hidden_state"]
        self._states = [np.zeros((1, *shape), np.float32) for shape in states]

    def act(self, observation: Any, info: Mapping[str, Any]) -> Any:
        """See `Demonstrator`."""
        inputs, states = [], iter(self._states)
        for port in self._inputs:
            name = port["name"]
            if name == "hidden_state":
                inputs.append(next(states))
            elif name == "action_mask":
                inputs.append(np.asarray(info[name], port["dtype"])[None])
            else:
                value = read_observation(observation, name.removeprefix("observations"))
                inputs.append(np.asarray(value, port["dtype"])[None])
        actions, *self._states = self._run(inputs)
        return int(actions[0]) if self._action_space["type"] == "Discrete" else np.array(actions[0])


def _open(path: Path) -> tuple[Any, dict[str, str]]:
    """Return what runs a file on arrays, and what it says of itself."""
    if path.suffix == SUFFIXES["onnx"]:
        try:
            import onnxruntime
        except ImportError as err:
            raise UsageError(f"{path} needs onnxruntime, which is missing: pip install 'digideep[export]'.") from err
        session = onnxruntime.InferenceSession(str(path), providers=["CPUExecutionProvider"])
        names = [node.name for node in session.get_inputs()]
        said = session.get_modelmeta().custom_metadata_map
        return lambda inputs: session.run(None, dict(zip(names, inputs, strict=True))), said
    extra = {DESCRIPTION: ""}
    module = torch.jit.load(str(path), _extra_files=extra)

    def run(inputs: list[np.ndarray]) -> list[np.ndarray]:
        with torch.inference_mode():
            outputs = module(*(torch.from_numpy(array) for array in inputs))
        return [tensor.numpy() for tensor in (outputs if isinstance(outputs, tuple) else (outputs,))]

    return run, json.loads(extra[DESCRIPTION])


class RandomDemonstrator:
    """Acts at random, by the environment's action space, and as an action mask allows.

    Args:
        spec: of the environment.
        seed: of the actions.
    """

    method = "random"
    is_plain = True

    def __init__(self, spec: EnvironmentSpec, seed: int):
        info = inspect_environment(spec)
        self.environment = made = make_environment(spec)
        choose = random_chooser(made, info, make_generator(seed, "record"))
        self._choose = choose
        if isinstance(made, JoinedActions):
            self.environment = made.env
            self._choose = lambda newest: nested(made.declared, JointReader(made.entries).one(choose(newest)))

    def begin(self) -> None:
        """See `Demonstrator`."""

    def act(self, observation: Any, info: Mapping[str, Any]) -> Any:
        """See `Demonstrator`."""
        return self._choose(info)


@contextlib.contextmanager
def closing(demonstrator: Demonstrator) -> Any:
    """Close the environment at the end."""
    try:
        yield demonstrator
    finally:
        demonstrator.environment.close()
