"""PQN: lambda returns beside the paper's recursion, its loss and its exploration by hand."""

import numpy as np
import pytest
import torch

from digideep.agent.behaviour_cloning import BehaviourCloning
from digideep.agent.pqn import PQN
from digideep.agent.trajectories import Trajectories
from digideep.memory.generic import Memory
from digideep.memory.sampler import NewestChunk
from digideep.parameters.component import describe
from digideep.policy.base import Evaluation
from digideep.policy.discrete import GreedyActionValues
from digideep.utility.errors import UsageError
from tests.support.helpers import make_context
from tests.support.replay import CHOICE, LINE


def make_pqn(infos=None, **changes):
    parameters = {
        "policy": describe(GreedyActionValues, hidden_sizes=[16]), "sampler": describe(NewestChunk), "gamma": 0.9,
        "gae_lambda": 0.6, "lr": 1e-3, "epsilon": 0.25, "compile": "off",
    } | changes  # fmt: skip
    return PQN(make_context(LINE, CHOICE, Memory(chunk_sample_len=4), infos=infos), **parameters)


def test_returns_are_those_of_the_papers_recursion():
    generator = np.random.default_rng(0)
    shape = (3, 8)
    chunk = {
        "/rewards": generator.normal(size=(*shape, 1)).astype(np.float32),
        "/masks": generator.random((*shape, 1)) > 0.2,
        "/terminations": np.zeros((*shape, 1), bool),
    }
    ends = ~chunk["/masks"][:, 1:, 0] & chunk["/masks"][:, :-1, 0]  # half of the episodes end in a terminal state
    chunk["/terminations"][:, :-1, 0] = ends & (generator.random(ends.shape) > 0.5)
    best = generator.normal(size=shape).astype(np.float32)  # max Q of each row
    nothing = torch.zeros(24)
    data = Trajectories(nothing, nothing, nothing, nothing, nothing, nothing)
    found = make_pqn().estimate(chunk, data, torch.from_numpy(best.ravel())).returns.numpy().reshape(shape)
    masks, terminations, rewards = (chunk[key][..., 0] for key in ("/masks", "/terminations", "/rewards"))
    for worker in range(3):
        for t in range(6, -1, -1):
            if not masks[worker, t]:
                continue
            goes_on = masks[worker, t + 1] and t < 6
            following = 0.6 * found[worker, t + 1] + 0.4 * best[worker, t + 1] if goes_on else best[worker, t + 1]
            expected = rewards[worker, t] + 0.9 * (0 if terminations[worker, t] else following)
            assert found[worker, t] == pytest.approx(expected, abs=1e-5)


def test_the_loss_is_half_the_squared_error_of_the_actions_that_were_taken():
    policy = make_pqn().policy
    observations, actions = torch.randn(5, 3, generator=torch.Generator().manual_seed(0)), torch.tensor([0, 2, 1, 1, 0])
    torch.testing.assert_close(policy(observations, actions).value, policy.judge(observations)[range(5), actions])
    torch.testing.assert_close(policy.value(observations), policy.judge(observations).amax(-1))
    now = Evaluation(torch.zeros(2), torch.zeros(2), torch.tensor([1.0, 3.0]))
    batch = Trajectories(*[torch.zeros(2)] * 5, torch.tensor([2.0, 1.0]))
    loss, metrics = make_pqn().loss(now, batch, {})
    assert (loss.item(), metrics["q_value"].item()) == (0.5 * (1 + 4) / 2, 2.0)


def test_actions_are_random_with_the_chance_epsilon_and_never_in_tests():
    agent = make_pqn()
    observations = {"/agent": np.ones((8_000, 3), np.float32)}
    greedy = agent.policy.judge(torch.ones(1, 3)).argmax().item()
    tested = agent.action_generator(observations, None, np.ones(8_000, bool), True)
    assert set(tested["actions"].tolist()) == {greedy}
    explored = agent.action_generator(observations, None, np.ones(8_000, bool), False)
    assert np.mean(explored["actions"] == greedy) == pytest.approx(0.75 + 0.25 / 3, abs=0.02)
    np.testing.assert_allclose(explored["artifacts"]["value"], agent.policy.value(torch.ones(1, 3)).item(), rtol=1e-5)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        (
            {"pretraining": describe(BehaviourCloning, steps=1, sampler=describe(NewestChunk))},
            "PQN cannot be pretrained",
        ),
        ({"target_kl": 0.1}, "target_kl must be null"),
        ({"normalize_advantages": True}, "normalize_advantages must be false"),
        ({"policy": describe(GreedyActionValues, hidden_sizes=[16], critic_outputs=2)}, "critic_outputs must be 1"),
        ({"policy": describe(GreedyActionValues, hidden_sizes=[16], num_critics=2)}, "num_critics must be 1"),
    ],
)
def test_what_would_do_nothing_or_cannot_be_is_refused(changes, message):
    with pytest.raises(UsageError, match=message):
        make_pqn(**changes)


def test_an_action_mask_is_refused():
    with pytest.raises(UsageError, match="use_action_mask must be false"):
        make_pqn(infos={"/action_mask": np.zeros(3)}, use_action_mask=True)
