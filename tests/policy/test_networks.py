"""Perceptrons side by side, in single precision and in bfloat16."""

import pytest
import torch

from digideep.policy.networks import EnsembleLinear, EnsemblePerceptron
from digideep.utility.errors import UsageError


def make(precision, num=2, **changes):
    generator = torch.Generator().manual_seed(0)
    return EnsemblePerceptron(num, [3, 64, 64, 1], "relu", generator, precision=precision, **changes)


def test_initial_weights_are_uniform_within_the_root_of_the_number_of_inputs():
    layer = EnsembleLinear(2, 100, 9, torch.Generator().manual_seed(0))
    for numbers, spread in ((layer.weight, 0.9), (layer.bias, 0.5)):
        limits = numbers.detach().abs().flatten(1).amax(1)
        assert ((limits > spread / 10) & (limits <= 1 / 10)).all()
        assert abs(numbers.mean()) < 0.5 * limits.max()
    assert not torch.equal(layer.weight[0], layer.weight[1])


def test_bfloat16_changes_results_little_and_keeps_weights_and_gradients_in_single_precision():
    exact, rough = make("fp32"), make("bf16")
    x = torch.randn(32, 3, generator=torch.Generator().manual_seed(1))
    expected, results = exact(x), rough(x)
    assert results.dtype == torch.float32
    assert not torch.equal(results, expected)
    assert (results - expected).norm() < 0.02 * expected.norm()
    for network in (exact, rough):
        network(x).square().mean().backward()
    for ours, theirs in zip(rough.parameters(), exact.parameters(), strict=True):
        assert ours.grad.dtype == torch.float32
        assert (ours.grad - theirs.grad).norm() < 0.05 * theirs.grad.norm()


def test_the_last_layer_is_never_rounded():
    network = make("bf16", num=1)
    with torch.no_grad():
        for parameter in network.parameters():
            parameter.fill_(0)
        network[0].weight[0, 0, 0], network[2].weight[0, 0, 0], network[4].weight[0, 0, 0] = 2.0, 3.0, 1.0
        network[4].bias.fill_(1000)
    # In bfloat16 there is no number between 1,000 and 1,004.
    assert network(torch.tensor([[0.5, 0, 0], [0.25, 0, 0]])).flatten().tolist() == [1003.0, 1001.5]


def test_some_of_the_perceptrons_can_be_computed_alone():
    for precision in ("fp32", "bf16"):
        network, x = make(precision), torch.ones(4, 3)
        torch.testing.assert_close(network(x, 1), network(x)[:1])


def test_an_active_last_layer_counts_as_hidden():
    network = make("bf16", is_last_active=True)
    results = network(torch.full((4, 3), 0.3))
    assert torch.equal(results, results.bfloat16().float())
    assert results.min() >= 0


def test_other_precisions_are_refused():
    with pytest.raises(UsageError, match="precision must be fp32 or bf16, got 'fp16'"):
        make("fp16")
