"""Records a data set: `digideep record SESSION --id pendulum/medium-v0`. It is Minari's own format.

What acts is a session's checkpoint, a policy that was exported, or chance.
"""

import argparse
import copy
import importlib.metadata
import os
import re
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any, NamedTuple

import gymnasium as gym
import numpy as np

from digideep.environment.contract import NotAsDeclared, check_reset, read_outcome
from digideep.environment.datasets import METADATA, datasets_root, read_leaves, require_minari
from digideep.environment.making.make_environment import EnvironmentSpec
from digideep.environment.making.registration import module_name
from digideep.environment.spaces import observation_spaces, parts
from digideep.parameters.parser import Parser
from digideep.pipeline.argument_types import directory_path, json_object, natural, path_name, positive
from digideep.post.demonstrators import Demonstrator, FileDemonstrator, RandomDemonstrator, SessionDemonstrator, closing
from digideep.post.export import SUFFIXES
from digideep.telemetry.output import command
from digideep.utility.errors import UsageError
from digideep.utility.files import as_typed
from digideep.utility.text import one_line
from digideep.utility.user_code import in_words, words_unless_ours
from digideep.utility.version import __version__

_ID = re.compile(r"(?:[\w-]+/)*[\w-]+-v\d+")
_BLOCK = 100  # episodes that are written at once
_FILES = (SUFFIXES["onnx"], SUFFIXES["torchscript"])


class Recorded(NamedTuple):
    """A data set that was written."""

    path: Path
    returns: list[float]
    frames: int


class _Episode(NamedTuple):
    """One episode of T steps, in the structure of the environment's spaces."""

    seed: int
    observations: Any  # (T + 1, ...)
    actions: Any  # (T, ...)
    rewards: np.ndarray  # float64 (T,)
    terminations: np.ndarray  # bool (T,)
    truncations: np.ndarray  # bool (T,)


def record(
    demonstrator: Demonstrator, dataset_id: str, root: Path, *, episodes: int | None, frames: int | None, seed: int,
    notes: dict[str, Any],
) -> Recorded:  # fmt: skip
    """Write a data set, whole or not at all.

    Args:
        demonstrator: acts.
        dataset_id: such as "pendulum/medium-v0".
        root: directory of data sets, in which the id is a path.
        episodes: how many; None for as many as `frames` take.
        frames: how many; the last episode is then cut off, as a truncation. None for whole episodes.
        seed: the first episode begins with it, each further one with the next number.
        notes: further metadata, in JSON values.

    Raises:
        UsageError: if there is one of that id, or its spaces cannot be written.
    """
    require_minari()
    from minari.data_collector import EpisodeBuffer

    target = root.absolute() / dataset_id  # Minari loses its way with relative paths
    for place in target.relative_to(root.absolute()).parents:
        inside = root.absolute() / place
        if any((inside / data / METADATA).exists() for data in ("", "data")):
            raise UsageError(f"--id {dataset_id} lies within the data set {as_typed(inside)}. Choose another one.")
    if target.exists():
        raise UsageError(f"{as_typed(target)} is there already. Choose another --id, or delete it.")
    missing = [place for place in target.parents if not place.exists()]
    returns, total, aside = [], 0, None
    try:
        target.parent.mkdir(parents=True, exist_ok=True)
        aside = Path(tempfile.mkdtemp(prefix=f".{target.name}.", dir=target.parent))
        aside.chmod(0o777 & ~_umask())
        storage = _create(aside / "data", dataset_id, demonstrator, notes)
        block: list[Any] = []
        for episode in _play(demonstrator, episodes, frames, seed):
            returns.append(float(episode.rewards.sum()))
            total += len(episode.rewards)
            block.append(EpisodeBuffer(**episode._asdict()))
            if len(block) == _BLOCK:
                storage.update_episodes(block)
                block = []
        if block:
            storage.update_episodes(block)
        aside.rename(target)
    except OSError as err:
        raise UsageError(f"{target} cannot be written: {err.strerror or err}. Give another place with --root.") from err
    finally:
        if aside is not None:
            shutil.rmtree(aside, ignore_errors=True)
        for place in missing:  # what was made for nothing
            with suppress(OSError):
                place.rmdir()
    return Recorded(target, returns, total)


def _umask() -> int:
    """Return what the user keeps from others."""
    mask = os.umask(0o077)
    os.umask(mask)
    return mask


