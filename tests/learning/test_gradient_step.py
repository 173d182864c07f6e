"""One step of gradient descent, beside torch's own optimizer, eager and compiled."""

import copy
import os

import pytest
import torch
from torch import nn

from digideep.learning.compiling import _record, compiled, pays_to_compile
from digideep.learning.gradient_step import GradientStep, Means, flatten_parameters, pack
from digideep.learning.kept_steps import cache_directory
from digideep.learning.optimizers import Adam
from digideep.learning.target_network import TargetNetwork
from digideep.utility.errors import UsageError
from tests.support.helpers import DEVICES


def make_module(seed=0, device="cpu"):
    torch.manual_seed(seed)
    return nn.Sequential(nn.Linear(3, 8), nn.Tanh(), nn.Linear(8, 1)).to(device)


def make_normed(seed=0, device="cpu"):
    """A module with running statistics. A bias before them would have no gradient but rounding, Adam a whole step."""
    torch.manual_seed(seed)
    layers = nn.Linear(3, 8, bias=False), nn.BatchNorm1d(8), nn.Tanh(), nn.Linear(8, 1)
    return nn.Sequential(*layers).to(device)


def statistics_of(module):
    """Copies of a module's buffers by name."""
    return {name: buffer.clone() for name, buffer in module.named_buffers()}


def same(some, others):
    """True if tensors by name are equal, bit for bit."""
    return some.keys() == others.keys() and all(torch.equal(some[name], others[name]) for name in some)


def loss(call, inputs, targets):
    errors = call(inputs) - targets
    return errors.square().mean(), errors.abs().mean().detach()[None]


def data(seed, device="cpu"):
    generator = torch.Generator().manual_seed(seed)
    return torch.randn(16, 3, generator=generator).to(device), torch.randn(16, 1, generator=generator).to(device)


def test_the_flat_tensor_is_the_module():
    module = make_module()
    before = module(data(0)[0])
    flat = flatten_parameters(module)
    assert torch.equal(module(data(0)[0]), before)
    flat.zero_()
    assert not module(data(0)[0]).any()


@pytest.mark.parametrize("limit", [0.1, 1.0, 1e3])
@pytest.mark.parametrize(("betas", "eps"), [((0.9, 0.999), 1e-5), ((0.0, 0.9), 1e-5), ((0.5, 0.0), 0.1)])
def test_adam_with_clipping_equals_torch(betas, eps, limit):
    ours, theirs = make_module(), make_module()
    step = GradientStep(ours, loss, Adam(beta1=betas[0], beta2=betas[1], eps=eps), max_grad_norm=limit)
    optimizer = torch.optim.Adam(theirs.parameters(), betas=betas, eps=eps)
    norms = []
    for index in range(20):
        lr = 0.01 * (1 - index / 20)
        step.set_lr(lr)
        step(*data(index))
        optimizer.param_groups[0]["lr"] = lr
        optimizer.zero_grad()
        loss(theirs, *data(index))[0].backward()
        norms.append(float(nn.utils.clip_grad_norm_(theirs.parameters(), limit)))
        optimizer.step()
    assert {norm > limit for norm in norms} == {0.1: {True}, 1.0: {True, False}, 1e3: {False}}[limit]
    for a, b in zip(ours.parameters(), theirs.parameters(), strict=True):
        torch.testing.assert_close(a, b, atol=1e-6, rtol=1e-5)


@pytest.mark.parametrize("device", DEVICES)
def test_the_compiled_step_equals_the_eager_one(device):
    eager, fast = (GradientStep(make_normed(0, device), loss, Adam(), max_grad_norm=0.5, lr=0.01) for _ in range(2))
    step = compiled(fast.__call__, torch.device(device))
    for index in range(20):
        batch = data(index, device)
        torch.testing.assert_close(eager(*batch), step(*batch), atol=1e-6, rtol=1e-5)
        for ours, theirs in zip(eager.module.parameters(), fast.module.parameters(), strict=True):
            torch.testing.assert_close(ours.grad, theirs.grad, atol=1e-6, rtol=1e-5)  # which dashboards show
        statistics = (statistics_of(each.module) for each in (eager, fast))
        torch.testing.assert_close(*statistics, atol=1e-6, rtol=1e-5)
    torch.testing.assert_close(eager.flat, fast.flat, atol=1e-6, rtol=1e-5)


def test_what_has_been_compiled_once_is_found_again(tmp_path, monkeypatch):
    monkeypatch.setenv("TORCHINDUCTOR_CACHE_DIR", str(tmp_path))
    counts = torch._dynamo.utils.counters["aot_autograd"]
    came = []
    for _ in range(2):
        counts.clear()
        compiled(GradientStep(make_module(), loss, Adam()).__call__, torch.device("cpu"))(*data(0))
        came.append((counts["autograd_cache_miss"], counts["autograd_cache_hit"]))
    assert came == [(1, 0), (0, 1)]


