"""Each optimizer beside torch's own: to the last bit where both do the same operations in the same order."""

import numpy as np
import pytest
import torch

from digideep.learning.compiling import compiled
from digideep.learning.optimizers import SGD, Adam, AdamW, Optimizer, RMSprop
from digideep.utility.errors import UsageError
from tests.support.helpers import DEVICES

# Ours, and what torch calls the same.
ADAMS = {
    "adam": (Adam(), torch.optim.Adam, {}),
    "adam with other decays": (
        Adam(beta1=0.5, beta2=0.9, eps=1e-3), torch.optim.Adam, {"betas": (0.5, 0.9), "eps": 1e-3},
    ),
    "adamw": (AdamW(), torch.optim.AdamW, {}),
    "adamw with much decay": (
        AdamW(beta1=0.8, weight_decay=0.5), torch.optim.AdamW, {"betas": (0.8, 0.999), "weight_decay": 0.5},
    ),
}  # fmt: skip
OTHERS = {
    "rmsprop": (RMSprop(), torch.optim.RMSprop, {}),
    "rmsprop with other decays": (
        RMSprop(decay=0.9, eps=1e-3, weight_decay=0.1),
        torch.optim.RMSprop, {"alpha": 0.9, "eps": 1e-3, "weight_decay": 0.1},
    ),
    "rmsprop with momentum": (RMSprop(momentum=0.9), torch.optim.RMSprop, {"momentum": 0.9}),
    "rmsprop centred": (RMSprop(is_centered=True), torch.optim.RMSprop, {"centered": True}),
    "rmsprop with everything": (
        RMSprop(is_centered=True, momentum=0.9, weight_decay=0.1),
        torch.optim.RMSprop, {"centered": True, "momentum": 0.9, "weight_decay": 0.1},
    ),
    "sgd": (SGD(), torch.optim.SGD, {}),
    "sgd with weight decay": (SGD(weight_decay=0.1), torch.optim.SGD, {"weight_decay": 0.1}),
    "sgd with momentum": (SGD(momentum=0.9), torch.optim.SGD, {"momentum": 0.9}),
    "sgd with everything": (
        SGD(momentum=0.9, is_nesterov=True, weight_decay=0.1),
        torch.optim.SGD, {"momentum": 0.9, "nesterov": True, "weight_decay": 0.1},
    ),
}  # fmt: skip
CASES = ADAMS | OTHERS
SIZE = 1003  # no multiple of a vector's length


class Walk:
    """One of ours and one of torch's on the same parameters, by the same gradients, which do not depend on them."""

    def __init__(self, ours: Optimizer, cls, arguments, lr, dtype=torch.float32):
        self.generator = torch.Generator().manual_seed(0)
        self.ours, self.lr = ours, torch.tensor(lr, dtype=dtype)
        self.flat = torch.randn(SIZE, generator=self.generator, dtype=dtype)
        self.theirs = torch.nn.Parameter(self.flat.clone())
        self.state, self.optimizer = ours.init(self.flat), cls([self.theirs], lr=float(self.lr), **arguments)

    def step(self):
        gradient = torch.randn(SIZE, generator=self.generator, dtype=self.flat.dtype)
        self.theirs.grad = gradient.clone()
        self.optimizer.step()
        self.ours.step(self.flat, gradient, self.state, self.lr)
        assert torch.equal(gradient, self.theirs.grad), "the gradient stays what it was, for the dashboards"

    def take_over(self):
        """Continue with torch's parameters and state."""
        state = self.optimizer.state[self.theirs]
        self.flat.copy_(self.theirs.detach())
        for name, names in {"velocity": ("momentum_buffer",), "mean": ("exp_avg", "grad_avg"),
                            "square": ("exp_avg_sq", "square_avg")}.items():  # fmt: skip
            for other in names:
                if state.get(other) is not None:
                    self.state[name].copy_(state[other])


@pytest.mark.parametrize("case", OTHERS)
def test_rmsprop_and_sgd_are_torchs_to_the_last_bit_over_300_steps(case):
    """At a learning rate of a power of two: torch adds the product with the rate unrounded, where processors can."""
    walk = Walk(*OTHERS[case], lr=2**-7)
    for _ in range(300):
        walk.step()
        assert torch.equal(walk.flat, walk.theirs)


@pytest.mark.parametrize("case", CASES)
def test_a_step_at_any_rate_is_torchs_to_2_units_in_the_last_place(case):
    """From torch's own state each time. Units of the parameter, or of 0.125 where it is smaller than its steps."""
    walk = Walk(*CASES[case], lr=0.01)
    for _ in range(300):
        before = walk.flat.abs()
        walk.step()
        size = torch.maximum(before, walk.flat.abs()).clamp(min=0.125).numpy()
        assert ((walk.flat - walk.theirs).abs().detach().numpy() <= 2 * np.spacing(size)).all()
        walk.take_over()


