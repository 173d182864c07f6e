"""A real browser, without a window."""

import base64
import json
import os
import shutil
import subprocess
import time

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


class Page:
    """A page in a browser of its own, driven by Chromium's debugging protocol through a pair of pipes.

    Attributes:
        complaints: what the page wrote to its console, what it was not allowed, and what it threw.
        requests: addresses that it asked for, itself included.
    """

    def __init__(self, profile, width=1200, height=900):
        self.complaints, self.requests, self._count = [], [], 0
        (to_read, self._write), (self._read, to_write) = os.pipe(), os.pipe()
        command = [CHROMIUM, *_FLAGS.split(), f"--user-data-dir={profile}", "--remote-debugging-pipe"]
        self._process = subprocess.Popen(
            ["bash", "-c", f'exec "$@" 3<&{to_read} 4>&{to_write}', "_", *command],
            pass_fds=(to_read, to_write), stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
        )  # fmt: skip
        os.close(to_read)
        os.close(to_write)
        self._stream = open(self._read, "rb", buffering=0)  # noqa: SIM115
        self._rest, self._session = b"", None
        target = self.call("Target.createTarget", url="about:blank")["targetId"]
        self._session = self.call("Target.attachToTarget", targetId=target, flatten=True)["sessionId"]
        for domain in ("Page", "Runtime", "Network", "Log"):
            self.call(f"{domain}.enable")
        self.resize(width, height)

    def __enter__(self):
        return self

    def __exit__(self, *error):
        self._process.kill()
        self._process.wait()
        os.close(self._write)
        self._stream.close()

    def _message(self):
        while b"\0" not in self._rest:
            data = self._stream.read(2**20)
            assert data, "the browser has ended"
            self._rest += data
        text, _, self._rest = self._rest.partition(b"\0")
        return json.loads(text)

    def call(self, method, **parameters):
        """Ask the browser, noting what the page does meanwhile. Returns: its answer."""
        self._count += 1
        message = {"id": self._count, "method": method, "params": parameters}
        os.write(
            self._write, json.dumps(message | ({"sessionId": self._session} if self._session else {})).encode() + b"\0"
        )
        while True:
            found = self._message()
            details = found.get("params", {})
            if found.get("method") == "Network.requestWillBeSent":
                self.requests.append(details["request"]["url"])
            elif found.get("method") in ("Runtime.consoleAPICalled", "Runtime.exceptionThrown", "Log.entryAdded"):
                self.complaints.append(details)
            elif found.get("id") == self._count:
                assert "error" not in found, found
                return found["result"]

    def resize(self, width, height):
        self.call("Emulation.setDeviceMetricsOverride", width=width, height=height, deviceScaleFactor=1, mobile=False)

    def run(self, script):
        """Return what a script comes to, in the page; a promise is waited for."""
        found = self.call("Runtime.evaluate", expression=script, returnByValue=True, awaitPromise=True)
        assert "exceptionDetails" not in found, found
        return found["result"].get("value")

    def open(self, url, ready="document.readyState == 'complete'"):
        """Open a page. Args: ready: a script that is true when it is there."""
        self.call("Page.navigate", url=url)
        deadline = time.monotonic() + 60
        while not self.run(ready):
            assert time.monotonic() < deadline, self.complaints
            time.sleep(0.05)

    def picture(self, file, **clip):
        """Write what it shows as PNG."""
        options = {"clip": {**clip, "scale": 1}, "captureBeyondViewport": True} if clip else {}
        file.write_bytes(base64.b64decode(self.call("Page.captureScreenshot", format="png", **options)["data"]))
