"""Random network distillation: gradients, normalisation and what is new against numbers by hand."""

import json
import threading
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from gymnasium.spaces import Box, Dict, Discrete, Text

from digideep.environment.novelty import Perceptron, VecNovelty
from digideep.main import main
from digideep.parameters.component import describe
from digideep.utility.errors import UsageError
from tests.pipeline.test_resume import last, train
from tests.support.helpers import CLASSIC, ROOT, Scripted, make_explorer, tiny

SPACES = {"/agent": Box(-np.inf, np.inf, (2,), np.float32)}


def buffers(rows, workers=None):
    """What a wrapper needs of its buffers: rows of observations."""
    array = np.array(rows, np.float32)
    return SimpleNamespace(observations={"/agent": array}, workers=workers or slice(0, len(array)), is_stale=None)


def step(wrapper, rows, rewards=None, moved=None, workers=None):
    """The rewards that come out of a step to these observations."""
    count = len(rows)
    rewards = np.zeros(count, np.float32) if rewards is None else np.array(rewards, np.float32)
    moved = np.ones(count, np.bool_) if moved is None else np.array(moved)
    return wrapper.step(buffers(rows, workers), {}, rewards, moved)[1]


def novelty(mode="train", num_workers=2, seed=0, spaces=SPACES, **parameters):
    return VecNovelty(mode, num_workers, spaces, seed, **{"rnd_coef": 1.0, **parameters})


def torch_twin(network):
    """The same network in torch."""
    layers = []
    for weight, bias in network._layers:
        linear = torch.nn.Linear(*weight.shape)
        linear.weight.data, linear.bias.data = torch.tensor(weight.T.copy()), torch.tensor(bias.copy())
        layers += [linear, torch.nn.ReLU()]
    return torch.nn.Sequential(*layers[:-1])


def flat_of(twin):
    """Its parameters in the order of ours."""
    return np.concatenate([p.detach().numpy().T.ravel() for p in twin.parameters()])


# ------------------------------------------------------------------ learning


def test_a_network_computes_and_differentiates_as_torch_does():
    network = Perceptron([3, 5, 4, 2], np.random.default_rng(0))
    twin, x = torch_twin(network), np.random.default_rng(1).normal(size=(6, 3)).astype(np.float32)
    values = network.forward(x)
    output = twin(torch.tensor(x))
    np.testing.assert_allclose(values[-1], output.detach().numpy(), rtol=1e-5, atol=1e-6)
    (output**2).sum().backward()
    expected = np.concatenate([p.grad.numpy().T.ravel() for p in twin.parameters()])
    np.testing.assert_allclose(network.backward(values, 2 * values[-1]), expected, rtol=1e-4, atol=1e-5)


def test_the_predictor_takes_the_steps_of_adam_on_the_mean_squared_error():
    wrapper = novelty(lr=1e-2)
    predictor, target = torch_twin(wrapper._predictor), torch_twin(wrapper._target)
    optimizer = torch.optim.Adam(predictor.parameters(), lr=1e-2)
    rows = np.array([[-3.0, 0.0], [5.0, 8.0]])  # standardised, -1 and 1 each, and so they stay
    for _ in range(3):
        step(wrapper, rows)
        x = torch.tensor([[-1.0, -1.0], [1.0, 1.0]])
        optimizer.zero_grad()
        ((predictor(x) - target(x).detach()) ** 2).mean().backward()
        optimizer.step()
    np.testing.assert_allclose(wrapper._predictor.flat, flat_of(predictor), rtol=1e-2, atol=1e-3)
    np.testing.assert_array_equal(wrapper._target.flat, flat_of(target))


def test_what_was_seen_often_ceases_to_be_new_and_what_was_never_seen_does_not():
    space = {"/agent": Discrete(4, start=-1)}
    wrapper = novelty(spaces=space, lr=1e-3)

    def errors(place):
        row = np.full(2, place)
        wrapper.step(SimpleNamespace(observations={"/agent": row}, workers=slice(0, 2)), {}, np.zeros(2), row == row)
        return wrapper.metrics()["/intrinsic/error"]

    first = [errors(place) for place in (-1, 0, 1)]
    for _ in range(500):
        errors(-1)
        errors(0)
        errors(1)
    often = [errors(place) for place in (-1, 0, 1)]
    assert max(often) < 0.05 * min(first)
    assert errors(2) > 10 * max(often)


# ------------------------------------------------------------------ numbers by hand


