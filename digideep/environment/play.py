"""Look at environments without an agent: `python -m digideep.environment.play`."""

import argparse
import json
import os
import re
import signal
import sys
import threading
import time
import traceback
from pathlib import Path
from types import FrameType

import gymnasium as gym

from digideep.environment.closing import close_environment
from digideep.environment.making.dm_control import DmControlEpisode
from digideep.environment.making.families import provide_all
from digideep.environment.making.graphics import has_display, require_display
from digideep.environment.making.make_environment import (
    EnvironmentSpec,
    inspect_environment,
    make_environment,
)
from digideep.environment.making.parallel_games import is_parallel, make_parallel, parallel_names
from digideep.environment.making.registration import module_name, register_user_environments
from digideep.environment.tools.check import check_environment, why_no_exact_resume, why_no_video
from digideep.environment.tools.recording import random_chooser
from digideep.parameters.parser import Parser
from digideep.utility.errors import Interruption, UsageError
from digideep.utility.importing import find_in_working_directory
from digideep.utility.seeding import make_generator
from digideep.utility.text import one_line
from digideep.utility.user_code import in_words, is_ours

_EXAMPLES = """examples:
  list       digideep env --list-include 'dm_control/cheetah|Half' --list-exclude '.*-v4'
  watch      digideep env --model LunarLander-v3
  film       digideep env --model dm_control/cheetah-run-v0 --runs 1 --render video
  check      digideep env --model Mine-v0 --module envs/mine.py --check

exit codes: 0 all is well, 1 a check failed or the environment raised, 2 the command makes no sense.
"""


def make_parser() -> argparse.ArgumentParser:
    """Return what reads the command line."""
    parser = Parser(
        prog="digideep env", description="List, run or check environments.",epilog=_EXAMPLES,
    )  # fmt: skip
    listing = parser.add_argument_group("list")
    listing.add_argument(
        "--list-include", metavar="PATTERN", nargs="?", const=".*", help="print the ids whose start matches, as JSON"
    )
    listing.add_argument("--list-exclude", metavar="PATTERN", nargs="?", const="a^", help="leave out what matches")
    which = parser.add_argument_group("which environment")
    which.add_argument("--model", metavar="ID", help="the environment")
    which.add_argument("--module", metavar="MODULE", help="a module or .py file that registers environments")
    which.add_argument("--env-kwargs", metavar="JSON", default="{}", help="its keyword arguments")
    which.add_argument("--seed", type=int, default=0, help="of episodes and actions (0)")
    running = parser.add_argument_group("run")
    running.add_argument("--runs", metavar="N", type=int, default=5, help="episodes (5)")
    running.add_argument("--n-step", metavar="N", type=int, default=1024, help="steps of an episode at most (1024)")
    running.add_argument("--delay", metavar="MS", type=int, default=0, help="wait after each step, in milliseconds")
    running.add_argument("--no-action", action="store_true", help="draw the first image only, take no step")
    running.add_argument(
        "--render", choices=("human", "viewer", "video", "none"),
        help="a window (where there is a display), dm_control's own viewer of its tasks, a film, or nothing",
    )  # fmt: skip
    running.add_argument("--video-dir", metavar="DIR", default="videos", help="where films go (./videos)")
    running.add_argument("--glfw", action="store_true", help="let MuJoCo and dm_control render with GLFW")
    checking = parser.add_argument_group("check")
    checking.add_argument(
        "--check", action="store_true", help="examine it: will a run of it be right, and resume exact?"
    )
    return parser


def main(argv: list[str] | None = None) -> int:
    """Run the command. Returns: the exit code."""
    try:
        args = make_parser().parse_args(argv)
    except UsageError as err:
        print(f"digideep: {one_line(str(err))}", file=sys.stderr)
        return err.exit_code
    try:
        if args.glfw:
            require_display("--glfw")
        if args.glfw or args.render == "viewer":
            os.environ["MUJOCO_GL"] = "glfw"
        find_in_working_directory()  # where --module is looked for
        module = module_name(args.module)
        register_user_environments(module, None)
        if args.list_include is not None or args.list_exclude is not None:
            return _list(args.list_include or ".*", args.list_exclude or "a^")
        if args.model is None:
            raise UsageError("Give an environment with --model, or list them with --list-include. See --help.")
        spec = _spec(args.model, _object(args.env_kwargs), module)
        for name in ("runs", "n_step"):
            if getattr(args, name) < 1:
                raise UsageError(f"--{name.replace('_', '-')} must be at least 1, got {getattr(args, name)}.")
        return _check(spec, args) if args.check else _run(spec, args)
    except UsageError as err:
        print(f"digideep: {one_line(str(err))}", file=sys.stderr)
        return err.exit_code
    except Exception:  # of the environment's own
        traceback.print_exc()
        return 1
    except BaseException as err:
        if is_ours(err):  # Ctrl-C: enough was seen, but a check is no good unless it is whole
            return int(args.check)
        print(f"digideep: code of yours {in_words(err)}.", file=sys.stderr)
        return 1


