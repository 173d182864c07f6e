"""A short form of `python -m tests.damage`."""

import pytest

from tests.damage.harness import COMMANDS, explore
from tests.damage.mutations import MUTATIONS


@pytest.mark.timeout(600)
def test_no_damage_to_a_session_hangs_runs_code_reaches_outside_loses_what_is_whole_or_ends_in_a_traceback():
    others = [command for command in COMMANDS if command != "resume"]
    ways = len(MUTATIONS) + 1

    def commands(index):
        other = others[index % len(others)]
        return ("resume", other) if index < ways else (other,)

    assert explore(2 * ways, seed=11, commands=commands) == []
