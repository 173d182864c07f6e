"""Sends the logs of sessions to a dashboard: `digideep export-logs SESSION… --to tensorboard|wandb|mlflow [-o DIR]`."""

import argparse
from collections import Counter
from pathlib import Path

from digideep.parameters.parser import Parser
from digideep.pipeline.argument_types import directory_path
from digideep.pipeline.session_directory import require_own_files
from digideep.post.loader import Loader, read_sessions
from digideep.post.status import state_of
from digideep.telemetry.mlflow import MlflowWriter
from digideep.telemetry.output import command
from digideep.telemetry.requirements import require_mlflow, require_wandb
from digideep.telemetry.sinks import TITLES, Sink, undisturbed
from digideep.telemetry.tensorboard import TensorBoardWriter
from digideep.telemetry.wandb import WandbWriter
from digideep.telemetry.writers import Writer
from digideep.utility.errors import UsageError
from digideep.utility.own_files import require_no_link, require_own_output
from digideep.utility.text import printable

_REQUIREMENTS = {"tensorboard": lambda: None, "wandb": require_wandb, "mlflow": require_mlflow}
_ABOUT = ("session_name", "session_msg", "session_cmd", "session_from", "versions")  # beside the tree in params.yaml


def export_logs(loader: Loader, name: str, output: Path | None = None) -> tuple[int, str]:
    """Tell a dashboard what a session has logged: all numbers of all epochs, and the parameters.

    What it has been told already is not told again, see `Sink`.

    Args:
        name: "tensorboard", "wandb" or "mlflow".
        output: where files are written; None for the session itself, as if it had been started with that flag.

    Returns:
        How many epochs are new, and where to look.

    Raises:
        UsageError: if the session is running and would write there itself, or if the dashboard fails.
        SessionError: if its logs are damaged.
    """
    session = loader.path
    if output is None:
        if state_of(session) == "running":
            raise UsageError(f"{session} is running, and writes there itself. Give another place with -o DIR.")
        require_own_files(session)
    place = session / "sinks" if output is None else output / loader.name
    base = session if output is None else output
    require_no_link(place / f"{name}.json", [session])
    require_own_output(base, place / f"{name}.json")

    def make(run_id: str | None, told: int | None) -> Writer:
        if name == "tensorboard":
            return TensorBoardWriter(session / name if output is None else place, told, None, loader.name)
        if name == "wandb":
            return WandbWriter(base, loader.name, run_id)
        return MlflowWriter(base / name, loader.name, run_id)

    tree = {key: value for key, value in loader.params.items() if key not in _ABOUT}
    sink = None
    try:
        with undisturbed():
            sink = Sink(name, place / f"{name}.json", loader.name if output is None else str(session), make)
            if sink.is_new:
                sink.writer.parameters(loader.cpanel, tree)
            number = sink.catch_up(session)
    except UsageError:
        raise
    except Exception as err:  # whatever it is in these packages
        reason = " ".join(f"{type(err).__name__}: {err}".split())[:300]
        raise UsageError(f"{TITLES[name]} fails with {printable(str(session))} ({reason}).") from err
    finally:
        if sink is not None:
            sink.writer.close()
    return number, sink.writer.address or str(session / name if output is None else output)


def make_parser() -> argparse.ArgumentParser:
    """Return what reads the command line."""
    parser = Parser(
        prog="digideep export-logs",
        description="Send the logs of sessions to TensorBoard's files, Weights & Biases or MLflow, also of such as ran "
        "without them. What one has been told already is not sent again.",
        epilog=(
            "examples:\n  digideep export-logs A B --to tensorboard -o runs    # then: tensorboard --logdir runs\n"
            "  WANDB_MODE=offline digideep export-logs A --to wandb"
        ),
    )
    parser.add_argument("sessions", nargs="+", type=directory_path, metavar="SESSION")
    parser.add_argument("--to", required=True, choices=tuple(_REQUIREMENTS), help="where to")
    parser.add_argument(
        "-o", "--output", type=Path, metavar="DIR", help="where files are written (each session itself)"
    )
    return parser


@command
def main(argv: list[str] | None = None) -> None:
    """Run the command."""
    args = make_parser().parse_args(argv)
    _REQUIREMENTS[args.to]()
    loaders = read_sessions(dict.fromkeys(args.sessions), "params", "cpanel", "varlog", "prolog", "monlog")
    twice = [name for name, number in Counter(loader.name for loader in loaders).items() if number > 1]
    if args.output is not None and twice:
        raise UsageError(f"Two sessions are called {printable(twice[0])}: send them to two directories.")
    for loader in loaders:
        number, address = export_logs(loader, args.to, args.output)
        print(printable(f"{loader.name}: {number} epochs sent: {address}" if number else f"{loader.name}: nothing new"))


if __name__ == "__main__":
    raise SystemExit(main())
