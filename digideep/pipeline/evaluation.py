"""Whole episodes without exploration: `--play`, and the ones that are recorded while a run trains."""

import contextlib
import json
import logging
import shutil
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from pathlib import Path
from statistics import fmean, pstdev
from typing import Any

import numpy as np

from digideep.environment.explorer import Episode, Explorer
from digideep.environment.making.graphics import require_display
from digideep.environment.making.make_environment import EnvironmentInfo, EnvironmentSpec
from digideep.environment.tools.check import why_no_video
from digideep.pipeline.arguments import Arguments
from digideep.pipeline.session import Session
from digideep.pipeline.session_directory import remove_evaluation
from digideep.utility.errors import CheckpointError, StoppedError, UsageError

_log = logging.getLogger("digideep")
_QUANTILES = (0.05, 0.25, 0.5, 0.75, 0.95)


def choose_render_mode(args: Arguments, environment: EnvironmentSpec, info: EnvironmentInfo) -> str | None:
    """Return the render mode that --render asks for; by default video where that is possible, none with --json.

    Raises:
        UsageError: if the environment cannot render what is asked for.
    """
    asked, offered = args.render, info.render_modes
    mode = {"video": "rgb_array", "human": "human", "none": None}[asked or ("none" if args.json else "video")]
    reason = f"it offers {', '.join(offered) or 'nothing'}" if mode not in (None, *offered) else None
    if reason is None and mode == "human":
        require_display(environment.name)
    if reason is None and mode == "rgb_array":
        reason = why_no_video(environment)
    if reason is None:
        return mode
    if asked is not None:
        raise UsageError(f"{environment.name} cannot render '{mode}': {reason}. Use --render none.")
    _log.warning("No video is recorded, %s cannot render images: %s", environment.name, reason)
    return None


def play(
    session: Session, make_explorer: Callable[..., Explorer], environment: EnvironmentSpec, render_mode: str | None
) -> bool:
    """Play episodes with the eval explorer; print returns, record videos, write `evaluation.json`.

    Returns:
        True if all episodes were played; False if a stop was asked for before.
    """
    args = session.args
    videos = session.path / "videos" if session.path is not None and render_mode == "rgb_array" else None
    try:
        explorer = make_explorer("eval", seed=args.seed, n_episodes=1, render_mode=render_mode, video_dir=videos)
        if session.state is not None:
            _load_statistics(explorer, session.state["statistics"])
    except UsageError:
        if session.path is not None:
            remove_evaluation(session.path)
        raise
    session.watch_signals()
    num_episodes = args.episodes or 10
    with contextlib.closing(explorer):  # ends the films, which may have something to say
        episodes = _play_episodes(session, explorer, num_episodes)
    is_whole = len(episodes) >= num_episodes
    if not episodes:
        _log.warning("No episode was played to its end: there are no returns.")
        return is_whole
    figures = {
        "environment": environment.name,
        "checkpoint": session.loaded_from.name if session.loaded_from is not None else None,
        "seed": explorer.seed,
        **summarize(episodes),
    }
    if session.path is not None:
        (session.path / "evaluation.json").write_text(json.dumps(figures, indent=2) + "\n", encoding="utf-8")
    if session.json_output is not None:
        session.json_output.write(json.dumps(figures))
    else:
        _print_summary(session, figures, videos)
    return is_whole


def _play_episodes(session: Session, explorer: Explorer, num_episodes: int) -> list[Episode]:
    """Play episodes, printing a line for each, until there are enough or the run is to stop."""
    episodes: list[Episode] = []
    say = partial(print, file=session.output, flush=True)
    try:
        with session.signals.cutting():
            explorer.reset()
            while len(episodes) < num_episodes and session.signals.reason is None:
                explorer.update()
                ended = explorer.take_episodes()
                session.write_episodes("eval", ended, explorer.info_names)
                episodes += ended
                if not (session.args.json or session.args.quiet):
                    say(f"episode {len(episodes):>3}: return {ended[-1].episode_return:,.3f}, {ended[-1].length} steps")
    except StoppedError:
        _log.warning("Episode %d was cut off.", len(episodes) + 1)
    return episodes


def _print_summary(session: Session, figures: dict[str, Any], videos: Path | None) -> None:
    say = partial(print, file=session.output, flush=True)
    number = "1 episode" if figures["episodes"] == 1 else f"{figures['episodes']} episodes"
    say(f"return over {number}: mean {figures['mean']:,.3f}, std {figures['std']:,.3f}, "
        f"min {figures['min']:,.3f}, max {figures['max']:,.3f}")  # fmt: skip
    for player, mean in figures.get("players", {}).items():
        say(f"  {player}: mean {mean:,.3f}")
    if "success" in figures:
        say(f"success: mean {figures['success']['mean']:.3f}")
    for player, mean in figures.get("success", {}).get("players", {}).items():
        say(f"  {player}: mean {mean:.3f}")
    for key, values in figures.get("infos", {}).items():
        say(f"{key}: mean {values['mean']:,.6g}")
    if videos is not None and videos.exists():
        say(f"videos: {videos}")


