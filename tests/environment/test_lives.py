"""Lost lives as ends for the learner, of games that go as they are written. All numbers are worked out by hand."""

import gymnasium as gym
import numpy as np

from digideep.environment.episode_infos import Episode
from digideep.environment.making.atari import LIFE_LOST, Atari, LifeLoss
from digideep.environment.making.make_environment import EnvironmentInfo, EnvironmentSpec
from digideep.environment.spaces import agent_action_space
from digideep.environment.stepping.native_environment import NativeEnvironment
from digideep.environment.stepping.step_buffers import StepBuffers
from digideep.environment.stepping.worker import WorkerPlan
from digideep.parameters.component import describe
from tests.support.helpers import Scripted, make_explorer
from tests.support.scripted import Script

# Reward, lives left, end. Powers of two: a sum tells what is in it.
GAME = [
    (1, 3, ""),
    (2, 2, ""),  # a life is lost
    (4, 2, ""),  # the step within reset: its reward comes with the next one
    (8, 2, ""),
    (16, 1, ""),  # another one
    (32, 1, ""),  # within reset
    (64, 0, ""),  # the last one, but the game goes on for a while: this is no end
    (128, 0, ""),
    (256, 0, "terminated"),
]
ROWS = {
    "rewards": [1, 2, 0, 12, 16, 0, 96, 128, 256],
    "terminations": [0, 1, 0, 0, 1, 0, 0, 0, 1],
    "masks": [1, 1, 0, 1, 1, 0, 1, 1, 1, 0],
}


def play(steps):
    """A game to its end: of each step reward, terminated, truncated, and whether a life was lost."""
    game = LifeLoss(Script(steps), 0)
    game.reset(seed=0)
    while True:
        _, reward, terminated, truncated, info = game.step(0)
        yield reward, terminated, truncated, LIFE_LOST in info
        if terminated or truncated:
            if LIFE_LOST not in info:
                return
            game.reset()


def test_a_lost_life_is_a_termination_and_rewards_sum_up_to_the_score():
    played = list(play(GAME))
    assert played == [
        (1, False, False, False), (2, True, False, True), (12, False, False, False), (16, True, False, True),
        (96, False, False, False), (128, False, False, False), (256, True, False, False),
    ]  # fmt: skip
    assert sum(reward for reward, *_ in played) == sum(reward for reward, *_ in GAME)


def test_a_game_that_ends_within_reset_ends_with_the_next_step_which_brings_the_reward():
    assert list(play([(1, 3, ""), (2, 2, ""), (4, 2, "truncated")]))[2:] == [(4, False, True, False)]
    assert list(play([(1, 3, ""), (2, 2, ""), (4, 0, "terminated")]))[2:] == [(4, True, False, False)]


def test_a_life_that_is_lost_with_the_time_limit_is_no_end_of_its_own():
    assert list(play([(1, 3, ""), (2, 2, "truncated")])) == [(1, False, False, False), (2, False, True, False)]


def test_a_life_that_was_won_can_be_lost():
    assert [end for _, *end in play([(1, 4, ""), (2, 3, ""), (4, 3, ""), (8, 3, "terminated")])] == [
        [False, False, False], [True, False, True], [True, False, False],
    ]  # fmt: skip


def test_a_reset_under_a_seed_begins_a_game():
    game = LifeLoss(Script(GAME), 0)
    game.reset(seed=0)
    for _ in range(2):
        observation, _, terminated, _, _ = game.step(0)
    assert (observation.tolist(), terminated) == ([2], True)
    assert game.reset(seed=0)[0].tolist() == [0]
    assert [game.step(0)[1] for _ in range(2)] == [1, 2]
    assert game.reset()[0].tolist() == [3], "without a seed the game goes on"


def test_a_chunk_has_a_half_step_after_a_lost_life_and_the_episode_that_is_logged_is_the_game():
    explorer = make_explorer("Lives-v0", Scripted([0, 0]), env_kwargs={"steps": GAME}, n_steps=9)
    chunk = explorer.update()
    for worker in range(2):
        assert chunk["/masks"][worker, :, 0].tolist() == ROWS["masks"]
        assert chunk["/rewards"][worker, :9, 0].tolist() == ROWS["rewards"]
        assert chunk["/terminations"][worker, :9, 0].tolist() == ROWS["terminations"]
    # Two of the nine steps were taken within reset.
    assert explorer.take_episodes() == [Episode(0, 511.0, 7), Episode(1, 511.0, 7)]


class Native(NativeEnvironment):
    """A backend that plays a game as it is written, its frames black, and notes the actions."""

    title = "The test's backend"

    def _begin(self, seeds):
        self.left, self.asked = iter(GAME), []
        return np.zeros((1, 2, 2), np.uint8), np.array([3])

    def _finish(self, actions):
        self.asked += actions.tolist()
        reward, lives, end = next(self.left)
        ends = np.array([end == "terminated"]), np.array([end == "truncated"])
        return np.zeros((1, 2, 2), np.uint8), np.array([float(reward)]), *ends, np.array([lives])


def test_a_native_backend_has_the_same_rows():
    actions = gym.spaces.Discrete(4)
    spaces = {"/agent": gym.spaces.Box(0, 255, (4, 2, 2), np.uint8)}
    info = EnvironmentInfo(spaces, actions, agent_action_space(actions), None, ())
    spec = EnvironmentSpec(name="x", atari=describe(Atari, terminal_on_life_loss=True))
    rows = StepBuffers(info, 1, np.zeros)
    native = Native(WorkerPlan(spec, 0, "train"), info, rows, 1)
    native._first_action = 1
    native.reset()
    seen = []
    for _ in GAME:
        rows.actions[:] = 3
        native.send()
        native.receive()
        seen.append([float(each[0]) for each in (rows.rewards, rows.terminations, rows.ended, rows.returns)])
    rewards, terminations, ended, returns = (list(each) for each in zip(*seen, strict=True))
    assert (rewards, terminations) == (ROWS["rewards"], ROWS["terminations"])
    assert ended == [1 - mask for mask in ROWS["masks"][1:]]
    assert returns == [2**count - 1 for count in range(1, 10)]
    assert rows.lengths[0] == 7
    assert native.asked == [3, 3, 1, 3, 3, 1, 3, 3, 3], "the first action follows a lost life, whatever is chosen"
