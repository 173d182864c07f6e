"""How long a run is: frames of the control panel become epochs and cycles."""

import pytest

from digideep.utility.errors import UsageError
from params import dqn_classic, ppo_classic, sac_classic, shared


def plan(module=ppo_classic, **changes):
    tree = module.gen_params(module.cpanel | changes)
    runner, train = tree["runner"], tree["explorer"]["train"]
    chunk = train["num_workers"] * train["n_steps"]
    return runner["n_epochs"], runner["n_cycles"], runner["n_epochs"] * runner["n_cycles"] * chunk


def test_workers_and_steps_do_not_change_how_long_a_run_is():
    assert plan() == (24, 20, 491_520)
    assert plan(num_workers=16) == (24, 10, 491_520)
    assert plan(num_workers=1, n_steps=32) == (24, 640, 491_520)
    assert plan(n_steps=2048) == (30, 1, 491_520), "a chunk is 16,384 frames, nearly a whole epoch"


@pytest.mark.parametrize("total", [1, 1000, 10_000, 20_500, 99_999, 500_000, 1_000_000, 10**9])
@pytest.mark.parametrize(("workers", "steps"), [(8, 128), (1, 1), (3, 7), (16, 2048)])
def test_a_run_has_its_frames_and_hardly_more(total, workers, steps):
    epochs, cycles, frames = plan(total_frames=total, num_workers=workers, n_steps=steps)
    chunk = workers * steps
    assert total <= frames < total * 1.02 + 2 * chunk
    assert cycles == 1 or cycles * chunk <= 20_480 * 1.25 + chunk
    assert epochs >= 1


def test_a_whole_number_of_epochs_is_found_where_there_is_one():
    assert plan(sac_classic, total_frames=20_500) == (20, 1025, 20_500)


def test_the_old_keys_count_as_they_did():
    assert plan(number_epochs=3) == (3, 20, 61_440)
    assert plan(number_epochs=3, epoch_size=5) == (3, 5, 15_360)
    assert plan(epoch_size=5) == (96, 5, 491_520)
    assert plan(number_epochs=3, num_workers=16) == (3, 10, 61_440)


@pytest.mark.parametrize("key", ["total_frames", "epoch_frames", "number_epochs", "epoch_size"])
def test_no_frames_are_refused(key):
    with pytest.raises(UsageError, match=f"{key} must be an integer of at least 1, got 0"):
        plan(**{key: 0})


def test_the_memory_holds_as_many_transitions_whatever_a_chunk_is():
    def chunks(**changes):
        return dqn_classic.gen_params(dqn_classic.cpanel | changes)["memory"]["buffer_chunk_len"]

    assert chunks() * 4 * 32 == 102_400
    assert chunks(num_workers=16, n_steps=1) * 16 == 102_400
    assert chunks(memory_size=1000, num_workers=3) == 11, "1,056 transitions"
    assert chunks(memory_size_in_chunks=5) == 5
    with pytest.raises(UsageError, match=r"memory_size must hold at least one batch \(128 transitions\), got 64"):
        chunks(memory_size=64, num_workers=1)


def test_every_recipe_says_how_long_it_is_in_frames():
    assert shared.session_panel()["number_epochs"] is None
    for module in (ppo_classic, dqn_classic, sac_classic):
        assert module.cpanel["total_frames"] == plan(module)[2]
