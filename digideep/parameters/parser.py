"""The command line of every program here: what is wrong with it is said in one line."""

import argparse
from typing import NoReturn

from digideep.parameters.suggest import did_you_mean
from digideep.utility.errors import UsageError


class Parser(argparse.ArgumentParser):
    """Reads a command line; examples at the end of its help stand as they are written.

    Raises:
        UsageError: where argparse would print how to use it, and exit.
    """

    def __init__(self, **options: object):
        defaults = {"formatter_class": argparse.RawDescriptionHelpFormatter, "allow_abbrev": False}
        super().__init__(**(defaults | options))  # type: ignore[arg-type]

    def error(self, message: str) -> NoReturn:
        """Refuse the command line. Args: message: argparse's."""
        if message.startswith("unrecognized arguments: "):
            flag = (message.split(": ", 1)[1].split() or [""])[0]
            message = f"unknown argument '{flag}'. {did_you_mean(flag, self._option_string_actions)}"
        raise UsageError(f"{message}{'' if message.endswith(('.', '?')) else '.'} See --help.")
