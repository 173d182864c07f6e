"""Deliberate faults in `digideep/agent`."""

from tests.faults.runner import Fault

FAULTS: tuple[Fault, ...] = ()
