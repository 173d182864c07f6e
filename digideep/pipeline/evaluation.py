"""Whole episodes without exploration: `--play`, and the ones that are recorded while a run trains."""

import argparse
import json
import logging
import shutil
from functools import partial
from pathlib import Path
from statistics import fmean, pstdev
from typing import TYPE_CHECKING, Any

import numpy as np

from digideep.environment.explorer import Episode, Explorer
from digideep.environment.making.drawing import why_no_video
from digideep.environment.making.graphics import require_display
from digideep.environment.making.make_environment import EnvironmentInfo, EnvironmentSpec
from digideep.utility.errors import CheckpointError, StoppedError, UsageError

if TYPE_CHECKING:
    from digideep.pipeline.runner import Runner

_log = logging.getLogger("digideep")
_QUANTILES = (0.05, 0.25, 0.5, 0.75, 0.95)


def choose_render_mode(args: argparse.Namespace, environment: EnvironmentSpec, info: EnvironmentInfo) -> str | None:
    """What --render asks for, in gymnasium's words; video is the default where it can be had, nothing with --json.

    Raises:
        UsageError: if the environment cannot render what is asked for.
    """
    asked, offered = args.render, info.render_modes
    wanted = {"video": "rgb_array", "human": "human", "none": None}[asked or ("none" if args.json else "video")]
    reason = f"it offers {', '.join(offered) or 'nothing'}" if wanted not in (None, *offered) else None
    if reason is None and wanted == "human":
        require_display(environment.name)
    if reason is None and wanted == "rgb_array":
        reason = why_no_video(environment)
    if reason is None:
        return wanted
    if asked is not None:
        raise UsageError(f"{environment.name} cannot render '{wanted}': {reason}. Use --render none.")
    _log.warning("No video is recorded, %s cannot render images: %s", environment.name, reason)
    return None


def play(runner: "Runner", render_mode: str | None) -> bool:
    """Play episodes with the eval explorer; print returns, record videos, write `evaluation.json`.

    Args:
        runner: with its agents restored.
        render_mode: from `choose_render_mode`.

    Returns:
        True if all episodes were played; False if a stop was asked for before.
    """
    session, args = runner.session, runner.session.args
    videos = session.path / "videos" if session.path is not None and render_mode == "rgb_array" else None
    try:
        explorer = runner.explorer["eval"] = runner.make_explorer(
            "eval", seed=args.seed, n_episodes=1, render_mode=render_mode, video_dir=videos
        )
        if session.state is not None:
            _load_statistics(explorer, session.state["statistics"])
    except UsageError:
        session.take_back()
        raise
    session.watch_signals()
    episodes: list[Episode] = []
    wanted = args.episodes or 10
    say = partial(print, file=session.output, flush=True)
    try:
        with session.signals.cutting():
            explorer.reset()
            while len(episodes) < wanted and session.stop_reason is None:
                explorer.update()
                ended = explorer.take_episodes()
                session.write_episodes("eval", ended)
                episodes += ended
                if not args.json and not args.quiet:
                    say(f"episode {len(episodes):>3}: return {ended[-1].episode_return:,.3f}, {ended[-1].length} steps")
    except StoppedError:
        _log.warning("Episode %d was cut off.", len(episodes) + 1)
    explorer.close()  # ends the films, which may have something to say
    is_whole = len(episodes) >= wanted
    if not episodes:
        _log.warning("No episode was played to its end: there are no returns.")
        return is_whole
    figures = {
        "environment": runner.environment.name,
        "checkpoint": session.loaded_from.name if session.loaded_from is not None else None,
        "seed": explorer.seed,
        **summarize(episodes),
    }
    if session.path is not None:
        (session.path / "evaluation.json").write_text(json.dumps(figures, indent=2) + "\n", encoding="utf-8")
    if session.json_output is not None:
        session.json_output.write(json.dumps(figures))
        return is_whole
    number = "1 episode" if len(episodes) == 1 else f"{len(episodes)} episodes"
    say(f"return over {number}: mean {figures['mean']:,.3f}, std {figures['std']:,.3f}, "
        f"min {figures['min']:,.3f}, max {figures['max']:,.3f}")  # fmt: skip
    for player, mean in figures.get("players", {}).items():
        say(f"  {player}: mean {mean:,.3f}")
    if videos is not None and videos.exists():
        say(f"videos: {videos}")
    return is_whole


def _load_statistics(explorer: Explorer, statistics: dict[str, Any]) -> None:
    try:
        explorer.load_statistics(statistics)
    except (KeyError, TypeError, AttributeError, ValueError) as err:
        raise CheckpointError(f"The checkpoint's statistics do not fit ({type(err).__name__}: {err}).") from err


def summarize(episodes: list[Episode]) -> dict[str, Any]:
    """Returns and lengths of episodes with their statistics, as JSON values; quantiles are those of the returns."""
    returns = [episode.episode_return for episode in episodes]
    quantiles = np.quantile(returns, _QUANTILES).tolist()
    return {
        "episodes": len(episodes),
        "mean": fmean(returns),
        "std": pstdev(returns),
        "min": min(returns),
        "max": max(returns),
        "quantiles": {f"{level:g}": value for level, value in zip(_QUANTILES, quantiles, strict=True)},
        "returns": returns,
        "lengths": [episode.length for episode in episodes],
        **_players(episodes),
    }


def _players(episodes: list[Episode]) -> dict[str, Any]:
    """The mean return of each player, where there are several."""
    names = episodes[0].player_returns or {}
    means = {name: fmean((episode.player_returns or {})[name] for episode in episodes) for name in names}
    return {"players": means} if means else {}


class EpisodeRecorder:
    """Records an episode now and then while a run trains, without changing a number of the training.

    It is an episode of the eval explorer: deterministic, under a seed of its epoch, normalised as the training is by
    then.

    Raises:
        UsageError: if the environment cannot render images.
    """

    def __init__(self, runner: "Runner"):
        reason = why_no_video(runner.environment)
        if reason is not None:
            raise UsageError(
                f"{runner.environment.name} cannot render images ({reason}). Set video_interval to null, got "
                f"{runner.video_int}."
            )
        self._runner, self._has_failed = runner, False

    def record(self) -> None:
        """Record one episode to `videos/`; rendering that fails costs one warning, and no more is tried."""
        runner = self._runner
        path = runner.session.path
        if path is None or self._has_failed:
            return
        target = path / "videos" / f"epoch-{runner.i_epoch:06}.mp4"
        try:
            self._record_to(target)
        except StoppedError:
            _log.info("The video of epoch %d was cut off and is left out.", runner.i_epoch)
            shutil.rmtree(target.with_suffix(""), ignore_errors=True)
            return
        except Exception as err:  # drivers and codecs fail in many ways: none of them ends a training
            self._has_failed = True
            _log.warning("No episode can be recorded (%s): the training goes on without videos.", err)
            return
        runner.session.logbook.show_video(target, runner.frames)

    def _record_to(self, target: Path) -> None:
        runner = self._runner
        aside = target.with_suffix("")
        explorer = runner.make_explorer("eval", n_episodes=1, render_mode="rgb_array", video_dir=aside)
        try:
            explorer.load_statistics(runner.explorer["train"].statistics())
            with runner.session.signals.cutting():
                explorer.reseed(runner.i_epoch)
                explorer.update()
        finally:
            explorer.close()  # closes the file
        films = sorted(aside.glob("*.mp4"))
        if not films:
            raise RuntimeError("nothing was filmed")
        films[0].replace(target)
        for left in aside.iterdir():
            left.unlink()
        aside.rmdir()
