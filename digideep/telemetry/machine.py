"""Log the load of the machine to `monlog.json`, by a thread that sleeps nearly all the time."""

import logging
import threading
import time
from pathlib import Path

import psutil

from digideep.utility.files import append_json

_MEGABYTE = 2**20
_INTERVAL_S = 2.0  # from measurement to measurement


class StatLogger:
    """Writes CPU (psutil) and NVIDIA GPU (nvidia-ml-py, if installed) figures every two seconds.

    The thread is a daemon: it never keeps a finished run alive. What goes wrong in it costs one warning.

    Attributes:
        latest: the newest figures: loads in percent (100 is one busy core for `/cpu/process`), memory in MiB.
    """

    def __init__(self, path: Path | None, *, monitor_cpu: bool, monitor_gpu: bool):
        self.path = path
        self.latest: dict[str, float] = {}
        self._process = psutil.Process() if monitor_cpu else None
        self._children: dict[int, psutil.Process] = {}
        self._gpus = _find_gpus() if monitor_gpu else []
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._run, name="digideep-stats", daemon=True)
        if self._process or self._gpus:
            self._thread.start()

    def sample(self) -> dict[str, float]:
        """Measure once; loads are those since the measurement before."""
        figures: dict[str, float] = {}
        if self._process:
            memory = psutil.virtual_memory()
            load, resident = self._family()
            figures["/cpu/all/total"] = psutil.cpu_percent()
            figures["/cpu/process"] = load
            figures["/cpu/memory/total"] = memory.total / _MEGABYTE
            figures["/cpu/memory/used"] = memory.used / _MEGABYTE
            figures["/cpu/memory/mem"] = resident
        for index, (nvml, handle) in enumerate(self._gpus):
            memory = nvml.nvmlDeviceGetMemoryInfo(handle)
            figures[f"/gpu/{index}/load"] = nvml.nvmlDeviceGetUtilizationRates(handle).gpu
            figures[f"/gpu/{index}/memory/total"] = memory.total / _MEGABYTE
            figures[f"/gpu/{index}/memory/used"] = memory.used / _MEGABYTE
        return figures

    def _family(self) -> tuple[float, float]:
        """Return load and memory of this process and its children, which include the workers."""
        assert self._process is not None
        children = {child.pid: child for child in self._process.children(recursive=True)}
        self._children = {pid: self._children.get(pid, child) for pid, child in children.items()}
        load, resident = 0.0, 0.0
        for process in (self._process, *self._children.values()):
            try:
                load += process.cpu_percent()
                resident += process.memory_info().rss / _MEGABYTE
            except psutil.Error:
                continue  # it has ended since
        return load, resident

    def _run(self) -> None:
        try:
            self.sample()  # loads count from here
            while not self._stop.wait(_INTERVAL_S):
                self.latest = self.sample()
                figures = {"std": 0.0, "num": 1}
                data = {k: {**figures, "min": v, "max": v, "sum": v} for k, v in self.latest.items()}
                append_json(self.path, [{"meta": {"clock": time.time()}, "data": data}])
        except Exception as err:  # a measurement never ends a training
            logging.getLogger("digideep").warning("The load of the machine is logged no more: %s", err)

    def close(self) -> None:
        """Stop the thread."""
        self._stop.set()
        if self._thread.is_alive():
            self._thread.join()


def _find_gpus() -> list:
    """Return (module, handle) of each NVIDIA GPU; none if there is no driver or no nvidia-ml-py."""
    try:
        import pynvml

        pynvml.nvmlInit()
        return [(pynvml, pynvml.nvmlDeviceGetHandleByIndex(i)) for i in range(pynvml.nvmlDeviceGetCount())]
    except ImportError:
        return []
    except pynvml.NVMLError:
        return []
