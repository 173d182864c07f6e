"""An engine whose jobs have their imports done: they take most of a short run's time."""

import time

from digideep.launch.engine import Ended
from tests.support.forked import ForkedProgram


class ForkedEngine:
    """Runs jobs in forked processes; see `digideep.launch.engine.Engine`. Args: jobs: how many at once."""

    def __init__(self, jobs: int = 1):
        self.jobs, self.started, self._running = jobs, [], {}

    @property
    def free(self):
        return self.jobs - len(self._running)

    def start(self, job):
        job.log.parent.mkdir(exist_ok=True)
        self.started.append((job.name, job.stop_after))
        self._running[job.name] = job, ForkedProgram(job.words(), job.log)

    def wait(self, timeout_s):
        deadline = time.monotonic() + timeout_s
        while not (ended := self._ended()) and time.monotonic() < deadline:
            time.sleep(0.01)
        return ended

    def _ended(self):
        ended = []
        for name, (job, process) in list(self._running.items()):
            if (code := process.poll()) is not None:
                del self._running[name]
                lines = job.log.read_text().splitlines() or [""]
                ended.append(Ended(job, code, "" if code in (0, 3, 75) else lines[-1].removeprefix("digideep: ")))
        return ended

    def stop(self):
        for _, process in self._running.values():
            process.terminate()
        ended = []
        while self._running:
            ended += self.wait(1.0)
        return ended
