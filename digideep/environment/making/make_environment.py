"""The one place that makes environments."""

import inspect
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import gymnasium as gym
import numpy as np

from digideep.environment.closing import close_environment
from digideep.environment.episode_infos import check_episode_infos, check_first_infos
from digideep.environment.infos import (
    ActionMaskToInfo,
    check_info_keys,
    first_infos,
    info_templates,
    sees_action_mask,
)
from digideep.environment.joint_actions import joint_agent_space
from digideep.environment.making.atari import Atari, register_games
from digideep.environment.making.environment_info import EnvironmentInfo
from digideep.environment.making.families import provide
from digideep.environment.making.film import EpisodeFilms
from digideep.environment.making.graphics import choose_graphics, follow_the_body, keep_off_the_screen, require_display
from digideep.environment.making.joined_actions import JoinedActions
from digideep.environment.making.parallel_adapter import ParallelAdapter
from digideep.environment.making.parallel_games import is_parallel, make_parallel
from digideep.environment.making.registration import register_user_environments
from digideep.environment.making.wrappers import Surroundings, ask_for_progress, enabled_ones, wrap
from digideep.environment.spaces import ACTION_MASK, CONTAINERS, agent_action_space, observation_spaces
from digideep.parameters.checks import require_int
from digideep.parameters.component import Component, Description, build
from digideep.parameters.suggest import did_you_mean
from digideep.utility.errors import UsageError
from digideep.utility.user_code import place, words_unless_ours


@dataclass(frozen=True, kw_only=True)
class EnvironmentSpec(Component):
    """What it takes to make an environment, in any process.

    Attributes:
        name: the id that gymnasium knows, such as "HalfCheetah-v5"; "module:id" imports the module first.
        kwargs: keyword arguments of its constructor.
        max_episode_steps: time limit in steps; None keeps the registered one.
        from_module: a module that registers the environment when it is imported.
        from_params: arguments of gymnasium's `register`, which registers it: `id`, `entry_point` and what else there is
            to say. The entry point is a subclass of `gymnasium.Env`.
        observation_key: path of an observation that is neither Dict nor Tuple.
        info_keys: what is kept of the environment's info, as `/infos/<key>`; see `infos.py`. "action_mask" is also
            taken out of observations that hold one.
        episode_infos: what is logged of each episode: key of the info, or path "outer/inner" -> "sum", "mean" or
            "last" over the episode's steps; see `episode_infos.py`. Of several players, for each of them.
        norm_wrappers: descriptions of the wrappers around each environment, innermost first; see `wrappers.py`. Of both
            stacks, those with "enabled" false are left out.
        vect_wrappers: descriptions of the `VectorWrapper`s around the workers of an Explorer, innermost first.
        players: for several agents: agent -> names or patterns of the players that it plays in a parallel game, or of
            the entries (paths) that it has of an action that is a Dict or a Tuple; None where one agent has everything.
        atari: description of an `Atari`, the preprocessing of an Atari game; None for everything else.
        steps_per_seed: an episode is seeded anew if it begins at least this many steps after the last seeded one; 0
            seeds each. For environments where a seed is expensive (80 ms or more on Atari). To resume exactly, all
            that happened since the last seed is re-lived.
        tell_progress: reset with `options={"progress": p}`: p in [0, 1], the share of the run's frames that was done at
            the beginning of the chunk in which the episode begins; 1 where nothing is trained.
    """

    name: str
    kwargs: dict[str, Any] = field(default_factory=dict)
    max_episode_steps: int | None = None
    from_module: str | None = None
    from_params: dict[str, Any] | None = None
    observation_key: str = "/agent"
    info_keys: list[str] = field(default_factory=list)
    episode_infos: dict[str, str] = field(default_factory=dict)
    norm_wrappers: list[Description] = field(default_factory=list)
    vect_wrappers: list[Description] = field(default_factory=list)
    players: Mapping[str, Sequence[str | int]] | None = None
    atari: Description | None = None
    steps_per_seed: int = 0
    tell_progress: bool = False

    def __post_init__(self) -> None:
        for stack in ("norm_wrappers", "vect_wrappers"):
            object.__setattr__(self, stack, enabled_ones(stack, getattr(self, stack)))
        require_int("steps_per_seed", self.steps_per_seed, 0)
        check_info_keys(self.info_keys)
        check_episode_infos(self.episode_infos)
        if self.players is not None and self.atari is not None:
            raise UsageError("atari is for one agent: it knows nothing of players. Leave it out.")

    @property
    def atari_rules(self) -> Atari | None:
        """The preprocessing of an Atari game; None for everything else."""
        return None if self.atari is None else build(self.atari, Atari)

    @property
    def uses_progress(self) -> bool:
        """True if the environment or a wrapper around it is told how far the run is."""
        return self.tell_progress or ask_for_progress(self.norm_wrappers)

    def with_kwargs(self, extra: dict[str, Any], info: "EnvironmentInfo") -> "EnvironmentSpec":
        """Return the same environment with further keyword arguments.

        Raises:
            UsageError: if that changes the spaces in `info`, those that the agents are made for.
        """
        if not extra:
            return self
        changed = replace(self, kwargs={**self.kwargs, **extra})
        theirs = inspect_environment(changed)
        for what in ("observation_spaces", "action_space"):
            ours, other = getattr(info, what), getattr(theirs, what)
            if ours != other or repr(ours) != repr(other):  # equal Dicts may have other orders
                raise UsageError(
                    f"extra_env_kwargs {extra} change the {what} of {self.name}: {other} instead of {ours}."
                )
        return changed


