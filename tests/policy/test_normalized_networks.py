"""Normalised layers beside torch's own, one network at a time."""

import pytest
import torch
from torch import nn
from torch.nn.functional import relu

from digideep.policy.networks import EnsembleLinear, EnsemblePerceptron
from digideep.policy.normalized_networks import (
    BatchRenorm,
    BatchRenormPerceptron,
    EnsembleLayerNorm,
    LayerNormPerceptron,
    Simba,
)
from digideep.utility.errors import UsageError

NETWORKS = [EnsemblePerceptron, LayerNormPerceptron, BatchRenormPerceptron, Simba]


def make(cls, num=3, sizes=(3, 8, 8, 2), **parameters):
    network = cls(num, list(sizes), "relu", torch.Generator().manual_seed(0), **parameters)
    for parameter in network.parameters():  # no scale is neutral
        parameter.data += 0.1 * torch.randn(parameter.shape, generator=torch.Generator().manual_seed(1))
    return network


def rows(count=64, size=3):
    return torch.randn(count, size, generator=torch.Generator().manual_seed(2)) * 2 + 1


@pytest.mark.parametrize("cls", NETWORKS)
def test_networks_chosen_by_an_index_or_a_number_say_what_they_say_among_all(cls):
    network = make(cls).eval()
    whole = network(rows())
    torch.testing.assert_close(network(rows(), 2), whole[:2])
    torch.testing.assert_close(network(rows(), torch.tensor([2, 0])), whole[[2, 0]])


@pytest.mark.parametrize("cls", NETWORKS)
def test_hidden_layers_alone_end_with_their_features(cls):
    features = make(cls, is_last_active=True, sizes=(3, 8, 8))(rows())
    assert features.shape == (3, 64, 8)
    head = cls(3, [8, 2], "relu", torch.Generator())
    assert [type(layer) for layer in head] == [EnsembleLinear]


def test_layers_are_normalised_before_their_activation_as_torch_does_it():
    network = make(LayerNormPerceptron, sizes=(3, 8, 2), dropout=0.1).eval()
    linear, dropout, norm, activation, last = network
    assert (type(dropout), type(activation)) == (nn.Dropout, nn.ReLU)
    for index in range(3):
        own = nn.LayerNorm(8)
        own.weight.data, own.bias.data = norm.weight[index, 0].detach(), norm.bias[index, 0].detach()
        hidden = relu(own(rows() @ linear.weight[index] + linear.bias[index]))
        torch.testing.assert_close(network(rows())[index], hidden @ last.weight[index] + last.bias[index])


def test_a_batch_is_normalised_as_torch_does_it_until_the_warm_up_is_over():
    norm, own = BatchRenorm(2, 3), nn.BatchNorm1d(3, eps=1e-3, momentum=0.01)
    for number in range(3):
        batch = rows(size=3) * (number + 1)
        torch.testing.assert_close(norm(batch)[1], own(batch))
    torch.testing.assert_close(norm.mean[0, 0], own.running_mean)
    assert norm.batches == 3
    norm.eval()
    expected = (batch - norm.mean[0]) / (norm.variance[0] + 1e-3).sqrt()
    torch.testing.assert_close(norm(batch)[0], expected)
    assert norm.batches == 3


def test_after_the_warm_up_a_batch_is_moved_towards_the_running_moments_within_limits():
    norm = BatchRenorm(1, 1)
    norm.batches.fill_(norm.warm_up)
    norm.mean.fill_(1.0), norm.variance.fill_(4.0 - 1e-3)
    batch = torch.tensor([[0.0], [6.0]])  # mean 3, variance 9
    std = (9 + 1e-3) ** 0.5
    r, d = std / 2, (3 - 1) / 2
    torch.testing.assert_close(norm(batch)[0], (batch - 3) / std * r + d)
    norm.mean.fill_(100.0), norm.variance.fill_(1e-4 - 1e-5)
    limited = norm(batch)[0]
    torch.testing.assert_close(limited, (batch - 3) / std * 3.0 - 5.0)


def test_the_correction_takes_no_gradient():
    norm = BatchRenorm(1, 1)
    norm.batches.fill_(norm.warm_up)
    batch = torch.tensor([[0.0], [6.0], [1.0]], requires_grad=True)
    norm(batch).sum().backward()  # of normalised rows the sum is constant
    torch.testing.assert_close(batch.grad, torch.zeros(3, 1), atol=1e-6, rtol=0)


def test_batches_are_normalised_at_the_input_and_after_each_activation():
    kinds = [type(layer).__name__ for layer in make(BatchRenormPerceptron)]
    middle = ["EnsembleLinear", "ReLU", "BatchRenorm"]
    assert kinds == ["BatchRenorm", *middle, *middle, "EnsembleLinear"]


def test_simba_adds_two_layers_of_its_normalised_stream_to_it():
    network = make(Simba, num=1)
    first, *blocks, norm, last = network
    assert len(blocks) == 2
    assert isinstance(norm, EnsembleLayerNorm)
    x = rows() @ first.weight[0] + first.bias[0]
    for block in blocks:
        inner = relu(block.norm(x)[0] @ block.first.weight[0] + block.first.bias[0])
        assert inner.shape == (64, 32)
        x = x + inner @ block.second.weight[0] + block.second.bias[0]
    torch.testing.assert_close(network(rows())[0], norm(x)[0] @ last.weight[0] + last.bias[0])


def test_what_cannot_be_built_is_refused():
    with pytest.raises(UsageError, match="hidden_sizes must be one width"):
        make(Simba, sizes=(3, 8, 16, 2))
    with pytest.raises(UsageError, match="dropout must be"):
        make(LayerNormPerceptron, dropout=1.0)
