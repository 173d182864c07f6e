"""Critics that see what the actor may not: who depends on what, a task that needs it, and what is refused."""

import json

import numpy as np
import pytest
import torch
from gymnasium.spaces import Box, Discrete

import tests.support.environments  # noqa: F401  # registers HiddenBonus-v0
from digideep.agent.ddpg import DDPG
from digideep.agent.dqn import DQN
from digideep.agent.drqv2 import DrQv2
from digideep.agent.sac import SAC
from digideep.agent.sacv1 import SACv1
from digideep.agent.td3 import TD3
from digideep.main import main
from digideep.memory.sampler import NewestSequences
from digideep.parameters.component import describe
from digideep.policy.continuous import DeterministicPolicy
from digideep.policy.observations import Views
from digideep.policy.pixel_encoders import DrQCNN
from digideep.policy.stochastic import RecurrentPolicy
from digideep.post.export import export
from digideep.post.loader import Loader
from digideep.utility.errors import UsageError
from tests.agent.test_spaces import make_ppo, practise
from tests.pipeline.test_resume import train
from tests.support.helpers import CLASSIC, ROOT, tiny
from tests.support.replay import make_agent, make_batch, take_step

OWN, HIDDEN = Box(-1, 1, (3,), np.float32), Box(-1, 1, (4,), np.float32)
SPACES = {"/own": OWN, "/hidden": HIDDEN}
SEEN = {"observation_path": "/own", "critic_observation_path": ["/own", "/hidden"]}
PIXELS = Box(0, 255, (16, 16, 3), np.uint8)


def views(size=32, seed=0, changed=None):
    """A batch of which the critics see seven numbers, the actor three. Args: changed: whose numbers are others."""
    generator = torch.Generator().manual_seed(seed + 50)
    batch = make_batch(TD3, size, seed)
    hidden = [torch.randn(size, 4, generator=generator) for _ in range(2)]

    def seen(own, hidden):
        critics = torch.cat([own, hidden], -1)
        return Views(own + (changed == "actor"), critics + (changed == "critics"))

    return batch._replace(
        observations=seen(batch.observations, hidden[0]), next_observations=seen(batch.next_observations, hidden[1])
    )


@pytest.mark.parametrize("cls", [SAC, SACv1, TD3, DDPG])
def test_the_actor_depends_on_its_own_observation_only_and_critics_on_theirs(cls):
    agent = make_agent(cls, SPACES, **SEEN)
    plain, other_critics, other_actor = (views(changed=who).observations for who in (None, "critics", "actor"))
    noise = (torch.zeros(32, 2),) if cls in (SAC, SACv1) else ()

    def actions(seen):
        found = agent.policy.actor(seen, *noise)
        return found[0] if noise else found

    assert torch.equal(actions(plain), actions(other_critics))
    assert not torch.allclose(actions(plain), actions(other_actor))
    chosen = torch.zeros(32, 2)
    assert torch.equal(agent.policy.critics(plain, chosen), agent.policy.critics(other_actor, chosen))
    assert not torch.allclose(agent.policy.critics(plain, chosen), agent.policy.critics(other_critics, chosen))
    if cls is SACv1:
        assert torch.equal(agent.policy.value(plain), agent.policy.value(other_actor))


@pytest.mark.parametrize("cls", [SAC, SACv1, TD3, DDPG])
def test_both_learn_and_no_gradient_reaches_what_the_other_sees(cls):
    agent = make_agent(cls, SPACES, **SEEN)
    batch = views()
    for view in (*batch.observations, *batch.next_observations):
        view.requires_grad_(True)
    before = [agent.critic_step.flat.clone(), agent.actor_step.flat.clone()]
    for _ in range(2):
        take_step(agent, batch)
        agent.n_updates += 1
    assert not torch.equal(agent.critic_step.flat, before[0])
    assert not torch.equal(agent.actor_step.flat, before[1])
    values = agent.policy.critics(batch.observations, torch.zeros(32, 2))
    assert torch.autograd.grad(values.sum(), batch.observations.actor, allow_unused=True) == (None,)
    chosen = agent.policy.act(batch.observations.actor, deterministic=True).actions
    assert torch.autograd.grad(chosen.sum(), batch.observations.critics, allow_unused=True) == (None,)


def test_ppo_acts_on_its_own_observation_and_its_values_see_the_others():
    agent = make_ppo(SPACES, Discrete(2), **SEEN)
    policy, actions = agent.policy, torch.zeros(32, dtype=torch.int64)
    plain, other_critics, other_actor = (
        policy(views(changed=who).observations, actions) for who in (None, "critics", "actor")
    )
    assert torch.equal(plain.log_p, other_critics.log_p)
    assert not torch.allclose(plain.value, other_critics.value)
    assert torch.equal(plain.value, other_actor.value)
    assert not torch.allclose(plain.log_p, other_actor.log_p)
    assert policy.mode(views().observations.actor).value is None


def bonus_loss(cls, **seen):
    """The error that critics are left with, where a bonus is out of the actor's sight."""

    def make(info, memory):
        replay = {"batch_size": 32, "learning_starts": 32, "gradient_steps_per_frame": 1.0}
        rates = {"lr_actor": 3e-3, "lr_critic": 1e-2}
        spaces = info.observation_spaces
        return make_agent(cls, spaces, info.agent_action_space, memory, replay=replay, **rates, **seen)

    agent, _ = practise(25, "HiddenBonus-v0", make, chunks=50, warm_start=32)
    return agent, float(take_step(agent, agent.draw())[0]["critic_loss"])