def make_environment(
    spec: EnvironmentSpec, *, render_mode: str | None = None, video_dir: Path | None = None,
    surroundings: Surroundings | None = None,
) -> gym.Env:  # fmt: skip
    """Make one environment.

    Args:
        spec: which one.
        render_mode: "human" for a window, "rgb_array" for images, None for neither.
        video_dir: where to record every episode; needs `render_mode="rgb_array"`.
        surroundings: what wrappers may ask for; None where it is only looked at.

    Raises:
        UsageError: if there is no such environment, or it refuses to be made.
    """
    choose_graphics()
    if render_mode == "human":
        require_display(spec.name)
    elif render_mode is not None:
        keep_off_the_screen()
    register_user_environments(spec.from_module, spec.from_params)
    module, _, name = spec.name.rpartition(":")
    if module:
        register_user_environments(module, None)
    family, atari = provide(name), spec.atari_rules
    kwargs = dict(spec.kwargs) if family is None else family.translate(name, spec.kwargs)
    if atari is not None:
        register_games()
        kwargs = {**atari.game_arguments(name), **kwargs}
    elif spec.max_episode_steps is not None:
        kwargs["max_episode_steps"] = spec.max_episode_steps
    if render_mode is not None:
        kwargs["render_mode"] = render_mode
    if spec.players is not None and (is_parallel(spec.name) or name not in gym.registry):
        if spec.norm_wrappers:
            raise UsageError("norm_wrappers are for gymnasium's environments, not for parallel games. Leave them out.")
        game = make_parallel(spec.name, spec.kwargs, render_mode)
        limit = spec.max_episode_steps
        adapter = ParallelAdapter(game, spec.players, spec.observation_key, limit, render_mode, spec.info_keys)
        return adapter if video_dir is None else EpisodeFilms(adapter, video_dir)
    if name not in gym.registry and is_parallel(name):
        raise UsageError(f"'{name}' has several players: say in 'players' who plays them, as params/ppo_mpe.py does.")
    if name not in gym.registry:
        raise UsageError(f"Unknown environment '{name}'. {_suggestion(name)}")
    try:
        environment = gym.make(name, disable_env_checker=True, **kwargs)
        if atari is not None:
            environment = atari.preprocess(environment, spec.max_episode_steps)
    except (gym.error.Error, ImportError, TypeError, ValueError) as err:
        reason = " ".join(str(err).split())
        raise UsageError(f"Environment '{spec.name}' cannot be made with {kwargs}: {reason}") from err
    except BaseException as err:
        words = words_unless_ours(err)
        what = f"failed: {words}{place(err)}" if isinstance(err, Exception) else words
        raise UsageError(f"Environment '{spec.name}' cannot be made with {kwargs}. It {what}.") from err
    if render_mode is not None:
        follow_the_body(environment, kwargs)
    if family is not None:
        environment = family.finish(environment)
    if ACTION_MASK in spec.info_keys and sees_action_mask(environment.observation_space):
        environment = ActionMaskToInfo(environment)
    if video_dir is not None:
        environment = EpisodeFilms(environment, video_dir)
    # Around the recorder, so that a video shows a game and not a life.
    environment = environment if atari is None else atari.complete(environment)
    environment = wrap(environment, spec.norm_wrappers, surroundings or Surroundings())
    is_joined = isinstance(getattr(environment, "action_space", None), CONTAINERS) or spec.players is not None
    return JoinedActions(environment, spec.players, spec.name) if is_joined else environment


def _suggestion(name: str) -> str:
    """Suggest the nearest id; the same environment in another version comes first."""
    stem = name.partition("-v")[0]
    versions = sorted(known for known in gym.registry if known.partition("-v")[0] == stem)
    if versions:
        return f"Did you mean '{versions[-1]}'?"
    nearest = did_you_mean(name, gym.registry)
    own = "from_module (--module) names a module that registers one of your own."
    return f"{nearest} If not, {own}" if nearest.startswith("Did") else f"Give an id that gymnasium knows, or {own}"


