"""Pictures of a real terminal: `python -m tests.support.terminal COLUMNS SECONDS FILE.svg COMMAND…`.

The command runs in a pseudo-terminal of so many columns. What its screen shows after so many seconds, or at its end,
becomes an SVG file by way of rich.
"""

import fcntl
import os
import pty
import re
import select
import struct
import sys
import termios
import time
from pathlib import Path

from rich.console import Console
from rich.text import Text

_ROWS = 50
_ERASE, _UP = re.compile(r"\x1b\[2K"), re.compile(r"\x1b\[(\d*)A")
# Rich's own frame, without fonts from the network.
_FORMAT = """<svg class="rich-terminal" viewBox="0 0 {width} {height}" xmlns="http://www.w3.org/2000/svg">
<style>.{unique_id}-matrix {{ font-family: ui-monospace, Menlo, Consolas, "DejaVu Sans Mono", monospace;
font-size: {char_height}px; line-height: {line_height}px; font-variant-east-asian: full-width }} {styles}</style>
<defs><clipPath id="{unique_id}-clip-terminal"><rect x="0" y="0" width="{terminal_width}" height="{terminal_height}"/>
</clipPath>{lines}</defs>{chrome}<g transform="translate({terminal_x}, {terminal_y})"
clip-path="url(#{unique_id}-clip-terminal)">{backgrounds}<g class="{unique_id}-matrix">{matrix}</g></g></svg>
"""


def watch(columns: int, seconds: float, command: list[str]) -> str:
    """Run a command in a terminal. Returns: all that it wrote by then; it is ended if it goes on."""
    process, terminal = pty.fork()
    if process == 0:
        os.environ["TERM"] = "xterm-256color"
        os.execvp(command[0], command)
    fcntl.ioctl(terminal, termios.TIOCSWINSZ, struct.pack("HHHH", _ROWS, columns, 0, 0))
    written, end = b"", time.monotonic() + seconds
    while (left := end - time.monotonic()) > 0:
        if select.select([terminal], [], [], left)[0]:
            try:
                data = os.read(terminal, 65536)
            except OSError:  # it has ended
                break
            if not data:
                break
            written += data
    os.close(terminal)  # which ends the command
    os.waitpid(process, 0)
    return written.decode()


def screen_of(written: str) -> list[str]:
    """Return the lines of the screen, colours included: a panel is drawn over by going up and erasing lines."""
    lines = [""]
    at = 0
    for part in re.split(r"(\r\n|\r|\n|\x1b\[2K|\x1b\[\d*A|\x1b\[\?\d+[hl])", written):
        if part in ("\r\n", "\n"):
            at += 1
            lines += [""] * (at + 1 - len(lines))
        elif _ERASE.match(part):
            lines[at] = ""
        elif found := _UP.match(part):
            at = max(at - int(found[1] or 1), 0)
        elif not part.startswith(("\x1b[?", "\r")):
            lines[at] += part
    while lines and not lines[-1].strip():
        lines.pop()
    return lines


def main(columns: str, seconds: str, file: str, *command: str) -> None:
    """Run the command."""
    lines = screen_of(watch(int(columns), float(seconds), list(command)))
    with open(os.devnull, "w") as nowhere:
        console = Console(record=True, width=int(columns), file=nowhere, force_terminal=True)
        for line in map(Text.from_ansi, lines):
            for start in range(0, max(len(line), 1), int(columns)):  # a terminal breaks anywhere
                console.print(line[start : start + int(columns)])
        svg = console.export_svg(title=" ".join([Path(command[0]).name, *command[1:]]), code_format=_FORMAT)
    Path(file).write_text("\n".join(line.rstrip() for line in svg.splitlines()) + "\n")


if __name__ == "__main__":
    main(*sys.argv[1:])
