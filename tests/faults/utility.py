"""Deliberate faults in `digideep/utility`."""

from tests.faults.runner import Fault

FAULTS: tuple[Fault, ...] = ()