def _spec(name: str, kwargs: dict, module: str | None) -> EnvironmentSpec:
    """Describe the environment; of several players, each is on its own."""
    players = None
    if is_parallel(name):
        game = make_parallel(name, kwargs, None)
        players = {str(player): [str(player)] for player in game.possible_agents}
        game.close()
    return EnvironmentSpec(name=name, kwargs=kwargs, from_module=module, players=players)


def _object(text: str) -> dict:
    try:
        value = json.loads(text)
    except json.JSONDecodeError as err:
        raise UsageError(f"--env-kwargs is no JSON: {err}. Expected an object such as '{{\"gravity\": -5}}'.") from err
    if not isinstance(value, dict):
        raise UsageError(f"--env-kwargs must be an object, got {text}.")
    return value


def _list(include: str, exclude: str) -> int:
    try:
        included, excluded = re.compile(include), re.compile(exclude)
    except re.error as err:
        raise UsageError(f"'{err.pattern!s}' is no regular expression: {err}.") from err
    missing, games = provide_all(), []
    try:
        games = parallel_names()
    except ImportError:
        missing.append("PettingZoo is not installed: pip install 'digideep[multiagent]'")
    for line in missing:
        print(line, file=sys.stderr)
    names = sorted(name for name in (*gym.registry, *games) if included.match(name) and not excluded.match(name))
    print(json.dumps(names, indent=4))
    return 0


def _check(spec: EnvironmentSpec, args: argparse.Namespace) -> int:
    verdicts = check_environment(spec, args.seed, args.n_step)
    width = max(len(verdict.point) for verdict in verdicts)
    for point, is_ok, detail in verdicts:
        print(f"{ ({True: 'ok', False: 'FAILED', None: 'note'}[is_ok]):<7}{point:<{width}}  {detail}")
    reasons = why_no_exact_resume(verdicts)
    print(f"Exact resume will NOT hold: {reasons[0]}." if reasons else "Exact resume will hold.")
    return 1 if any(verdict.is_ok is False for verdict in verdicts) else 0


def _run(spec: EnvironmentSpec, args: argparse.Namespace) -> int:
    render = args.render or ("human" if has_display() else "none")
    if render == "viewer":
        return _view(spec, args)
    mode = {"human": "human", "video": "rgb_array", "none": None}[render]
    info = inspect_environment(spec)
    if mode is not None and mode not in info.render_modes:
        offered = ", ".join(info.render_modes) or "nothing"
        raise UsageError(f"{spec.name} cannot render '{mode}': it offers {offered}. Use --render none.")
    if render == "human":
        require_display(spec.name)
    if render == "video" and (reason := why_no_video(spec)) is not None:
        raise UsageError(f"{spec.name} cannot render images: {reason}. Use --render none.")
    videos = _new_directory(Path(args.video_dir), spec.name) if render == "video" else None
    environment = make_environment(spec, render_mode=mode, video_dir=videos)
    choose = random_chooser(environment, info, make_generator(args.seed, "play"))
    try:
        for run in range(args.runs):
            observation, newest_info = environment.reset(seed=args.seed + run)
            total, steps, end = 0.0, 0, "no step was taken"
            if mode is not None:
                environment.render()
            while not args.no_action and steps < args.n_step:
                observation, reward, terminated, truncated, newest_info = environment.step(choose(newest_info))
                total, steps, end = total + float(reward), steps + 1, f"stopped at --n-step {args.n_step}"
                if terminated or truncated:
                    end = "terminated" if terminated else "truncated"
                    break
                time.sleep(args.delay / 1000)
            each = [f"{player} {observation[player]['returns'][0]:,.3f}" for player in info.agents]
            of_players = f" ({', '.join(each)})" if each else ""
            print(f"run {run + 1}/{args.runs}: return {total:,.3f}{of_players}, {steps} steps, {end}", flush=True)
    finally:
        close_environment(environment, spec.name)
    if videos is not None and videos.exists():
        print(f"videos: {videos}")
    return 0


def _view(spec: EnvironmentSpec, args: argparse.Namespace) -> int:
    """Hand a task of dm_control to its own viewer, with random actions; it begins episodes anew by itself."""
    require_display(spec.name)
    environment = make_environment(spec)
    try:
        if not isinstance(environment, DmControlEpisode):
            raise UsageError(f"{spec.name} is no task of dm_control, whose viewer this is. Use --render human.")
        environment.view(make_generator(args.seed, "play"))
    finally:
        close_environment(environment, spec.name)
    return 0


def _new_directory(base: Path, name: str) -> Path:
    """Return one that is not there yet: what was filmed before stays."""
    stem = re.sub(r"\W+", "-", name)
    return next(path for number in range(10**6) if not (path := base / f"{stem}-{number}").exists())


def _interrupt(number: int, frame: FrameType | None) -> None:
    """End the program, in a way that no environment can be mistaken for."""
    raise Interruption("stopped.", 0)


def cli(argv: list[str] | None = None) -> int:
    """Run the command as a process of its own, which Ctrl-C ends quietly. Returns: the exit code."""
    if threading.current_thread() is threading.main_thread():
        for each in (signal.SIGINT, signal.SIGTERM):
            signal.signal(each, _interrupt)
    return main(argv)


if __name__ == "__main__":
    raise SystemExit(cli())
