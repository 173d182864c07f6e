"""Do several agents learn together? `make learning` trains to stated levels."""

import pytest

from tests.margins import final_return
from tests.support.helpers import ROOT

MPE = str(ROOT / "params/ppo_mpe.py")


@pytest.mark.learning
@pytest.mark.timeout(3600)
@pytest.mark.parametrize("seed", [0, 1])
def test_three_players_spread_over_the_landmarks_within_500_000_frames(tmp_path, seed):
    # At random -81, without a move -76; -25 with a landmark assigned to each and the shortest way there.
    assert final_return(tmp_path, MPE, seed=seed, compile="off", test_activate=False) >= -55
