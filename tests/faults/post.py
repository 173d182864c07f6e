"""Deliberate faults in `digideep/post`."""

from tests.faults.runner import Fault

FAULTS: tuple[Fault, ...] = ()