class Doubler:
    """Holds what it calls, as agents do."""

    def __init__(self):
        self.factor, self.fast = torch.tensor(2.0), compiled(self.multiply, torch.device("cpu"))

    def multiply(self, x, is_twice):
        self.factor.add_(1)
        return x * self.factor * (2 if is_twice else 1)


def test_a_compiled_method_knows_flags_and_shapes_apart_and_two_owners_too():
    one, other = Doubler(), Doubler()
    other.factor.fill_(10)
    for size, is_twice in ((3, False), (3, True), (5, False), (3, False), (5, True), (3, True)):
        x, factor = torch.arange(float(size)), float(one.factor) + 1
        assert one.fast(x, is_twice).tolist() == (x * factor * (2 if is_twice else 1)).tolist()
    assert other.fast(torch.ones(3), False).tolist() == [11.0] * 3
    assert (float(one.factor), float(other.factor)) == (8.0, 11.0)


def test_what_cannot_be_recorded_runs_as_it_is(monkeypatch, caplog):
    def refuse():
        raise RuntimeError("operation not permitted\nwhen stream is capturing")

    monkeypatch.setattr(torch.cuda, "CUDAGraph", refuse)
    x = torch.zeros(3)
    run = _record(lambda: x.add_(1))
    assert x.tolist() == [0.0] * 3
    assert [run().tolist() for _ in range(2)] == [[1.0] * 3, [2.0] * 3]
    assert "stays slower: operation not permitted when stream is capturing" in caplog.text


def test_compiling_is_chosen_when_the_planned_steps_repay_it():
    assert [pays_to_compile("auto", Adam(), n, torch.device("cpu")) for n in (100, 10**6)] == [False, True]
    with pytest.raises(UsageError, match="compile must be one of auto, on, off, got 'yes'"):
        pays_to_compile("yes", Adam(), 100, torch.device("cpu"))


def test_steps_too_small_to_learn_by_are_refused():
    with pytest.raises(UsageError, match=r"max_grad_norm \(null for no limit\) must be .* at least 1e-06, got 0\.0"):
        GradientStep(make_module(), loss, Adam(), max_grad_norm=0.0)
    for eps in (0.0, 1e30):
        with pytest.raises(UsageError, match=r"eps must be a number in \[1e-16, 1\]"):
            Adam(eps=eps)


def test_a_large_network_repays_compiling_after_fewer_steps():
    plans = [pays_to_compile("auto", Adam(), 20_000, torch.device("cpu"), number) for number in (10_000, 1_700_000)]
    assert plans == [False, True]


def test_code_for_other_instructions_is_kept_elsewhere(tmp_path, monkeypatch):
    """The compiler looks its cache up by the source alone, and code for longer vectors computes garbage."""
    monkeypatch.setenv("TORCHINDUCTOR_CACHE_DIR", str(tmp_path))
    for capability in ("AVX2", "AVX2", "AVX512"):
        monkeypatch.setenv("TORCHINDUCTOR_CACHE_DIR", str(tmp_path))
        monkeypatch.setattr("torch.backends.cpu.get_cpu_capability", lambda capability=capability: capability)
        for _ in range(2):
            cache_directory()
            assert os.environ["TORCHINDUCTOR_CACHE_DIR"] == str(tmp_path / capability)


@pytest.mark.parametrize("missing", ["compiler", "headers"])
def test_nothing_is_compiled_where_a_part_of_the_compiler_is_missing(tmp_path, monkeypatch, missing):
    if missing == "compiler":
        monkeypatch.setenv("PATH", str(tmp_path))
    else:
        monkeypatch.setattr("sysconfig.get_path", lambda name: str(tmp_path))
    assert not pays_to_compile("auto", Adam(), 10**9, torch.device("cpu"))


@pytest.mark.parametrize("make", [make_module, make_normed])
def test_a_restored_step_goes_on_exactly(make):
    first, second = (GradientStep(make(seed), loss, Adam(), lr=0.01) for seed in (0, 1))
    for index in range(5):
        first(*data(index))
    second.module.load_state_dict(first.module.state_dict())
    second.load_state_dict({name: tensor.clone() for name, tensor in first.state_dict().items()})
    for step in (first, second):
        step(*data(9))
    assert torch.equal(first.flat, second.flat)
    assert same(statistics_of(first.learner), statistics_of(second.learner))
    assert torch.equal(first.module(data(0)[0]), second.module(data(0)[0]))