def test_the_reward_is_the_error_by_the_spread_of_a_sum_that_goes_on_over_ends_of_episodes():
    wrapper = novelty(gamma=0.5, rnd_coef=2.0, lr=1e-5)
    x = np.array([[-1.0, -1.0], [1.0, 1.0]], np.float32)
    sums, seen = np.zeros(2), []
    for _ in range(3):
        difference = wrapper._predictor.forward(x)[-1] - wrapper._target.forward(x)[-1]
        errors = (difference**2).mean(1)
        sums = 0.5 * sums + errors
        seen += sums.tolist()
        rewards = step(wrapper, [[-3.0, 0.0], [5.0, 8.0]], rewards=[10.0, 20.0])
        scale = np.sqrt(np.var(seen) + 1e-8)
        expected = [10, 20] + 2 * np.minimum(errors / scale, 5.0)
        assert rewards == pytest.approx(expected, rel=2e-3)
    assert wrapper.metrics()["/intrinsic/scale"] == pytest.approx(scale, rel=2e-3)
    assert wrapper.metrics() == {}  # none since


def test_observations_are_clipped_to_five_deviations():
    wrapper, other = novelty(num_workers=1, lr=1e-9), novelty(num_workers=1, lr=1e-9)
    for each in (wrapper, other):
        for _ in range(200):
            step(each, [[-1.0, -1.0]], workers=slice(0, 1))
            step(each, [[1.0, 1.0]], workers=slice(0, 1))
        each.metrics()
    step(wrapper, [[8.0, 8.0]])
    step(other, [[9.0, 9.0]])  # both are more than five deviations away
    assert wrapper.metrics()["/intrinsic/error"] == other.metrics()["/intrinsic/error"]


def test_a_row_that_took_no_step_is_neither_rewarded_nor_learned_from():
    wrapper = novelty()
    before = wrapper.state_dict()
    assert step(wrapper, [[1.0, 2.0], [3.0, 4.0]], moved=[False, False]).tolist() == [0, 0]
    assert wrapper.state_dict()["n_updates"] == before["n_updates"] == 0
    rewards = step(wrapper, [[1.0, 2.0], [3.0, 4.0]], moved=[False, True])
    assert rewards[0] == 0 < rewards[1]
    assert wrapper.state_dict()["returns"].tolist()[0] == 0
    assert wrapper.state_dict()["seen"]["mean"] == pytest.approx([3, 4], rel=1e-3)


@pytest.mark.parametrize("mode", ["test", "eval", "demo"])
def test_only_training_is_rewarded_for_what_is_new(mode):
    wrapper = novelty(mode)
    assert step(wrapper, [[1.0, 2.0], [3.0, 4.0]], rewards=[1, 2]).tolist() == [1, 2]
    assert wrapper.state_dict()["n_updates"] == 0


def test_what_is_logged_stays_the_tasks_own_return():
    wrappers = [describe(VecNovelty, rnd_coef=3.0)]
    explorer = make_explorer("Counter-v0", Scripted([0, 0]), wrappers=wrappers, n_steps=4, env_kwargs={"length": 3})
    rewards = explorer.update()["/rewards"][:, :3, 0]
    assert (rewards > [1, 2, 3]).all()
    assert [episode.episode_return for episode in explorer.take_episodes()] == [6.0, 6.0]


def test_observations_of_several_kinds_become_one_vector():
    spaces = Dict({"a": Discrete(3), "b": Box(0, 255, (2, 2), np.uint8), "c": Text(4)})
    wrapper = novelty(spaces={f"/{name}": space for name, space in spaces.items()})
    rows = {"/a": np.array([2, 0]), "/b": np.arange(8, dtype=np.uint8).reshape(2, 2, 2)}
    flat = wrapper._flatten(rows, np.array([1, 0]))
    assert flat.tolist() == [[1, 0, 0, 4, 5, 6, 7], [0, 0, 1, 0, 1, 2, 3]]


def test_a_state_of_many_numbers_takes_room_for_its_own_row_only():
    wrapper = novelty(spaces={"/agent": Discrete(100_000, start=5)})
    flat = wrapper._flatten({"/agent": np.array([[7], [5]])}, np.array([0, 1]))
    assert flat.shape == (2, 100_000)
    assert np.argwhere(flat).tolist() == [[0, 2], [1, 0]]