def inspect_environment(spec: EnvironmentSpec) -> EnvironmentInfo:
    """Make an environment, ask for its spaces, close it.

    Raises:
        UsageError: if it cannot be made or its spaces are not supported.
    """
    environment = make_environment(spec)
    try:
        if isinstance(environment, ParallelAdapter):
            return _inspect_adapter(environment, spec)
        for name in ("observation_space", "action_space"):
            if not isinstance(getattr(environment, name, None), gym.Space):
                raise UsageError(f"{spec.name} has no {name}. Give it one of gymnasium.spaces.")
        joined = environment if isinstance(environment, JoinedActions) else None
        if joined is not None:
            if ACTION_MASK in spec.info_keys and len(joined.entries) > 1:
                raise UsageError(f"Action masks are for a single action, but that of {spec.name} has several entries.")
            environment = joined.env  # which takes the actions that it declares
        if spec.tell_progress:
            _require_options(environment.unwrapped.reset, spec.name)
        if spec.episode_infos:
            check_first_infos(spec.episode_infos, *first_infos(environment))
        # The time limit is that of a wrapper, or else the environment's own.
        specs = [each.spec for each in (environment, environment.unwrapped) if each.spec is not None]
        info = EnvironmentInfo(
            observation_spaces=observation_spaces(environment.observation_space, spec.observation_key),
            action_space=environment.action_space,
            agent_action_space=environment.action_space if joined else agent_action_space(environment.action_space),
            max_episode_steps=next((spec.max_episode_steps for spec in specs if spec.max_episode_steps), None),
            render_modes=tuple(environment.metadata.get("render_modes", ())),
            infos=info_templates(environment, spec.info_keys),
            episode_infos=tuple(spec.episode_infos),
        )
        return info if joined is None else _share_out(info, joined)
    finally:
        close_environment(environment, spec.name)


def _share_out(info: EnvironmentInfo, joined: JoinedActions) -> EnvironmentInfo:
    """Return what the workers have of an action of several entries, and under `agents` what each agent has."""
    whole = replace(info, action_space=joined.joint, declared_action_space=joined.declared)
    if not joined.groups:
        return replace(whole, agent_action_space=joint_agent_space(joined.joint))
    agents = {}
    for name, paths in joined.groups.items():
        space = joined.spaces[name]
        agents[name] = replace(
            whole if len(joined.groups) == 1 else info, action_space=space, agent_action_space=joint_agent_space(space),
            columns=joined.columns[name], entries=paths,
        )  # fmt: skip
    return replace(whole, agent_action_space=joined.action_space, agents=agents)


def _require_options(reset: Callable[..., Any], name: str) -> None:
    """Refuse an environment that cannot be told anything at its reset, as far as that can be seen."""
    try:
        parameters = inspect.signature(reset).parameters.values()
    except (ValueError, TypeError):  # no Python function
        return
    if not any(each.name == "options" or each.kind is each.VAR_KEYWORD for each in parameters):
        raise UsageError(f"tell_progress: reset() of {name} takes no options. Add options=None there, or leave it out.")


def _inspect_adapter(environment: ParallelAdapter, spec: EnvironmentSpec) -> EnvironmentInfo:
    """Return what the workers see of a parallel game, and under `agents` what each agent sees."""
    key = spec.observation_key
    if spec.tell_progress:
        _require_options(environment.environment.reset, spec.name)
    if spec.episode_infos:
        environment.reset(seed=0)
        check_first_infos(spec.episode_infos, *environment.player_infos())
        environment.step(environment.sample(np.random.default_rng(0)))
        check_first_infos(spec.episode_infos, *environment.player_infos())
    limit, modes = environment.max_episode_steps, tuple(environment.metadata.get("render_modes", ()))
    infos = environment.info_templates()
    agents = {
        name: EnvironmentInfo(
            observation_spaces(group.observation_space, key), group.action_space,
            agent_action_space(group.action_space), limit, modes, infos[name], players=group.players,
            columns=environment.columns[name],
        )
        for name, group in environment.groups.items()
    }  # fmt: skip
    of_workers = {
        f"/{name}{path}": np.stack([zeros] * len(agent.players))
        for name, agent in agents.items()
        for path, zeros in agent.infos.items()
    }
    return EnvironmentInfo(
        environment.flat_spaces, environment.action_space, environment.action_space, limit, modes, of_workers,
        agents=agents, episode_infos=tuple(spec.episode_infos),
    )  # fmt: skip