def _create(path: Path, dataset_id: str, demonstrator: Demonstrator, notes: dict[str, Any]) -> Any:
    """Return the storage of a new data set."""
    from minari.dataset.minari_storage import MinariStorage

    environment, spec = demonstrator.environment, None
    for space in (environment.observation_space, environment.action_space):
        for _, keys, _ in parts(space):
            if name := next((key for key in keys if isinstance(key, str) and "/" in key), None):
                raise UsageError(f"Minari's files cannot hold '{name}': a name with a slash. Rename it.")
    observation_spaces(environment.observation_space, "/agent")  # refuses what cannot be learned from
    if demonstrator.is_plain and environment.spec is not None:  # with the time limit, which its innermost one lacks
        with suppress(TypeError, ValueError):  # of arguments that no file holds
            environment.spec.to_json()
            spec = environment.spec
    try:
        storage = MinariStorage.new(
            path, environment.observation_space, environment.action_space, spec, "hdf5", jpeg_encoding=False
        )
    except (NotImplementedError, TypeError, ValueError, AssertionError) as err:
        raise UsageError(f"Minari cannot hold the spaces of this environment: {in_words(err)}") from err
    algorithm = {"algorithm_name": demonstrator.method, "minari_version": importlib.metadata.version("minari")}
    named = None if environment.unwrapped.spec is None else environment.unwrapped.spec.id
    own = {"digideep_environment": named, "digideep_version": __version__}
    storage.update_metadata({"dataset_id": dataset_id, **algorithm, **own, **notes})
    return storage


def _play(demonstrator: Demonstrator, episodes: int | None, frames: int | None, seed: int) -> Iterator[_Episode]:
    """Yield episodes."""
    left, number = frames, 0
    while (episodes is None or number < episodes) and (left is None or left > 0):
        episode = _play_one(demonstrator, left, seed + number)
        left = None if left is None else left - len(episode.rewards)
        yield episode
        number += 1


def _play_one(demonstrator: Demonstrator, left: int | None, seed: int) -> _Episode:
    """Return an episode. Args: left: steps after which it is cut off; None for none.

    Raises:
        UsageError: if the environment fails, or gives what it does not declare.
    """
    environment = demonstrator.environment
    try:
        episode = _live(demonstrator, left, seed)
        for values, space, rows in (
            (episode.observations, environment.observation_space, len(episode.rewards) + 1),
            (episode.actions, environment.action_space, len(episode.rewards)),
        ):
            read_leaves(values, space, "/agent", rows)
        if not np.isfinite(episode.rewards).all():
            raise NotAsDeclared("rewards that are not finite")
    except Exception as err:
        words = str(err) if isinstance(err, (UsageError, NotAsDeclared)) else in_words(err)
        raise UsageError(f"The environment fails in the episode of seed {seed}: {one_line(words)}") from err
    except BaseException as err:
        raise UsageError(f"The environment {words_unless_ours(err)}, in the episode of seed {seed}.") from err
    return episode


def _live(demonstrator: Demonstrator, left: int | None, seed: int) -> _Episode:
    environment = demonstrator.environment
    demonstrator.begin()
    observation, info = check_reset(environment.reset(seed=seed))
    seen, acted, rewards, is_over = [copy.deepcopy(observation)], [], [], False
    terminated = truncated = False
    while not is_over:
        action = demonstrator.act(observation, info)
        acted.append(copy.deepcopy(action))
        observation, *outcome, info = environment.step(action)
        reward, terminated, truncated = read_outcome(*outcome)
        seen.append(copy.deepcopy(observation))
        rewards.append(float(reward))
        truncated = bool(truncated) or (len(rewards) == left and not terminated)
        is_over = bool(terminated) or truncated
    ends = np.arange(len(rewards)) == len(rewards) - 1
    return _Episode(
        seed, _stack(environment.observation_space, seen), _stack(environment.action_space, acted),
        np.array(rewards), ends & bool(terminated), ends & truncated,
    )  # fmt: skip


def _stack(space: gym.Space, values: list[Any]) -> Any:
    """Return values of a space as arrays (len(values), ...), in its structure."""
    if isinstance(space, gym.spaces.Dict):
        return {key: _stack(part, [value[key] for value in values]) for key, part in space.items()}
    if isinstance(space, gym.spaces.Tuple):
        return tuple(_stack(part, [value[index] for value in values]) for index, part in enumerate(space))
    try:
        return np.asarray(values, space.dtype)
    except (TypeError, ValueError) as err:
        raise NotAsDeclared(f"it gave values that {space} does not hold") from err


