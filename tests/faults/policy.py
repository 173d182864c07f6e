"""Deliberate faults in `digideep/policy`."""

from tests.faults.runner import Fault

FAULTS: tuple[Fault, ...] = ()
