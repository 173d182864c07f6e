"""Deliberate faults in `digideep/memory`."""

from tests.faults.runner import Fault

FAULTS: tuple[Fault, ...] = ()