def make_parser() -> argparse.ArgumentParser:
    """Return what reads the command line."""
    parser = Parser(
        prog="digideep record",
        description="Record a data set in Minari's format: what a session's policy, an exported one or chance does.",
        epilog="examples:\n"
        "  digideep record NAME --id pendulum/medium-v0 --episodes 100\n"
        "  digideep record NAME --checkpoint best --stochastic --frames 100_000 --id pendulum/expert-v0\n"
        "  digideep record policy.onnx --id pendulum/exported-v0\n"
        "  digideep record --random --model Pendulum-v1 --id pendulum/random-v0",
    )
    parser.add_argument(
        "source", nargs="?", type=directory_path, metavar="SESSION", help="a session, or a file of `digideep export`"
    )
    parser.add_argument("--id", required=True, metavar="ID", help="of the data set, such as pendulum/medium-v0")
    parser.add_argument("--root", metavar="DIR", type=path_name, help="where data sets lie (where Minari keeps them)")
    length = parser.add_argument_group("how much")
    length.add_argument("--episodes", metavar="N", type=positive, help="whole episodes (10, unless --frames is given)")
    length.add_argument("--frames", metavar="N", type=positive, help="steps; the last episode is cut off there")
    length.add_argument("--seed", metavar="N", type=natural, default=0, help="of the first episode (0)")
    acting = parser.add_argument_group("who acts")
    acting.add_argument("--checkpoint", metavar="NAME", help="such as best or checkpoint-20 (the newest valid one)")
    acting.add_argument("--stochastic", action="store_true", help="explore as in training; else the policy's mode")
    acting.add_argument("--random", action="store_true", help="random actions in the environment --model")
    acting.add_argument("--model", metavar="ID", help="the environment of --random")
    acting.add_argument("--module", metavar="MODULE", help="a module or .py file that registers environments")
    acting.add_argument(
        "--env-kwargs", metavar="JSON", type=json_object, default={}, help="keyword arguments of --model"
    )
    return parser


def _demonstrator(args: argparse.Namespace) -> Demonstrator:
    """Return who acts. Raises: UsageError: for flags that do not belong together."""
    if args.random != (args.source is None) or args.random != (args.model is not None):
        raise UsageError("Give a session or an exported file; or --random with --model, and no session.")
    module, is_file = module_name(args.module), args.source is not None and args.source.is_file()
    if args.random:
        if args.stochastic or args.checkpoint is not None:
            raise UsageError("--random has neither --stochastic nor a --checkpoint: leave them out.")
        return RandomDemonstrator(
            EnvironmentSpec(name=args.model, kwargs=args.env_kwargs, from_module=module), args.seed
        )
    if args.env_kwargs:
        raise UsageError("--env-kwargs are for --random: a session and a file know their environment. Leave them out.")
    if not is_file:
        return SessionDemonstrator(args.source, args.checkpoint, deterministic=not args.stochastic, seed=args.seed)
    if args.source.suffix not in _FILES:
        raise UsageError(
            f"{args.source} cannot act here: expected a session, or a file that ends in {' or '.join(_FILES)}."
        )
    if args.stochastic or args.checkpoint is not None:
        raise UsageError(
            "An exported file is deterministic, and one checkpoint: leave out --stochastic and --checkpoint."
        )
    return FileDemonstrator(args.source, module)


@command
def main(argv: list[str] | None = None) -> None:
    """Run the command."""
    args = make_parser().parse_args(argv)
    if not _ID.fullmatch(args.id):
        raise UsageError(f"--id must be one such as pendulum/medium-v0, with a version at its end, got {args.id!r}.")
    require_minari()
    episodes = args.episodes if args.episodes or args.frames else 10
    root = datasets_root() if args.root is None else Path(args.root)
    how = "random" if args.random else "stochastic" if args.stochastic else "deterministic"
    notes = {"digideep_acting": how, "digideep_seed": args.seed, "digideep_checkpoint": args.checkpoint}
    with closing(_demonstrator(args)) as demonstrator:
        done = record(
            demonstrator, args.id, root, episodes=episodes, frames=args.frames, seed=args.seed, notes=notes
        )  # fmt: skip
    print(f"{as_typed(done.path)}: {len(done.returns):,} episodes, {done.frames:,} frames, {how} actions")
    print(f"return: mean {np.mean(done.returns):,.3f}, std {np.std(done.returns):,.3f}, "
          f"min {min(done.returns):,.3f}, max {max(done.returns):,.3f}")  # fmt: skip


if __name__ == "__main__":
    raise SystemExit(main())
