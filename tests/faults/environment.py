"""Deliberate faults in `digideep/environment`."""

from tests.faults.runner import Fault

FAULTS: tuple[Fault, ...] = ()
