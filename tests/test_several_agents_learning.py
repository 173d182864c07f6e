"""Do several agents learn together? One quick look in every test run; `make learning` trains to stated levels."""

import pytest

from tests.helpers import ROOT
from tests.test_learning import final_return

MPE = str(ROOT / "params/ppo_mpe.py")


@pytest.mark.parametrize(
    ("players", "is_alike"),
    [({"one": ["first"], "other": ["second"]}, False), ({"both": ["*"]}, True)],
    ids=["independent", "shared"],
)
def test_two_players_agree_where_to_meet(tmp_path, players, is_alike):
    changes = {"model_name": "tests/meeting", "from_module": "tests.parallel", "env_kwargs": {"is_alike": is_alike}}
    plan = {"number_epochs": 1, "epoch_size": 40, "num_workers": 8, "n_steps": 10, "num_mini_batches": 2, "lr": 0.01}
    # At random 3.75; 5 if they agree on the wrong place; 10 at best.
    final = final_return(
        tmp_path, MPE, players=players, compile="off", test_activate=False, n_update=4, **changes, **plan
    )
    assert final >= 9


@pytest.mark.learning
@pytest.mark.timeout(3600)
@pytest.mark.parametrize("seed", [0, 1])
def test_three_players_spread_over_the_landmarks_within_500_000_frames(tmp_path, seed):
    # At random -81, without a move -76; -25 with a landmark assigned to each and the shortest way there.
    assert final_return(tmp_path, MPE, seed=seed, compile="off", test_activate=False) >= -55
