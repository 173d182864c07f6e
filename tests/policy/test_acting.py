"""Acting by numpy is acting by torch."""

import importlib

import gymnasium as gym
import numpy as np
import pytest
import torch

from digideep.agent.base import AgentBase
from digideep.parameters.component import build, describe
from digideep.policy.acting import fast_act_of
from digideep.policy.base import PolicyBase
from digideep.policy.continuous import DeterministicPolicy, SquashedGaussianPolicy
from digideep.policy.discrete import ActionValues
from digideep.policy.distributions import Categorical
from digideep.policy.networks import EnsemblePerceptron, Tanh
from digideep.policy.normalized_networks import BatchRenormPerceptron, LayerNormPerceptron, Simba
from digideep.policy.stochastic import StochasticPolicy
from digideep.utility.errors import UsageError
from tests.support.helpers import make_context

SEEN = gym.spaces.Box(-1, 1, (7,))
ROWS = torch.randn(5, 7, generator=torch.Generator().manual_seed(2))
SPACES = {"vector": gym.spaces.Box(-1, 1, (3,)), "number": gym.spaces.Discrete(5)}


def make(kind, space, **parameters):
    policy = kind(SEEN, space, torch.Generator().manual_seed(3), hidden_sizes=[32, 16], **parameters)
    for parameter in policy.parameters():  # fresh heads are nearly constant
        parameter.data += 0.3 * torch.randn(parameter.shape, generator=torch.Generator().manual_seed(4))
    return policy


def seeded(seed):
    return torch.Generator().manual_seed(seed)


@pytest.mark.parametrize("activation", ["tanh", "relu"])
@pytest.mark.parametrize("deterministic", [False, True])
@pytest.mark.parametrize("space", SPACES.values(), ids=SPACES)
def test_a_stochastic_policy_acts_by_numpy_as_by_torch(space, deterministic, activation):
    policy = make(StochasticPolicy, space, activation=activation)
    act = fast_act_of(policy)
    rows = np.random.default_rng(0)
    ours, theirs = (torch.Generator().manual_seed(5) for _ in range(2))
    for size in (6, 6, 1, 6):
        x = rows.normal(size=(size, 7)).astype(np.float32)
        actions, log_p, *_ = act(x, ours, deterministic)
        with torch.inference_mode():
            choice = policy.act(torch.tensor(x), generator=theirs, deterministic=deterministic)
            expected, expected_log_p = choice.actions, choice.log_p
        assert actions.dtype == expected.numpy().dtype
        np.testing.assert_allclose(actions, expected.numpy(), atol=2e-6)
        np.testing.assert_allclose(log_p, expected_log_p.numpy(), atol=5e-6)
    assert torch.equal(ours.get_state(), theirs.get_state())


@pytest.mark.parametrize("deterministic", [False, True])
@pytest.mark.parametrize("kind", [DeterministicPolicy, SquashedGaussianPolicy])
def test_continuous_policies_act_by_numpy_as_by_torch(kind, deterministic):
    policy, x = make(kind, SPACES["vector"]), np.random.default_rng(0).normal(size=(5, 7)).astype(np.float32)
    ours, theirs = (torch.Generator().manual_seed(1) for _ in range(2))
    actions = fast_act_of(policy)(x, ours, deterministic).actions
    with torch.no_grad():
        expected = policy.act(torch.tensor(x), generator=theirs, deterministic=deterministic).actions
    np.testing.assert_allclose(actions, expected.numpy(), atol=1e-6)
    assert actions.shape == (5, 3)
    assert torch.equal(ours.get_state(), theirs.get_state())