@pytest.mark.parametrize("case", CASES)
def test_300_steps_end_where_torchs_do(case):
    for dtype, tolerance in ((torch.float32, 2e-6), (torch.float64, 1e-13)):
        walk = Walk(*CASES[case], lr=0.01, dtype=dtype)
        start = walk.flat.clone()
        for _ in range(300):
            walk.step()
        torch.testing.assert_close(walk.flat, walk.theirs.detach(), atol=tolerance, rtol=0)
        assert (walk.flat - start).abs().mean() > 0.05


@pytest.mark.parametrize("case", CASES)
def test_a_restored_state_goes_on_exactly(case):
    walk, lr = Walk(*CASES[case], lr=0.01), torch.tensor(0.01)
    for _ in range(5):
        walk.step()
    flat, state = walk.flat.clone(), walk.ours.init(walk.flat)
    assert state.keys() == walk.state.keys()
    for name, tensor in state.items():
        tensor.copy_(walk.state[name])
    for _ in range(3):
        gradient = torch.randn(SIZE, generator=walk.generator)
        walk.ours.step(walk.flat, gradient, walk.state, lr)
        walk.ours.step(flat, gradient, state, lr)
    assert torch.equal(flat, walk.flat)


@pytest.mark.parametrize("device", DEVICES)
def test_compiled_steps_equal_eager_ones(device):
    """Of those that do the most; all in one function, which is compiled once."""
    optimizers = [CASES[case][0] for case in ("adamw", "rmsprop with everything", "sgd with everything")]
    generator, lr = torch.Generator().manual_seed(0), torch.tensor(0.01, device=device)
    start = torch.randn(SIZE, generator=generator).to(device)
    eager, fast = ([(start.clone(), ours.init(start)) for ours in optimizers] for _ in range(2))

    def step_all(parameters, gradient):
        for ours, (flat, state) in zip(optimizers, parameters, strict=True):
            ours.step(flat, gradient, state, lr)
        return gradient.sum()

    step = compiled(lambda gradient: step_all(fast, gradient), torch.device(device))
    for _ in range(20):
        gradient = torch.randn(SIZE, generator=generator).to(device)
        step_all(eager, gradient)
        step(gradient)
    torch.testing.assert_close(fast, eager, atol=1e-6, rtol=1e-5)
    assert all((flat - start).abs().mean() > 0.01 for flat, _ in fast)


def test_a_gradient_that_stays_the_same_has_a_deviation_of_zero_and_no_less():
    ours, flat, gradient = (
        RMSprop(is_centered=True, decay=0.9, eps=1e-3),
        torch.zeros(1000),
        torch.linspace(-9, 9, 1000),
    )
    state = ours.init(flat)
    for _ in range(300):
        ours.step(flat, gradient, state, torch.tensor(0.01))
    assert torch.isfinite(flat).all()
    assert (state["square"] < state["mean"] ** 2).any(), "by rounding alone"


@pytest.mark.parametrize(
    ("make", "line"),
    [
        (lambda: Adam(beta1=1.0), r"beta1 must be a number in \[0, 0\.999999\], got 1\.0\."),
        (lambda: Adam(beta2=-0.1), r"beta2 must be a number in \[0, 0\.999999\], got -0\.1\."),
        (lambda: AdamW(weight_decay=-1.0), r"weight_decay must be a number in \[0, 1\], got -1\.0\."),
        (lambda: AdamW(eps=0.0), r"eps must be a number in \[1e-16, 1\], got 0\.0\."),
        (lambda: RMSprop(decay=1), r"decay must be a number in \[0, 0\.999999\], got 1\."),
        (lambda: RMSprop(eps=0), r"eps must be a number in \[1e-16, 1\], got 0\."),
        (lambda: RMSprop(momentum=1.0), r"momentum must be a number in \[0, 0\.999999\], got 1\.0\."),
        (lambda: RMSprop(weight_decay=2.0), r"weight_decay must be a number in \[0, 1\], got 2\.0\."),
        (lambda: SGD(momentum=-0.5), r"momentum must be a number in \[0, 0\.999999\], got -0\.5\."),
        (lambda: SGD(weight_decay=float("nan")), r"weight_decay must be a number in \[0, 1\], got nan\."),
        (lambda: SGD(is_nesterov=True), r"momentum must be above 0 where is_nesterov is true, got 0\.0\."),
    ],
)
def test_impossible_parameters_are_refused_by_name(make, line):
    with pytest.raises(UsageError, match=f"^{line}$"):
        make()
