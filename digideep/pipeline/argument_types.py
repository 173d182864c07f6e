"""Types of command-line arguments, for argparse: each turns text into a value, or says what is wrong with it.

All of them raise argparse.ArgumentTypeError, whose message argparse completes with the flag.
"""

import argparse
import ipaddress
import os
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

from digideep.parameters.checks import shown
from digideep.utility.importing import SESSIONS
from digideep.utility.text import parse_json

_MAX_NAME, _MAX_PATH = 200, 2000  # bytes; what a session writes has longer names, and file systems end at 255 and 4,095


def json_object(text: str) -> dict[str, Any]:
    """Return a JSON object whose keys are all different, and whose numbers are all finite; of a file after an @."""
    if text.startswith("@"):
        try:
            with open(path_name(text[1:]), encoding="utf-8") as file:
                text = file.read()
        except (OSError, UnicodeDecodeError) as err:
            raise argparse.ArgumentTypeError(f"{text[1:]} cannot be read: {getattr(err, 'strerror', err)}") from err
    try:
        value = parse_json(text, is_strict=True)
    except ValueError as err:
        raise argparse.ArgumentTypeError(
            f"{shown(text)} is no JSON ({err}). Expected an object such as '{{\"seed\": 1}}'; "
            "JSON writes true, false and null"
        ) from err
    if not isinstance(value, dict):
        raise argparse.ArgumentTypeError(f"{shown(text)} is no JSON object. Expected one such as '{{\"seed\": 1}}'")
    return value


def assignment(text: str) -> tuple[str, Any]:
    """Return the key and the value of KEY=VALUE. A value that is no JSON is the text itself; 1e6 is a whole number."""
    key, sign, value = text.partition("=")
    if not sign or not key.strip("/"):
        raise argparse.ArgumentTypeError(f"{shown(text)} is no KEY=VALUE. Expected one such as seed=1")
    digits = value.replace("_", "") if re.fullmatch(r"-?\d+(_\d+)*", value) else value
    try:
        found = parse_json(digits, is_strict=True)
    except ValueError:
        if value[:1] in ("[", "{", '"'):
            raise argparse.ArgumentTypeError(f"{shown(value)} of {shown(key)} is no JSON") from None
        return key, value
    is_whole = isinstance(found, float) and "." not in value and found.is_integer()
    return key, int(found) if is_whole else found


def directory_name(text: str) -> str:
    """Return the path of a session or checkpoint; its name alone is enough for one in ./digideep_sessions."""
    path = os.path.join(SESSIONS, path_name(text))
    return path if not os.path.lexists(text) and os.path.lexists(path) else text


def directory_path(text: str) -> Path:
    """Like `directory_name`, but of any text: a session that is there may have any name, and a missing one is told."""
    path = os.path.join(SESSIONS, text)
    return Path(path if not os.path.lexists(text) and os.path.lexists(path) else text)


def device_name(text: str) -> str:
    """Return the name of a device to compute on."""
    if not re.fullmatch(r"auto|cpu|mps|cuda(:\d{1,3})?", text):
        raise argparse.ArgumentTypeError(f"{shown(text)} is no device. Expected auto, cpu, cuda, cuda:1 or mps")
    return text


def path_name(text: str) -> str:
    """Return the name of a file or directory, if a person can see it and a file system can hold it."""
    if not text.strip():
        raise argparse.ArgumentTypeError("it is empty. Give a path")
    if not text.isprintable():
        raise argparse.ArgumentTypeError(f"{shown(text)} holds characters that cannot be printed")
    if len(text.encode()) > _MAX_PATH or any(len(part.encode()) > _MAX_NAME for part in text.split("/")):
        raise argparse.ArgumentTypeError(
            f"{shown(text)} is too long: a name has at most {_MAX_NAME} bytes, a path {_MAX_PATH}"
        )
    return text


def plain_name(text: str) -> str:
    """Return the name of a new directory."""
    if "/" in path_name(text) or text in (".", "..") or text != text.strip():
        raise argparse.ArgumentTypeError(f"{shown(text)} must be a plain directory name")
    return text


def _integer(low: int, high: int, what: str) -> Callable[[str], int]:
    """Return a type for an integer in [low, high], in at most 18 digits."""

    def read(text: str) -> int:
        if re.fullmatch(r"\d{1,3}(_\d{3})+|\de\d{1,2}", text):  # 1_000_000, 1e6
            text = str(int(float(text)))
        if not (text.isascii() and text.isdecimal() and len(text) <= 18 and low <= int(text) <= high):
            raise argparse.ArgumentTypeError(f"{shown(text)} is no {what}")
        return int(text)

    return read


positive = _integer(1, 10**18 - 1, "positive integer")
natural = _integer(0, 10**18 - 1, "seed. Expected an integer from 0 to 10**18 - 1")
port = _integer(1, 65535, "port. Expected an integer from 1 to 65535")


def address(text: str) -> str:
    """Return an IP address."""
    try:
        return str(ipaddress.ip_address(text))
    except ValueError as err:
        raise argparse.ArgumentTypeError(f"{shown(text)} is no IP address. Expected one such as 0.0.0.0") from err
