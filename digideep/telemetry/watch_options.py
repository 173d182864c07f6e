"""How a person wants to watch a run."""

from dataclasses import dataclass

LOCALHOST = "127.0.0.1"


@dataclass(frozen=True)
class WatchOptions:
    """What is logged and shown besides the files of every run, named as on the command line."""

    tensorboard: bool = False
    visdom: bool = False
    visdom_port: int = 8097
    bind: str = LOCALHOST  # the address that both servers listen on
    no_monitor_cpu: bool = False
    no_monitor_gpu: bool = False
