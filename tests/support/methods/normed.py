"""SAC whose layers are normalised, under a Runner with a parameter of its own."""

from torch import nn

from digideep.pipeline.runner import Runner
from digideep.policy.continuous import SquashedGaussianPolicy
from digideep.policy.networks import EnsemblePerceptron
from params import sac_classic

cpanel = sac_classic.cpanel


class NormedPerceptron(EnsemblePerceptron):
    """A LayerNorm before each activation. Source: Ba et al. 2016, arXiv:1607.06450, Eq. 4."""

    def __init__(self, num, sizes, *args, **parameters):
        super().__init__(num, sizes, *args, **parameters)
        for index, size in reversed(list(enumerate(sizes[1:-1]))):
            self.insert(2 * index + 1, nn.LayerNorm(size))


class NormedPolicy(SquashedGaussianPolicy):
    network_class = NormedPerceptron


class Patient(Runner):
    def __init__(self, session, tree, *, patience: int = 3, **parameters):
        super().__init__(session, tree, **parameters)
        self.patience = patience


def gen_params(cpanel):
    tree = sac_classic.gen_params(cpanel)
    agent = tree["agents"]["agent"]
    agent = agent | {"policy": agent["policy"] | {"class": NormedPolicy}}
    return tree | {"agents": {"agent": agent}, "runner": tree["runner"] | {"class": Patient, "patience": 5}}