def test_learning_moves_running_statistics_as_torch_does():
    step, theirs = GradientStep(make_normed(), loss, Adam(), lr=0.01), make_normed()
    optimizer = torch.optim.Adam(theirs.parameters(), lr=0.01)
    for index in range(5):
        step(*data(index))
        optimizer.zero_grad()
        loss(theirs, *data(index))[0].backward()
        optimizer.step()
        for name, expected in theirs.named_buffers():
            torch.testing.assert_close(dict(step.module.named_buffers())[name], expected, atol=1e-6, rtol=1e-5)
    torch.testing.assert_close(
        step.flat, nn.utils.parameters_to_vector(theirs.parameters()).detach(), atol=1e-6, rtol=1e-5
    )
    assert step.module.state_dict()["1.num_batches_tracked"] == 5


def test_acting_and_what_learns_through_a_frozen_module_use_its_running_statistics_and_leave_them_alone():
    step = GradientStep(make_normed(), loss, Adam(), lr=0.01)
    for index in range(5):
        step(*data(index))
    before, inputs = statistics_of(step.module), data(9)[0]
    for call in (step.module, step.frozen):
        torch.testing.assert_close(call(inputs)[:1], call(inputs[:1]))  # of a row by itself, a batch knows no spread
    follower = GradientStep(make_module(), lambda call, x: ((step.frozen(x) * call(x)).mean(), ()), Adam(), lr=0.01)
    learned = follower.flat.clone()
    follower(inputs)
    assert not torch.equal(follower.flat, learned)
    assert same(statistics_of(step.module), before)
    assert step.learner[1].training
    assert not step.module[1].training


def test_a_step_reports_numbers_that_have_no_gradient_and_means_are_over_the_steps_that_report_them():
    number = torch.tensor(3.0, requires_grad=True)
    both = pack({"critic": number * 2, "actor": number})
    assert both.names == ("critic", "actor")
    assert both.values.tolist() == [6.0, 3.0]
    assert not both.values.requires_grad
    means = Means()
    for metrics in (both, pack({"critic": torch.tensor(1.0)}), pack({"critic": torch.tensor(2.0)}), both):
        means.add(metrics)
    assert means.take() == {"critic": (6 + 1 + 2 + 6) / 4, "actor": 3.0}
    assert both.values.tolist() == [6.0, 3.0], "what a step reported is left alone"


def test_layers_that_take_no_gradient_stay_as_they_are_in_module_twin_and_target():
    module = make_module()
    module[0].requires_grad_(False)
    weight = module[0].weight.clone()
    step = GradientStep(module, loss, Adam(), lr=0.1)
    target = TargetNetwork(step, 1.0)
    step(*data(0))
    target.update()
    assert len(step.flat) == 9
    for each in (module, step.learner, target.network.module):
        assert torch.equal(each[0].weight, weight)
        assert torch.equal(each[2].weight, step.flat[:8][None])


@pytest.mark.parametrize("shares", [lambda module: module, lambda module: nn.Sequential(module[0], nn.Linear(8, 1))])
def test_no_parameter_belongs_to_two_steps(shares):
    module = make_module()
    GradientStep(module, loss, Adam())
    with pytest.raises(UsageError, match=r"'0.weight' of Sequential belongs to another gradient step"):
        GradientStep(shares(module), loss, Adam())
    GradientStep(copy.deepcopy(module), loss, Adam())


class Averaging(nn.Module):
    """A layer whose running mean is a new tensor after each forward in training."""

    def __init__(self):
        super().__init__()
        self.register_buffer("mean", torch.zeros(3))
        self.layer = nn.Linear(3, 1)

    def forward(self, x):
        if self.training:
            self.mean = 0.5 * self.mean + 0.5 * x.detach().mean(0)
        return self.layer(x - self.mean)


@pytest.mark.parametrize("is_compiled", [False, True])
def test_a_buffer_that_a_forward_replaces_is_that_of_the_module_and_of_targets(is_compiled):
    torch.manual_seed(0)
    module = Averaging()
    step = GradientStep(module, loss, Adam(), lr=0.1)
    target = TargetNetwork(step, 0.5)
    take = compiled(step, torch.device("cpu")) if is_compiled else step
    for seed in range(2):
        take(*data(seed))
    target.update()
    assert step.learner.mean is module.mean
    first, second = (data(seed)[0].mean(0) for seed in range(2))
    for each in (module, step.learner, target.network.module):
        torch.testing.assert_close(each.mean, 0.25 * first + 0.5 * second)


@pytest.mark.parametrize(("value", "found"), [(1.0, "float"), (torch.zeros(2), r"shape \(2,\)")])
def test_a_metric_that_is_no_number_of_torch_is_named(value, found):
    with pytest.raises(UsageError, match=f"The metric 'kl' of a loss must be a 0-dimensional tensor, got {found}"):
        pack({"loss": torch.zeros(()), "kl": value})
