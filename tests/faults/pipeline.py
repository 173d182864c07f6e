"""Deliberate faults in `digideep/pipeline`."""

from tests.faults.runner import Fault

FAULTS: tuple[Fault, ...] = ()