def test_critics_explain_by_what_they_see_what_the_actor_cannot_know():
    agent, seeing = bonus_loss(TD3, **{**SEEN, "critic_observation_path": None, "observation_path": "/own"})
    assert seeing > 4, "the bonus of 3 looks like noise, of two critics 18"
    agent, seeing = bonus_loss(TD3, **SEEN)
    assert seeing < 1
    assert agent.policy.actor.layers[0].weight.shape[1] == 2, "the actor has what is its own"
    assert agent.policy.critics.layers[0].weight.shape[1] == 2 + 1 + 1


def test_ppo_learns_values_that_know_the_bonus():
    def make(info, memory):
        return make_ppo(info.observation_spaces, info.agent_action_space, memory, lr=1e-2, **SEEN)

    agent, _ = practise(60, "HiddenBonus-v0", make, kwargs={"is_continuous": False})
    low, high = (agent.policy.value(torch.tensor([[0.0, 0.0, bonus]])) for bonus in (-1.0, 1.0))
    assert float(high - low) > 3


def test_images_may_be_seen_by_critics_alone():
    agent = make_agent(
        SAC, {"/own": OWN, "/camera": PIXELS}, observation_path="/own", critic_observation_path="/camera"
    )
    assert agent.policy.actor.encoder is None
    assert agent.policy.critics.encoder is not None
    assert agent.fast_act is not None, "the actor acts by numpy as ever"
    ppo = make_ppo({"/own": OWN, "/camera": PIXELS}, Discrete(2), observation_path="/own",
                   critic_observation_path="/camera")  # fmt: skip
    assert not ppo.policy.gives_value
    assert "its critics /camera" in ppo.sight()


def test_what_has_no_critics_beside_an_actor_is_refused():
    with pytest.raises(UsageError, match="critics stand beside an actor; ActionValues has none of its own"):
        make_agent(DQN, SPACES, **SEEN)
    recurrent = {"policy": describe(RecurrentPolicy, hidden_sizes=[4]), "sampler": describe(NewestSequences)}
    with pytest.raises(UsageError, match="RecurrentPolicy has none of its own"):
        make_ppo(SPACES, Discrete(2), **SEEN, **recurrent)
    policy = describe(DeterministicPolicy, hidden_sizes=[4], encoder=describe(DrQCNN), shared_features=5)
    with pytest.raises(UsageError, match="critic_observation_path contradicts shared_features"):
        make_agent(DrQv2, {"/agent": PIXELS, "/b": OWN}, policy=policy, critic_observation_path="/b")
    with pytest.raises(UsageError, match=r"critic_observation_path '/hiden' is no observation. Did you mean '/hidden'"):
        make_agent(SAC, SPACES, observation_path="/own", critic_observation_path="/hiden")


SMALL = {"model_name": "HiddenBonus-v0", "from_module": "tests.support.environments", "number_epochs": 2,
         "test_activate": False, "compile": "off", **SEEN}  # fmt: skip
RUNS = {
    "sac_classic": {"epoch_size": 20, "warm_start": 8, "batch_size": 8, "hidden_sizes": [8], "num_workers": 2},
    "ppo_classic": {"epoch_size": 4, "num_workers": 2, "n_steps": 16, "num_mini_batches": 2},
}


@pytest.mark.usefixtures("forking_verify")
@pytest.mark.parametrize("recipe", RUNS)
def test_learning_with_asymmetric_critics_resumes_exactly(recipe, capfd):
    params, panel = str(ROOT / f"params/{recipe}.py"), json.dumps(SMALL | RUNS[recipe])
    assert main(["--params", params, "--verify-resume", "2", "--device", "cpu", "--cpanel", panel]) == 0
    assert "bit-identical: resume is exact." in capfd.readouterr().out


@pytest.mark.parametrize("recipe", RUNS)
def test_files_and_players_need_what_the_actor_sees_only(recipe, tmp_path, capsys):
    panel = json.dumps(SMALL | RUNS[recipe])
    assert train(tmp_path, "s", str(ROOT / f"params/{recipe}.py"), panel) == 0
    (exported,) = export(tmp_path / "s", "torchscript")
    module = torch.jit.load(str(exported.path))
    assert module(torch.zeros(5, 2)).shape == (5, 1)
    policy = Loader(tmp_path / "s").policy()
    assert policy.agent.observation_paths == ["/own"]
    with pytest.raises(UsageError, match="has no values"):
        policy.value({"own": np.zeros(2, np.float32), "hidden": np.zeros(1, np.float32)})
    play = ["--play", "--load-checkpoint", str(tmp_path / "s"), "--episodes", "1", "--render", "none", "--dry-run"]
    assert main(play) == 0


def test_a_memory_that_forgets_what_critics_see_is_refused(tmp_path, capsys):
    panel = tiny(**SMALL | RUNS["ppo_classic"] | {"recurrent": True})
    assert main(["--params", CLASSIC, "--dry-run", "--cpanel", panel]) == 2
    assert "RecurrentPolicy has none of its own" in capsys.readouterr().err
    params = str(ROOT / "params/sac_classic.py")
    panel = json.dumps(SMALL | RUNS["sac_classic"])
    keys = ["/masks", "/rewards", "/terminations", "/observations/own", "/agents/agent/actions"]
    argv = ["--params", params, "--dry-run", "--cpanel", panel, "--repeal", json.dumps({"/memory/keys": keys})]
    assert main(argv) == 2
    assert "/observations/hidden" in capsys.readouterr().err