def test_the_spread_is_limited_alike_in_numpy_in_torch_and_when_learning():
    policy, x = make(SquashedGaussianPolicy, SPACES["vector"]), np.ones((1, 7), np.float32)
    noise = torch.randn(1, 3, generator=seeded(1))
    with torch.no_grad():
        policy.actor.layers[-1].weight.zero_()
        policy.actor.layers[-1].bias[:] = torch.tensor([0.2, 0.2, 0.2, 50.0, 0.5, -50.0])  # means, logs of spreads
    log_std = torch.tensor([[2.0, 0.5, -20.0]])
    raw = 0.2 + noise * log_std.exp()
    learned, log_p = policy.actor(torch.tensor(x), noise)
    by_numpy = torch.from_numpy(fast_act_of(policy)(x, seeded(1), False).actions)
    for actions in (by_numpy, policy.act(torch.tensor(x), generator=seeded(1)).actions, learned):
        torch.testing.assert_close(actions.detach(), torch.tanh(raw))
    of_each = -0.5 * noise**2 - log_std - 0.5 * np.log(2 * np.pi) - (1 - torch.tanh(raw) ** 2).log()
    torch.testing.assert_close(log_p.detach(), of_each.sum(-1), rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize("name", ["ppo_classic", "dqn_classic", "qr_dqn_classic", "sac_classic",
                                  "crossq_classic", "ddpg_classic", "td3_mujoco"])  # fmt: skip
def test_agents_act_with_the_parameters_that_they_learn(name):
    panel = importlib.import_module(f"params.{name}").cpanel | {"compile": "off"}
    description = importlib.import_module(f"params.{name}").gen_params(panel)["agents"]["agent"]
    space = SPACES["number"] if "dqn" in name or name == "ppo_classic" else SPACES["vector"]
    agent = build(description, AgentBase, context=make_context(SEEN, space))
    assert agent.fast_act is not None
    x, masks = {"/agent": torch.randn(50, 7, generator=seeded(6)).numpy()}, np.ones(50, np.bool_)

    def act():
        choice = agent.action_generator(x, None, masks, True)
        return np.concatenate([np.ravel(choice["actions"]), *map(np.ravel, choice.get("artifacts", {}).values())])

    before = act()
    for step in [getattr(agent, n) for n in ("step", "actor_step", "critic_step") if hasattr(agent, n)]:
        step.flat.copy_(torch.linspace(-1, 1, len(step.flat)))
    assert not np.array_equal(before, act())
    agent.fast_act, by_numpy = None, act()
    np.testing.assert_allclose(act(), by_numpy, atol=1e-5)


@pytest.mark.parametrize("changes", [{}, {"critic_outputs": 3}, {"is_dueling": True},
                                     {"critic_outputs": 3, "is_dueling": True}], ids=str)  # fmt: skip
def test_action_values_choose_by_numpy_as_by_torch(changes):
    policy = make(ActionValues, SPACES["number"], **changes)
    x = np.random.default_rng(0).normal(size=(50, 7)).astype(np.float32)
    chosen = fast_act_of(policy)(x, torch.Generator(), False).actions
    assert chosen.tolist() == policy.act(torch.tensor(x)).actions.tolist()
    assert len(set(chosen.tolist())) > 1


@pytest.mark.parametrize("network", [LayerNormPerceptron, BatchRenormPerceptron])
@pytest.mark.parametrize(("kind", "space"), [(SquashedGaussianPolicy, "vector"), (ActionValues, "number")])
def test_normalised_layers_act_by_numpy_as_by_torch_also_when_their_moments_have_moved(network, kind, space):
    policy = make(kind, SPACES[space], network=describe(network)).eval()
    assert agree(policy) == [True, True]
    rows, moving = torch.randn(50, 7, generator=seeded(6)), seeded(7)
    act, x = fast_act_of(policy), rows.numpy()
    before = act(x, seeded(1), True).actions
    with torch.no_grad():
        for part in (*policy.buffers(), *policy.parameters()):
            part += torch.rand(part.shape, generator=moving)
        after = policy.act(rows, deterministic=True).actions.numpy()
    np.testing.assert_allclose(act(x, seeded(1), True).actions, after, atol=1e-5)
    assert not np.allclose(before, after)


def test_what_was_learned_shows_in_the_next_action_and_actions_are_the_callers_own():
    policy = make(StochasticPolicy, SPACES["vector"])
    act, x = fast_act_of(policy), np.ones((2, 7), np.float32)
    before, *_ = act(x, torch.Generator(), True)
    kept = before.copy()
    with torch.no_grad():
        policy.head.linear.bias += 1
    after, *_ = act(x, torch.Generator(), True)
    np.testing.assert_allclose(after, kept + 1, rtol=1e-5)
    np.testing.assert_array_equal(before, kept)


def test_what_has_no_counterpart_is_left_to_torch():
    generator = torch.Generator()
    assert fast_act_of(make(StochasticPolicy, SPACES["vector"], activation="elu")) is None
    assert fast_act_of(StochasticPolicy(SEEN, SPACES["vector"], generator, hidden_sizes=[400, 400])) is None
    assert fast_act_of(make(ActionValues, SPACES["number"], num_critics=2)) is None
    simba = {"hidden_sizes": [32, 32], "network": describe(Simba)}
    assert fast_act_of(ActionValues(SEEN, SPACES["number"], generator, **simba)) is None
    learner = make(SquashedGaussianPolicy, SPACES["vector"], network=describe(BatchRenormPerceptron))
    assert learner.training
    assert fast_act_of(learner) is None, "which would learn the batch's moments"


KINDS = [(StochasticPolicy, "vector"), (StochasticPolicy, "number"), (SquashedGaussianPolicy, "vector"),
         (DeterministicPolicy, "vector"), (ActionValues, "number")]  # fmt: skip


@pytest.mark.parametrize(("kind", "space"), KINDS)
def test_a_subclass_with_more_to_it_keeps_the_fast_way(kind, space):
    class Named(kind):
        def __init__(self, *args, **parameters):
            super().__init__(*args, **parameters)
            self.name = "mine"

    assert agree(make(Named, SPACES[space])) == [True, True]


@pytest.mark.parametrize(("kind", "space"), KINDS)
def test_a_subclass_that_acts_in_another_way_has_no_fast_one_unless_it_says_so(kind, space):
    class Contrary(kind):
        def act(self, observations, **options):
            choice = super().act(observations, **options)
            return choice._replace(actions=choice.actions * 0)

    class Below(Contrary):
        pass

    class Mixed(Contrary, kind):
        pass

    class Fast(Contrary):
        def fast_act(self):
            return lambda x, generator, deterministic: super(Contrary, self).fast_act()(x, generator, deterministic)

    for cls in (Contrary, Below, Mixed):
        assert fast_act_of(make(cls, SPACES[space])) is None
    assert fast_act_of(make(Fast, SPACES[space])) is not None


class Doubled(torch.nn.Linear):
    def forward(self, x):
        return 2 * super().forward(x)


class Backwards(torch.nn.Sequential):
    def forward(self, x):
        return -super().forward(x)


class Shifted(EnsemblePerceptron):
    def forward(self, x, num=None):
        return super().forward(x, num) + 1


class Sharper(type(make(StochasticPolicy, SPACES["number"]).head)):
    def forward(self, features, allowed=None):
        return Categorical(3 * self.linear(features))


def with_doubled_layer(policy):
    policy.actor[0] = Doubled(7, 32)


def with_an_actor_of_its_own(policy):
    policy.actor = Backwards(*policy.actor)


def with_a_head_of_its_own(policy):
    policy.head.__class__ = Sharper


def with_a_hook(policy):
    policy.actor[0].register_forward_hook(lambda module, args, output: output + 1)


def with_a_hook_before_a_layer(policy):
    policy.actor[0].register_forward_pre_hook(lambda module, args: (args[0] + 1,))


def with_a_weight_that_is_computed(policy):
    torch.nn.utils.parametrizations.weight_norm(policy.actor[2])


def with_a_weight_that_is_no_parameter(policy):
    layer = policy.actor[0]
    weight = layer.weight.detach()
    del layer.weight
    layer.weight = weight  # which others may replace by another tensor


def with_a_forward_of_one_layer(policy):
    policy.actor[0].forward = lambda x: torch.nn.Linear.forward(policy.actor[0], x) + 1


def with_a_call_of_its_own(policy):
    policy.actor[0].__class__ = type("Called", (torch.nn.Linear,), {"__call__": lambda self, x: self.forward(x) + 1})


def with_a_property_for_a_weight(policy):
    weight = property(lambda self: 2 * self._parameters["weight"])
    policy.actor[0].__class__ = type("Twice", (torch.nn.Linear,), {"weight": weight})


@pytest.mark.parametrize("change", [with_a_forward_of_one_layer, with_a_call_of_its_own, with_a_property_for_a_weight,
                                    with_doubled_layer, with_an_actor_of_its_own, with_a_head_of_its_own, with_a_hook,
                                    with_a_hook_before_a_layer, with_a_weight_that_is_computed,
                                    with_a_weight_that_is_no_parameter])  # fmt: skip
def test_no_subclass_gets_a_fast_way_that_is_not_its_own(change):
    class Changed(StochasticPolicy):
        def __init__(self, *args, **parameters):
            super().__init__(*args, **parameters)
            change(self)

    assert fast_act_of(make(Changed, SPACES["number"])) is None


@pytest.mark.parametrize(
    ("kind", "space", "part", "method"),
    [
        (DeterministicPolicy, "vector", "actor", "forward"),
        (DeterministicPolicy, "vector", "actor", "act"),
        (SquashedGaussianPolicy, "vector", "actor", "_moments"),
        (SquashedGaussianPolicy, "vector", "actor", "act"),
        (ActionValues, "number", "", "forward"),
    ],
)
def test_networks_that_compute_in_another_way_have_no_fast_one(kind, space, part, method):
    policy = make(kind, SPACES[space])
    network = policy.get_submodule(part)
    honest = getattr(type(network), method)
    network.__class__ = type("Own", (type(network),), {method: lambda *args, **options: honest(*args, **options)})
    assert fast_act_of(policy) is None


@pytest.mark.parametrize(("kind", "space"), KINDS[2:])
def test_another_class_of_layers_keeps_the_fast_way_only_if_its_arithmetic_is_the_same(kind, space):
    class Wider(EnsemblePerceptron):
        pass

    for network, expected in ((Wider, True), (Shifted, False)):
        policy = make(type("Own", (kind,), {"network_class": network}), SPACES[space])
        assert (fast_act_of(policy) is not None) is expected


def agree(policy):
    """Whether numpy and torch choose alike: without exploration, and with the same noise."""
    fast, x = fast_act_of(policy), ROWS.numpy()
    with torch.no_grad():
        return [
            np.allclose(
                fast(x, seeded(1), deterministic).actions,
                policy.act(ROWS, generator=seeded(1), deterministic=deterministic).actions.numpy(),
                atol=1e-5,
            )
            for deterministic in (False, True)
        ]


def test_the_compiled_tanh_is_the_tangent_and_so_is_its_gradient():
    x = torch.linspace(-12, 12, 10_001).requires_grad_()
    fast = torch.compile(Tanh())(x)
    exact = torch.tanh(x.double())
    assert float((fast - exact).abs().max().detach()) < 4e-7
    (gradient,) = torch.autograd.grad(fast.sum(), x)
    torch.testing.assert_close(gradient.double(), (1 - exact * exact).detach(), atol=1e-6, rtol=0)
    assert torch.equal(Tanh()(x), torch.tanh(x))


@pytest.mark.parametrize("kind", [DeterministicPolicy, SquashedGaussianPolicy])
def test_the_mode_is_what_a_policy_does_without_noise_and_its_value_the_least_of_the_critics(kind):
    policy, x = make(kind, SPACES["vector"]), ROWS
    choice = policy.mode(x)
    expected = policy.act(x, deterministic=True).actions
    torch.testing.assert_close(choice.actions, expected)
    torch.testing.assert_close(choice.value, torch.minimum(*policy.critics(x, expected)))
    assert choice.state is None


def test_of_critics_with_several_outputs_the_mode_takes_the_least_mean():
    policy = make(DeterministicPolicy, SPACES["vector"], num_critics=3, critic_outputs=4)
    actions = policy.mode(ROWS).actions
    x = torch.cat([ROWS, actions], -1)
    first, _, second, _, last = policy.critics.layers
    by_hand = []
    for index in range(3):
        features = x
        for layer in (first, second):
            features = (features @ layer.weight[index] + layer.bias[index]).relu()
        by_hand.append(features @ last.weight[index] + last.bias[index])
    outputs = policy.critics(ROWS, actions)
    torch.testing.assert_close(outputs, torch.stack(by_hand))
    torch.testing.assert_close(policy.critics(ROWS, actions, 1), outputs[:1])
    torch.testing.assert_close(policy.mode(ROWS).value, torch.stack(by_hand).mean(-1).min(0).values)


@pytest.mark.parametrize("is_dueling", [False, True])
@pytest.mark.parametrize(("num_critics", "critic_outputs"), [(1, 1), (2, 1), (1, 3), (2, 3)])
def test_action_values_of_several_critics_and_outputs_are_judged_by_their_mean(num_critics, critic_outputs, is_dueling):
    shape = {"num_critics": num_critics, "critic_outputs": critic_outputs, "is_dueling": is_dueling}
    policy = make(ActionValues, SPACES["number"], **shape)
    first, _, second, _ = policy.features
    by_hand = torch.zeros(num_critics, 5, 5, critic_outputs)  # critics, rows, actions, outputs
    for index in range(num_critics):
        features = ROWS
        for layer in (first, second):
            features = (features @ layer.weight[index] + layer.bias[index]).relu()
        (last,) = policy.advantages
        values = (features @ last.weight[index] + last.bias[index]).view(5, 5, critic_outputs)
        if is_dueling:
            (last,) = policy.state_value
            values = values - values.mean(1, keepdim=True) + (features @ last.weight[index] + last.bias[index])[:, None]
        by_hand[index] = values
    expected = by_hand[0] if num_critics == 1 else by_hand
    torch.testing.assert_close(policy(ROWS), expected[..., 0] if critic_outputs == 1 else expected)
    means = by_hand.mean((0, -1))
    allowed = torch.ones(5, 5, dtype=torch.bool).scatter_(1, means.argmax(1, keepdim=True), False)
    for mask, judged in ((None, means), (allowed, means.masked_fill(~allowed, -torch.inf))):
        choice = policy.act(ROWS, allowed=mask)
        assert choice.actions.tolist() == judged.argmax(-1).tolist()
        torch.testing.assert_close(choice.value, judged.amax(-1))


def test_a_policy_computes_each_of_its_networks_in_the_precision_that_it_is_given():
    actions = torch.zeros(5, 3)
    for kind in (DeterministicPolicy, SquashedGaussianPolicy):
        exact, rough = (make(kind, SPACES["vector"], precision=precision) for precision in ("fp32", "bf16"))
        assert not torch.equal(exact.mode(ROWS).actions, rough.mode(ROWS).actions)
        assert not torch.equal(exact.critics(ROWS, actions), rough.critics(ROWS, actions))
    exact, rough = (make(ActionValues, SPACES["number"], precision=precision) for precision in ("fp32", "bf16"))
    assert not torch.equal(exact(ROWS), rough(ROWS))


@pytest.mark.parametrize("is_dueling", [False, True])
def test_the_mode_of_action_values_is_the_best_that_is_allowed(is_dueling):
    policy, x = make(ActionValues, SPACES["number"], is_dueling=is_dueling), ROWS
    assert policy.mode(x).actions.tolist() == policy(x).argmax(-1).tolist()
    torch.testing.assert_close(policy.mode(x).value, policy(x).amax(-1))
    allowed = torch.tensor([[False, True, False, False, False]] * 5)
    choice = policy.mode(x, allowed=allowed)
    assert choice.actions.tolist() == [1] * 5
    torch.testing.assert_close(choice.value, policy(x)[:, 1])


@pytest.mark.parametrize("space", SPACES.values(), ids=SPACES)
def test_the_mode_of_a_stochastic_policy_is_its_deterministic_act(space):
    policy, x, generator = make(StochasticPolicy, space), ROWS, torch.Generator()
    torch.testing.assert_close(policy.mode(x).actions, policy.act(x, generator=generator, deterministic=True).actions)
    torch.testing.assert_close(policy.mode(x).value, policy.value(x))
    if isinstance(space, gym.spaces.Discrete):
        preferred = policy.mode(x).actions
        allowed = torch.arange(5) != preferred[:, None]
        second = policy.mode(x, allowed=allowed).actions
        assert (second != preferred).all()
        assert second.tolist() == policy.act(x, allowed=allowed, deterministic=True).actions.tolist()


def test_a_policy_that_does_not_say_how_it_acts_is_told_so():
    class Silent(PolicyBase):
        pass

    with pytest.raises(UsageError, match="Silent has no method 'act'"):
        Silent().mode(torch.zeros(1, 7))
