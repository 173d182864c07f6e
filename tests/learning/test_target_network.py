"""Networks that follow a learner's: parameters by a share, running statistics as they are."""

import pytest
import torch

from digideep.learning.compiling import compiled
from digideep.learning.gradient_step import GradientStep
from digideep.learning.optimizers import Adam
from digideep.learning.target_network import TargetNetwork
from digideep.utility.errors import UsageError
from tests.learning.test_gradient_step import data, loss, make_normed, same, statistics_of
from tests.support.helpers import DEVICES


class Learner:
    """A network with running statistics that learns what its target says of the same inputs."""

    def __init__(self, seed=0, device="cpu", polyak_factor=0.25):
        self.step = GradientStep(make_normed(seed, device), loss, Adam(), lr=0.01)
        self.target = TargetNetwork(self.step, polyak_factor)

    def learn(self, inputs, rewards):
        """Take a step, and let the target follow. Returns: the errors before it."""
        with torch.no_grad():
            targets = rewards + 0.9 * self.target.network(inputs)
        errors = self.step(inputs, targets)
        self.target.update()
        return errors


def test_an_update_moves_parameters_by_a_share_and_copies_running_statistics():
    learner = Learner()
    step, target = learner.step, learner.target
    own = statistics_of(target.network.module)
    for index in range(3):
        before = target.flat.clone()
        step(*data(index))
        assert torch.equal(target.flat, before)
        assert same(statistics_of(target.network.module), own), "it has buffers of its own"
        target.update()
        own = statistics_of(target.network.module)
        assert same(own, statistics_of(step.module))
        torch.testing.assert_close(target.flat, before + 0.25 * (step.flat - before))
    parameters = torch.nn.utils.parameters_to_vector(target.network.module.parameters())
    assert torch.equal(parameters, target.flat)


def test_a_target_judges_by_its_statistics_and_leaves_them_alone():
    learner, inputs = Learner(), data(9)[0]
    learner.learn(*data(0))
    before = statistics_of(learner.target.network.module)
    judged = learner.target.network(inputs)
    torch.testing.assert_close(judged[:1], learner.target.network(inputs[:1]))
    assert same(statistics_of(learner.target.network.module), before)
    assert not judged.requires_grad
    learner.step(*data(1))
    assert torch.equal(learner.target.network(inputs), judged)


def test_a_renewed_target_is_its_learner():
    learner = Learner()
    learner.learn(*data(0))
    learner.step(*data(1))
    learner.target.renew()
    assert torch.equal(learner.target.flat, learner.step.flat)
    assert torch.equal(learner.target.network(data(9)[0]), learner.step.module(data(9)[0]))


def test_a_restored_target_goes_on_exactly():
    first, second = Learner(seed=0), Learner(seed=1)
    first.learn(*data(0))
    first.step(*data(1))  # its target does not know
    second.step.module.load_state_dict(first.step.module.state_dict())
    second.step.load_state_dict({name: tensor.clone() for name, tensor in first.step.state_dict().items()})
    second.target.load_state_dict(first.target.state_dict())
    assert torch.equal(first.target.network(data(9)[0]), second.target.network(data(9)[0]))
    errors = [[learner.learn(*data(index)) for index in (2, 3)] for learner in (first, second)]
    assert errors[0] == errors[1]
    assert torch.equal(first.target.flat, second.target.flat)
    assert same(*(statistics_of(learner.target.network.module) for learner in (first, second)))


@pytest.mark.parametrize("device", DEVICES)
def test_compiled_a_target_judges_and_follows_as_it_does_eagerly(device):
    eager, fast = Learner(device=device), Learner(device=device)
    learn = compiled(fast.learn, torch.device(device))
    for index in range(6):
        torch.testing.assert_close(eager.learn(*data(index, device)), learn(*data(index, device)), atol=1e-5, rtol=1e-5)
        for part in ("step", "target"):
            some, others = getattr(eager, part), getattr(fast, part)
            torch.testing.assert_close(some.flat, others.flat, atol=1e-5, rtol=1e-5)
        modules = (each.target.network.module for each in (eager, fast))
        torch.testing.assert_close(*map(statistics_of, modules), atol=1e-5, rtol=1e-5)


@pytest.mark.parametrize("share", [0.0, -0.1, 1.5])
def test_a_target_that_does_not_follow_or_overtakes_is_refused(share):
    with pytest.raises(UsageError, match=r"polyak_factor must be a number in \[1e-09, 1\], got"):
        Learner(polyak_factor=share)
