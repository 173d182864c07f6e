"""torch's own optimizers around flat parameters: their bits, their state on its way through a checkpoint, refusals."""

import copy

import pytest
import torch

from digideep.agent.ddpg import DDPG
from digideep.learning.compiling import pays_to_compile
from digideep.learning.torch_optimizers import TorchOptimizer
from digideep.parameters.component import describe
from digideep.utility.errors import UsageError
from tests.support.replay import make_agent, make_batch, take_step

CASES = {
    "Adadelta": {}, "Adafactor": {}, "Adagrad": {"initial_accumulator_value": 0.5}, "Adam": {"amsgrad": True},
    "AdamW": {"betas": [0.8, 0.99]}, "Adamax": {}, "ASGD": {"t0": 2}, "NAdam": {}, "RAdam": {},
    "RMSprop": {"momentum": 0.5, "centered": True}, "Rprop": {}, "SGD": {"momentum": 0.9, "dampening": 0.5},
}  # fmt: skip


def gradients(number):
    generator = torch.Generator().manual_seed(number)
    return [torch.randn(50, generator=generator) for _ in range(6)]


@pytest.mark.parametrize("name", CASES)
def test_it_takes_the_steps_of_torch_also_from_a_state_that_was_saved(name):
    given = {key: tuple(value) if isinstance(value, list) else value for key, value in CASES[name].items()}
    flat = torch.linspace(-1, 1, 50)
    theirs = torch.nn.Parameter(flat.clone())
    optimizer = getattr(torch.optim, name)([theirs], lr=0.01, **given)
    ours = TorchOptimizer(name=name, parameters=CASES[name])
    state, lr = ours.init(flat), torch.tensor(0.01)
    keys = set(state)
    for number, gradient in enumerate(gradients(0)):
        if number in (0, 3):  # before the first step, too: another process goes on
            saved = {key: value.clone() for key, value in state.items()}
            ours, flat = TorchOptimizer(name=name, parameters=CASES[name]), flat.clone()
            state = ours.init(flat)
            for key, value in state.items():
                value.copy_(saved[key])
        theirs.grad = gradient.clone()
        optimizer.param_groups[0]["lr"] = float(lr)
        optimizer.step()
        ours.step(flat, gradient, state, lr)
        assert torch.equal(flat, theirs.detach()), f"step {number}"
    assert set(state) == keys


def test_networks_that_share_a_rule_share_no_state():
    rule = TorchOptimizer(name="Adam")
    flats = [torch.zeros(50), torch.zeros(50)]
    states = [rule.init(flat) for flat in flats]
    for gradient in gradients(1):
        rule.step(flats[0], gradient, states[0], torch.tensor(0.1))
    assert not flats[1].any()
    assert not states[1]["exp_avg"].any()


def test_an_agent_learns_by_it_uncompiled_and_its_state_is_kept():
    agent = make_agent(DDPG, optimizer=describe(TorchOptimizer, name="NAdam"), compile="auto")
    for seed in range(3):
        take_step(agent, make_batch(DDPG, seed=seed))
    saved = copy.deepcopy(agent.state_dict())
    other = make_agent(DDPG, optimizer=describe(TorchOptimizer, name="NAdam"), seed=1)
    other.load_state_dict(saved)
    for each in (agent, other):
        take_step(each, make_batch(DDPG, seed=9))
    assert torch.equal(agent.actor_step.flat, other.actor_step.flat)
    assert torch.equal(agent.critic_step.flat, other.critic_step.flat)


def test_it_is_never_compiled():
    rule, device = TorchOptimizer(name="SGD"), torch.device("cpu")
    assert not pays_to_compile("auto", rule, 10**9, device)
    with pytest.raises(UsageError, match="compile must be auto or off with TorchOptimizer, got 'on'"):
        pays_to_compile("on", rule, 10**9, device)


@pytest.mark.parametrize(
    ("name", "parameters", "message"),
    [
        ("Adm", None, "Did you mean 'Adam'"),
        ("Optimizer", None, "must be one of torch.optim, got 'Optimizer'"),
        ("torch.optim.SGD", None, "must be one of torch.optim, got 'torch.optim.SGD'"),
        ("LBFGS", None, "it computes the loss several times a step"),
        ("Muon", None, "it acts on matrices"),
        ("SparseAdam", None, "it needs sparse gradients"),
        ("Adam", {"beta": 1}, "Adam has no parameter 'beta'. Did you mean 'betas'"),
        ("Adam", {"lr": 1}, "Adam has no parameter 'lr'"),
        ("Adam", {"betas": [2, 3]}, "Adam refuses"),
        ("Adam", {"betas": 0.9}, "Adam refuses"),
    ],
)
def test_what_torch_has_not_or_refuses_is_refused_in_one_line(name, parameters, message):
    with pytest.raises(UsageError, match=message) as caught:
        TorchOptimizer(name=name, parameters=parameters)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(("name", "parameters"), [
    ("Adam", {"betas": [0.9]}), ("Adam", {"betas": [0.9, 0.9, 0.9]}), ("Adam", {"capturable": True}),
    ("Adam", {"differentiable": True}), ("Adam", {"amsgrad": "no"}), ("ASGD", {"lambd": "x"}),
    ("Rprop", {"etas": [0.5]}),
])  # fmt: skip
def test_whatever_torch_would_raise_with_a_parameter_is_one_line(name, parameters):
    with pytest.raises(UsageError, match=f"^TorchOptimizer: .*{name}|^TorchOptimizer: .*cannot be true"):
        TorchOptimizer(name=name, parameters=parameters)