def _load_statistics(explorer: Explorer, statistics: dict[str, Any]) -> None:
    try:
        explorer.load_statistics(statistics)
    except (KeyError, TypeError, AttributeError, ValueError) as err:
        raise CheckpointError(f"The checkpoint's statistics do not fit ({type(err).__name__}: {err}).") from err


def summarize(episodes: list[Episode]) -> dict[str, Any]:
    """Return returns, lengths and statistics of episodes, success and infos where there are any, as JSON values."""
    returns = [episode.episode_return for episode in episodes]
    quantiles = np.quantile(returns, _QUANTILES).tolist()
    names = episodes[0].player_returns or {}
    players = {name: fmean((episode.player_returns or {})[name] for episode in episodes) for name in names}
    infos = {name: _over([e.infos.get(name) for e in episodes]) for name in _names([e.infos for e in episodes])}
    successes: dict[str, Any] = {}
    if any(episode.success is not None for episode in episodes):
        successes = _over([episode.success for episode in episodes])
        told = [episode.player_successes or {} for episode in episodes]
        if by_player := {name: _over([each.get(name) for each in told])["mean"] for name in _names(told)}:
            successes["players"] = by_player
    return {
        "episodes": len(episodes),
        "mean": fmean(returns),
        "std": pstdev(returns),
        "min": min(returns),
        "max": max(returns),
        "quantiles": {f"{level:g}": value for level, value in zip(_QUANTILES, quantiles, strict=True)},
        "returns": returns,
        "lengths": [episode.length for episode in episodes],
        **({"players": players} if players else {}),
        **({"success": successes} if successes else {}),
        **({"infos": infos} if infos else {}),
    }


def _names(figures: Sequence[Mapping[str, float]]) -> list[str]:
    """Return the keys of all dictionaries, in the order in which they come."""
    return [*dict.fromkeys(name for each in figures for name in each)]


def _over(values: list[float | None]) -> dict[str, Any]:
    """Return values of episodes, None where one has none, and the mean of those that there are."""
    return {"mean": fmean(value for value in values if value is not None), "values": values}


class EpisodeRecorder:
    """Records an episode now and then while a run trains, without changing a number of the training.

    It is an episode of the eval explorer: deterministic, under a seed of its epoch, normalised as the training is by
    then.

    Args:
        session: whose `videos/` they go to.
        environment: what is recorded.
        info: of it.
        make_explorer: `Runner.make_explorer`.

    Raises:
        UsageError: if the environment cannot render images.
    """

    def __init__(
        self, session: Session, environment: EnvironmentSpec, info: EnvironmentInfo,
        make_explorer: Callable[..., Explorer],
    ):  # fmt: skip
        is_offered = "rgb_array" in info.render_modes
        reason = why_no_video(environment) if is_offered else f"it offers {', '.join(info.render_modes) or 'nothing'}"
        if reason is not None:
            raise UsageError(f"{environment.name} cannot render images ({reason}). Set video_interval to null.")
        self._session, self._make_explorer, self._has_failed = session, make_explorer, False

    def record(self, epoch: int, frames: int, statistics: dict[str, Any]) -> None:
        """Record one episode to `videos/`; rendering that fails costs one warning, and no more is tried.

        Args:
            epoch: decides the seed and the file's name.
            frames: of the training so far.
        """
        path = self._session.path
        if path is None or self._has_failed:
            return
        target = path / "videos" / f"epoch-{epoch:06}.mp4"
        try:
            self._record_to(target, epoch, statistics)
        except StoppedError:
            _log.info("The video of epoch %d was cut off and is left out.", epoch)
            shutil.rmtree(target.with_suffix(""), ignore_errors=True)
        except Exception as err:  # drivers and codecs fail in many ways: none of them ends a training
            self._has_failed = True
            _log.warning("No episode can be recorded (%s): the training goes on without videos.", err)
        else:
            self._session.logbook.show_video(target, frames)

    def _record_to(self, target: Path, epoch: int, statistics: dict[str, Any]) -> None:
        aside = target.with_suffix("")
        explorer = self._make_explorer("eval", n_episodes=1, render_mode="rgb_array", video_dir=aside)
        try:
            explorer.load_statistics(statistics)
            with self._session.signals.cutting():
                explorer.reseed(epoch)
                explorer.update()
        finally:
            explorer.close()  # closes the file
        films = sorted(aside.glob("*.mp4"))
        if not films:
            raise RuntimeError("nothing was filmed")
        films[0].replace(target)
        shutil.rmtree(aside)
