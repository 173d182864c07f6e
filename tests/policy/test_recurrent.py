"""Recurrent policies: their cells beside torch's, states that end with an episode, and gradients through time."""

import gymnasium as gym
import pytest
import torch
from torch import nn

from digideep.policy.cell_passes import take_rows
from digideep.policy.cells import CELLS, Core, make_core
from digideep.policy.stochastic import RecurrentPolicy
from digideep.utility.errors import UsageError

torch.set_num_threads(1)  # several are many times slower on networks of this size

LINE = gym.spaces.Box(-1, 1, (3,))
STEPS, SEQUENCES, INPUTS, SIZE = 7, 4, 3, 5


def generator(seed=0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def randn(*shape, seed=0) -> torch.Tensor:
    return torch.randn(*shape, generator=generator(seed))


def make_policy(actions=None, **changes) -> RecurrentPolicy:
    parameters = {"cell": "gru", "core_size": 8, "hidden_sizes": [16]} | changes
    return RecurrentPolicy(LINE, actions or gym.spaces.Discrete(4), generator(), **parameters)


def torch_cell(cell: str, core: Core, index: int) -> nn.Module:
    """torch's cell with the weights of one of a core's networks."""
    size = core.size
    order = {"gru": [0, 1, 2], "lstm": [0, 1, 3, 2]}[cell]  # torch has an LSTM's output gate last
    rows = torch.cat([torch.arange(size) + gate * size for gate in order])
    other = {"gru": nn.GRUCell, "lstm": nn.LSTMCell}[cell](core.weight_in.shape[1], size)
    with torch.no_grad():
        other.weight_ih.copy_(core.weight_in[index].t()[rows])
        other.weight_hh.copy_(core.weight[index].t()[rows])
        other.bias_ih.copy_(core.bias_in[index, 0, rows])
        other.bias_hh.zero_()
        if cell == "gru":
            other.bias_hh[2 * size :] = core.bias[index, 0]
    return other


def randomised(cell: str, num: int) -> Core:
    """A core whose biases are no zeros."""
    core = make_core(cell, num, INPUTS, SIZE, generator())
    for index, parameter in enumerate(core.parameters()):
        parameter.data += 0.3 * randn(*parameter.shape, seed=index)
    return core


@pytest.mark.parametrize("num", [1, 2])
@pytest.mark.parametrize("cell", CELLS)
def test_outputs_states_and_gradients_are_those_of_torch(cell, num):
    core = randomised(cell, num)
    features = randn(num, SEQUENCES * STEPS, INPUTS, seed=7).requires_grad_(True)
    state = (0.5 * randn(SEQUENCES, core.state_size, seed=8)).requires_grad_(True)
    keep = (torch.rand(SEQUENCES, STEPS, generator=generator(9)) > 0.3).float()
    weights = randn(num, SEQUENCES * STEPS, SIZE, seed=10)
    outputs, after = core(features, state, keep)
    (outputs * weights).sum().backward()

    others = [torch_cell(cell, core, index) for index in range(num)]
    x = features.detach().clone().requires_grad_(True)
    start = state.detach().clone().requires_grad_(True)
    rows, parts = x.view(num, SEQUENCES, STEPS, INPUTS), start.view(SEQUENCES, -1, num, SIZE)
    expected, ends = [], []
    for index, other in enumerate(others):
        h, c = parts[:, 0, index], parts[:, -1, index]
        walked = []
        for t in range(STEPS):
            h, c = h * keep[:, t : t + 1], c * keep[:, t : t + 1]
            if cell == "gru":
                h = other(rows[index, :, t], h)
            else:
                h, c = other(rows[index, :, t], (h, c))
            walked.append(h)
        expected.append(torch.stack(walked, 1).flatten(0, 1))
        ends.append([h, c][: core.num_parts])
    (torch.stack(expected) * weights).sum().backward()

    torch.testing.assert_close(outputs, torch.stack(expected), atol=1e-6, rtol=1e-5)
    end = torch.stack([torch.stack(part, 1) for part in zip(*ends, strict=True)], 1).flatten(1)
    torch.testing.assert_close(after, end, atol=1e-6, rtol=1e-5)
    torch.testing.assert_close(features.grad, x.grad, atol=2e-6, rtol=1e-4)
    torch.testing.assert_close(state.grad, start.grad, atol=2e-6, rtol=1e-4)
    order = {"gru": [0, 1, 2], "lstm": [0, 1, 3, 2]}[cell]
    rows = torch.cat([torch.arange(SIZE) + gate * SIZE for gate in order])
    for index, other in enumerate(others):
        torch.testing.assert_close(core.weight.grad[index].t()[rows], other.weight_hh.grad, atol=5e-6, rtol=1e-4)
        torch.testing.assert_close(core.weight_in.grad[index].t()[rows], other.weight_ih.grad, atol=5e-6, rtol=1e-4)
        torch.testing.assert_close(core.bias_in.grad[index, 0, rows], other.bias_ih.grad, atol=5e-6, rtol=1e-4)
        if cell == "gru":
            theirs = other.bias_hh.grad[2 * SIZE :]
            torch.testing.assert_close(core.bias.grad[index, 0], theirs, atol=5e-6, rtol=1e-4)


def test_one_unit_steps_as_worked_out_by_hand():
    core = make_core("gru", 1, 1, 1, generator())
    with torch.no_grad():
        core.bias_in.zero_()
        core.weight_in[:] = torch.tensor([0.0, 0.0, 1.0])  # r = z = sigmoid(0) = 0.5
        core.weight[:] = torch.tensor([0.0, 0.0, 2.0])
    outputs, _ = core(torch.full((1, 2, 1), 0.5), torch.full((1, 1), 0.4), torch.ones(1, 2))
    first = 0.5 * torch.tanh(torch.tensor(0.5 + 0.5 * 2 * 0.4)) + 0.5 * 0.4
    second = 0.5 * torch.tanh(0.5 + 0.5 * 2 * first) + 0.5 * first
    torch.testing.assert_close(outputs.flatten(), torch.stack([first, second]))


@pytest.mark.parametrize("is_shared", [False, True])
@pytest.mark.parametrize("cell", CELLS)
def test_walking_along_a_sequence_is_acting_row_by_row(cell, is_shared):
    policy = make_policy(cell=cell, is_shared=is_shared)
    observations, state = randn(SEQUENCES, STEPS, 3), randn(SEQUENCES, policy.state_size, seed=1)
    masks = torch.rand(SEQUENCES, STEPS, generator=generator(2)) > 0.3
    actions, log_p, values, now = [], [], [], state
    for t in range(STEPS):
        if t:
            now = now * masks[:, t - 1 : t]  # what the Explorer does after a half-step
        values.append(policy.value(observations[:, t], state=now, masks=torch.ones(SEQUENCES, 1, dtype=torch.bool)))
        choice = policy.act(observations[:, t], state=now, generator=generator(t))
        actions.append(choice.actions)
        log_p.append(choice.log_p)
        now = choice.state
    found = policy(observations.flatten(0, 1), torch.stack(actions, 1).flatten(), state=state, masks=masks)
    torch.testing.assert_close(found.log_p, torch.stack(log_p, 1).flatten(), atol=1e-6, rtol=1e-6)
    torch.testing.assert_close(found.value, torch.stack(values, 1).flatten(), atol=1e-6, rtol=1e-6)


@pytest.mark.parametrize("cell", CELLS)
@pytest.mark.parametrize("is_shared", [False, True])
def test_the_step_that_is_exported_is_that_of_a_walk(cell, is_shared):
    policy = make_policy(cell=cell, is_shared=is_shared)
    with torch.no_grad():
        for parameter in policy.parameters():
            parameter.add_(0.3 * randn(*parameter.shape, seed=1))
    observations, state = randn(5, 3, seed=2), randn(5, policy.state_size, seed=3)
    allowed = torch.tensor([[True, False, True, True]] * 5)
    masks = torch.ones(5, 1, dtype=torch.bool)
    distribution, value, after = policy.walk(observations, state, masks, allowed)
    choice = policy.mode(observations, state=state, allowed=allowed)
    assert choice.actions.tolist() == distribution.mode().tolist()
    torch.testing.assert_close(choice.value, value)
    torch.testing.assert_close(choice.state, after)


@pytest.mark.parametrize("cell", CELLS)
def test_nothing_is_remembered_across_a_half_step(cell):
    policy = make_policy(cell=cell)
    masks = torch.ones(1, STEPS, dtype=torch.bool)
    masks[0, 3] = False
    observations = randn(STEPS, 3).requires_grad_(True)
    values = policy.value(observations, state=torch.zeros(1, policy.state_size), masks=masks)
    (gradient,) = torch.autograd.grad(values[6], observations, retain_graph=True)
    assert gradient.any(1).tolist() == [False] * 4 + [True] * 3, "the episode that the row belongs to, no other"
    (gradient,) = torch.autograd.grad(values[3], observations)
    assert gradient.any(1).tolist() == [True] * 4 + [False] * 3, "gradients reach back through time"


def test_no_gradient_passes_from_one_sequence_to_another():
    policy = make_policy()
    observations = randn(2 * STEPS, 3).requires_grad_(True)
    masks = torch.ones(2, STEPS, dtype=torch.bool)
    values = policy.value(observations, state=torch.zeros(2, policy.state_size), masks=masks)
    (gradient,) = torch.autograd.grad(values[:STEPS].sum(), observations)
    assert gradient.any(1).tolist() == [True] * STEPS + [False] * STEPS


def test_actor_and_critic_have_parameters_of_their_own_unless_shared():
    for is_shared in (False, True):
        policy = make_policy(is_shared=is_shared)
        policy.value(
            randn(4, 3), state=torch.zeros(1, policy.state_size), masks=torch.ones(1, 4, dtype=torch.bool)
        ).sum().backward()
        of_actor = policy.core.weight.grad[0]
        assert bool(of_actor.any()) is is_shared
        assert policy.state_size == (8 if is_shared else 16)


@pytest.mark.parametrize("cell", CELLS)
def test_weights_come_from_the_generator_and_a_cell_starts_by_remembering(cell):
    first, second = make_policy(cell=cell), make_policy(cell=cell)
    for a, b in zip(first.parameters(), second.parameters(), strict=True):
        assert torch.equal(a, b)
    assert first.core.bias_in.unflatten(-1, (-1, 8))[0, 0].mean(-1).tolist()[:3] == [0.0, 1.0, 0.0]
    gate = first.core.weight[0, :, :8]
    torch.testing.assert_close(gate @ gate.t(), torch.eye(8), atol=1e-5, rtol=0)


def test_what_is_not_allowed_is_never_chosen():
    policy, allowed = make_policy(), torch.tensor([[False, False, True, False]]).expand(50, 4)
    state = torch.zeros(50, policy.state_size)
    choice = policy.act(randn(50, 3), state=state, generator=generator(), allowed=allowed)
    assert choice.actions.unique().tolist() == [2]
    assert not choice.log_p.any()


def test_images_go_through_an_encoder_before_the_core():
    space = {"/image": gym.spaces.Box(0, 255, (36, 36, 3), "uint8"), "/speed": gym.spaces.Box(-1, 1, (2,))}
    policy = RecurrentPolicy(space, gym.spaces.Box(-1, 1, (2,)), generator(), core_size=8, hidden_sizes=[])
    seen = {"/image": torch.zeros(6, 36, 36, 3, dtype=torch.uint8), "/speed": torch.zeros(6, 2)}
    masks = torch.ones(2, 3, dtype=torch.bool)
    log_p, entropies, values = policy(seen, torch.zeros(6, 2), state=torch.zeros(2, policy.state_size), masks=masks)
    assert log_p.shape == entropies.shape == values.shape == (6,)


@pytest.mark.parametrize(
    ("parameters", "message"),
    [
        ({"cell": "rnn"}, "cell must be one of gru, lstm, got 'rnn'"),
        ({"core_size": 0}, "core_size must be an integer of at least 1, got 0"),
        ({"hidden_sizes": []}, "hidden_sizes must be"),
    ],
)
def test_impossible_parameters_are_refused(parameters, message):
    with pytest.raises(UsageError, match=message):
        make_policy(**parameters)


@pytest.fixture
def two_threads():
    before = torch.get_num_threads()
    torch.set_num_threads(2)
    yield
    torch.set_num_threads(before)


@pytest.mark.usefixtures("two_threads")
def test_rows_that_are_taken_often_have_the_same_gradient_each_time_with_several_threads():
    x, weights = randn(512, 128), randn(512, 128, seed=1)
    rows = torch.randint(16, (512,), generator=generator())

    def gradient(take):
        leaf = x.clone().requires_grad_()
        (take(leaf) * weights).sum().backward()
        return leaf.grad

    found = gradient(lambda leaf: take_rows(leaf, rows))
    assert torch.equal(take_rows(x, rows), x[rows])
    torch.testing.assert_close(found, gradient(lambda leaf: leaf[rows]), atol=1e-4, rtol=1e-5)
    assert all(torch.equal(found, gradient(lambda leaf: take_rows(leaf, rows))) for _ in range(50))
