"""What recipes of replay methods share whose policy may remember. See docs/recurrence.md."""

from typing import Any

from digideep.parameters.component import Description
from digideep.policy.base import PolicyBase
from params import shared


def replay_panel() -> dict[str, Any]:
    """Return the keys of the control panels of DQN and SAC that say how a policy remembers, if it does."""
    return {
        "recurrent": False,  # the policy remembers, and learns from sequences
        "cell": "gru",  # or lstm
        "core_size": 64,  # units of the cell; SAC has two of them, one for the actor and one for the critics
        # Kapturowski et al. 2019, Section 3, have 80 rows with a burn-in of half as many, for Atari
        "sequence_length": 16,  # rows of a sequence, which is how far gradients reach back; divides batch_size
        "burn_in": 8,  # rows before them that only warm the state up
    }


def replay_policy(cpanel: dict[str, Any], *classes: type[PolicyBase]) -> Description:
    """Describe the policy of a replay method. Args: classes: of the plain one, and of the one that remembers."""
    # A panel that says false may have the keys of both.
    plain, recurrent = (shared.describe_from(cpanel, cls, **shared.encoder_parameters(cpanel)) for cls in classes)
    return recurrent if cpanel["recurrent"] else plain