@pytest.mark.parametrize(
    ("wrong", "expected"),
    [
        ({"rnd_coef": -1.0}, "rnd_coef must be a finite number of at least 0, got -1.0"),
        ({"gamma": 2.0}, r"gamma must be a number in \[0, 1\], got 2.0"),
        ({"lr": "fast"}, "lr must be a finite number"),
        ({"spaces": {"/agent": Text(4)}}, "rnd_coef must be 0, as no observation consists of numbers, got 1.0"),
    ],
)
def test_what_makes_no_sense_is_refused(wrong, expected):
    with pytest.raises(UsageError, match=expected):
        novelty(**wrong)


@pytest.mark.parametrize(
    ("params", "changes", "reason"),
    [
        (CLASSIC, {"rnd_coef": -0.5}, "rnd_coef must be a finite number of at least 0, got -0.5"),
        (CLASSIC, {"rnd_coef": "much"}, "rnd_coef"),
    ],
)
def test_a_panel_that_makes_no_sense_is_refused_in_one_line(params, changes, reason, tmp_path, capsys):
    argv = ["--params", params, "--cpanel", tiny(**changes), "--session-path", str(tmp_path), "--session-name", "s"]
    assert main(argv) == 2
    (line,) = capsys.readouterr().err.splitlines()
    assert reason in line
    assert list(tmp_path.iterdir()) == []


# ------------------------------------------------------------------ whole runs


@pytest.mark.parametrize(
    ("params", "changes"),
    [
        (CLASSIC, {"num_workers": 4, "normalize_observations": True, "normalize_rewards": True}),
        (CLASSIC, {"num_workers": 4, "num_processes": 2}),
        (str(ROOT / "params/dqn_classic.py"), {"num_processes": 2, "warm_start": 64, "hidden_sizes": [16]}),
        (str(ROOT / "params/sac_classic.py"), {"overlap": True, "warm_start": 64, "hidden_sizes": [16]}),
    ],
    ids=["ppo", "ppo, 2 processes", "dqn, 2 processes", "sac, overlap"],
)
def test_a_resumed_run_is_bit_identical(tmp_path, params, changes):
    panel = tiny(rnd_coef=0.5, **changes)
    assert train(tmp_path, "straight", params, panel) == 0
    assert train(tmp_path, "stopped", params, panel, "--repeal", '{"/runner/max_iter": 1}') == 75
    session = str(tmp_path / "stopped")
    assert main(["--resume", session, "--log-level", "3", "--repeal", '{"/runner/max_iter": null}']) == 0
    from digideep.pipeline.verify import compare_checkpoints

    assert compare_checkpoints(last(tmp_path, "straight"), last(tmp_path, "stopped"))[0] == []
    lines = [json.loads(line) for line in (tmp_path / "straight/varlog.json").read_text().splitlines()]
    for name in ("error", "reward", "scale"):
        figures = [line["data"][f"/intrinsic/{name}"] for line in lines if f"/intrinsic/{name}" in line["data"]]
        assert len(figures) == 3
        assert all(each["min"] > 0 for each in figures)


class Pair:
    """Two ranks that are threads."""

    size = 2

    def __init__(self):
        self._barrier, self._arrays = threading.Barrier(2), {}

    def of(self, rank):
        return SimpleNamespace(size=2, gather_arrays=lambda array: self._gather(rank, array))

    def _gather(self, rank, array):
        self._arrays[rank] = array
        self._barrier.wait(10)
        gathered = np.stack([self._arrays[0], self._arrays[1]])
        self._barrier.wait(10)
        return gathered


def test_ranks_share_what_they_have_seen_and_learned():
    wrappers, pair = [novelty(seed=seed) for seed in (0, 1)], Pair()
    target = wrappers[0].state_dict()["target"]
    for rank, wrapper in enumerate(wrappers):
        step(wrapper, [[rank, 1.0], [rank, 3.0]])
    learned = [wrapper.state_dict()["predictor"] for wrapper in wrappers]
    threads = [threading.Thread(target=wrapper.merge, args=(pair.of(rank),)) for rank, wrapper in enumerate(wrappers)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    states = [wrapper.state_dict() for wrapper in wrappers]
    for name in ("target", "predictor", "moments"):
        np.testing.assert_array_equal(states[0][name], states[1][name])
    np.testing.assert_array_equal(states[0]["target"], target)
    np.testing.assert_allclose(states[0]["predictor"], np.mean(learned, 0), rtol=1e-6)
    assert states[1]["seen"]["mean"] == pytest.approx([0.5, 2.0], rel=1e-3)
