"""A real browser, without a window."""

import shutil
import subprocess

CHROMIUM = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None)
_FLAGS = (
    "--headless --no-sandbox --disable-gpu --disable-quic --no-first-run --disable-background-networking "
    "--disable-component-update --disable-sync --enable-logging=stderr --v=0"
)


def look(url, profile, *more):
    """What it shows: the document after its scripts have run, and what the page complained about."""
    assert CHROMIUM is not None, (
        "the tests look at pages in Chromium: install it, such as with apt-get install chromium"
    )
    command = [CHROMIUM, *_FLAGS.split(), f"--user-data-dir={profile}", *more, "--dump-dom", url]
    done = subprocess.run(command, capture_output=True, text=True, timeout=120)
    return done.stdout, [line for line in done.stderr.splitlines() if "CONSOLE" in line]
