"""Completes the command `digideep` in a shell: `eval "$(digideep completion bash)"`."""

import argparse
import importlib

from digideep.parameters.parser import Parser
from digideep.pipeline.arguments import make_parser as make_verb_parser
from digideep.pipeline.flags import add_flags
from digideep.pipeline.tools import TOOLS
from digideep.pipeline.verbs import VERBS
from digideep.telemetry.output import command
from digideep.utility.errors import UsageError

SHELLS = ("bash", "zsh", "tcsh")


def make_parser() -> argparse.ArgumentParser:
    """Return what reads the command line."""
    parser = Parser(
        prog="digideep completion", description="Print what completes digideep's verbs and flags.",
        epilog='examples:\n  eval "$(digideep completion bash)"    # in ~/.bashrc',
    )  # fmt: skip
    parser.add_argument("shell", choices=SHELLS)
    return parser


def whole_parser() -> argparse.ArgumentParser:
    """Return one parser of all flags, verbs and tools."""
    whole = argparse.ArgumentParser(prog="digideep")
    add_flags(whole)
    verbs = whole.add_subparsers()
    for name, verb in VERBS.items():
        verbs.add_parser(name, help=verb.help, parents=[make_verb_parser(name)], add_help=False)
    for name, (module, what) in TOOLS.items():
        verbs.add_parser(name, help=what, parents=[importlib.import_module(module).make_parser()], add_help=False)
    return whole


@command
def main(argv: list[str] | None = None) -> None:
    """Run the command."""
    args = make_parser().parse_args(argv)
    try:
        import shtab
    except ImportError as err:
        raise UsageError("Completion needs a package that is missing: pip install 'digideep[completion]'.") from err
    whole = whole_parser()
    waiting = [whole]
    while waiting:
        for action in waiting.pop()._actions:
            if isinstance(action, argparse._SubParsersAction):
                waiting += action.choices.values()
            elif action.metavar in ("FILE", "DIR", "SESSION", "PATH"):
                action.complete = shtab.FILE  # type: ignore[attr-defined]  # what shtab looks for
    print(shtab.complete(whole, args.shell))


if __name__ == "__main__":
    raise SystemExit(main())
