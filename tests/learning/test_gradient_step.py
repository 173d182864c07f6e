"""One step of gradient descent, beside torch's own optimizer, eager and compiled."""

import os

import pytest
import torch
from torch import nn

from digideep.learning.compiling import _record, compiled, pays_to_compile, separate_compiled_code
from digideep.learning.gradient_step import GradientStep, flatten_parameters
from digideep.learning.optimizers import Adam
from digideep.utility.errors import UsageError
from tests.support.helpers import DEVICES


def make_module(seed=0, device="cpu"):
    torch.manual_seed(seed)
    return nn.Sequential(nn.Linear(3, 8), nn.Tanh(), nn.Linear(8, 1)).to(device)


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
    eager, fast = (GradientStep(make_module(0, device), loss, Adam(), max_grad_norm=0.5, lr=0.01) for _ in range(2))
    step = compiled(fast.__call__, torch.device(device))
    for index in range(20):
        batch = data(index, device)
        torch.testing.assert_close(eager(*batch), step(*batch), atol=1e-6, rtol=1e-5)
        for ours, theirs in zip(eager.module.parameters(), fast.module.parameters(), strict=True):
            torch.testing.assert_close(ours.grad, theirs.grad, atol=1e-6, rtol=1e-5)  # which dashboards show
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
    assert [pays_to_compile("auto", n, torch.device("cpu")) for n in (100, 10**6)] == [False, True]
    with pytest.raises(UsageError, match="compile must be one of auto, on, off, got 'yes'"):
        pays_to_compile("yes", 100, torch.device("cpu"))


def test_steps_too_small_to_learn_by_are_refused():
    with pytest.raises(UsageError, match=r"max_grad_norm \(null for no limit\) must be .* at least 1e-06, got 0\.0"):
        GradientStep(make_module(), loss, Adam(), max_grad_norm=0.0)
    for eps in (0.0, 1e30):
        with pytest.raises(UsageError, match=r"eps must be a number in \[1e-16, 1\]"):
            Adam(eps=eps)


def test_a_large_network_repays_compiling_after_fewer_steps():
    plans = [pays_to_compile("auto", 20_000, torch.device("cpu"), number) for number in (10_000, 1_700_000)]
    assert plans == [False, True]


def test_code_for_other_instructions_is_kept_elsewhere(tmp_path, monkeypatch):
    """The compiler looks its cache up by the source alone, and code for longer vectors computes garbage."""
    monkeypatch.setenv("TORCHINDUCTOR_CACHE_DIR", str(tmp_path))
    for capability in ("AVX2", "AVX2", "AVX512"):
        monkeypatch.setenv("TORCHINDUCTOR_CACHE_DIR", str(tmp_path))
        monkeypatch.setattr("torch.backends.cpu.get_cpu_capability", lambda capability=capability: capability)
        for _ in range(2):
            separate_compiled_code()
            assert os.environ["TORCHINDUCTOR_CACHE_DIR"] == str(tmp_path / capability)


@pytest.mark.parametrize("missing", ["compiler", "headers"])
def test_nothing_is_compiled_where_a_part_of_the_compiler_is_missing(tmp_path, monkeypatch, missing):
    if missing == "compiler":
        monkeypatch.setenv("PATH", str(tmp_path))
    else:
        monkeypatch.setattr("sysconfig.get_path", lambda name: str(tmp_path))
    assert not pays_to_compile("auto", 10**9, torch.device("cpu"))


def test_a_restored_step_goes_on_exactly():
    first, second = (GradientStep(make_module(), loss, Adam(), lr=0.01) for _ in range(2))
    for index in range(5):
        first(*data(index))
    second.module.load_state_dict(first.module.state_dict())
    second.load_state_dict({name: tensor.clone() for name, tensor in first.state_dict().items()})
    for step in (first, second):
        step(*data(9))
    assert torch.equal(first.flat, second.flat)
