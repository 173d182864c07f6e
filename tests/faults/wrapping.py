"""Deliberate faults in `digideep/environment`: Atari, native backends, normalisers."""

from tests.faults.runner import Fault

_ATARI = "digideep/environment/making/atari.py"
_NORMALIZERS = "digideep/environment/normalizers.py"
_NOVELTY = "digideep/environment/novelty.py"
_NATIVE = "digideep/environment/stepping/native_environment.py"
_ALE = "digideep/environment/stepping/backends.py"

_EXPLORER_TESTS = "tests/environment/test_explorer.py"
_LIVES = "tests/environment/test_lives.py"
_MULTI_AGENT = "tests/environment/test_parallel_games.py"
_ATARI_TESTS = "tests/environment/test_atari.py"
_NORMALIZERS_TESTS = "tests/environment/test_normalizers.py"
_NOVELTY_TESTS = "tests/environment/test_novelty.py"
_BACKENDS_TESTS = "tests/environment/test_backends.py"

FAULTS: tuple[Fault, ...] = (
    Fault(
        _NOVELTY,
        "returns[rows] = returns[rows] * self._gamma + errors",
        "returns[rows] = errors",
        "new observations' rewards by the spread of single errors",
        f"{_NOVELTY_TESTS}::test_the_reward_is_the_error_by_the_spread_of_a_sum_that_goes_on_over_ends_of_episodes",
    ),
    Fault(
        _NOVELTY,
        "rows = np.flatnonzero(moved)",
        "rows = np.arange(len(moved))",
        "the first observation of an episode rewarded",
        f"{_NOVELTY_TESTS}::test_a_row_that_took_no_step_is_neither_rewarded_nor_learned_from",
    ),
    Fault(
        _NOVELTY,
        "if not self._is_learning or not len(rows):",
        "if not len(rows):",
        "tests rewarded for what is new",
        f"{_NOVELTY_TESTS}::test_only_training_is_rewarded_for_what_is_new",
    ),
    Fault(
        _NOVELTY,
        "np.clip(scaled, -_CLIP, _CLIP)",
        "scaled",
        "observations for novelty not clipped",
        f"{_NOVELTY_TESTS}::test_observations_are_clipped_to_five_deviations",
    ),
    Fault(
        _NOVELTY,
        "self._moments[...], self._n_updates = state",
        "_, self._n_updates = state",
        "the predictor's optimizer forgotten at a resume",
        f"{_NOVELTY_TESTS}::test_a_resumed_run_is_bit_identical",
    ),
    Fault(
        _NOVELTY,
        "self._target.flat[...] = target[0]",
        "pass",
        "a random network of its own in each rank",
        f"{_NOVELTY_TESTS}::test_ranks_share_what_they_have_seen_and_learned",
    ),
    Fault(
        _ATARI,
        "self._carried = float(reward)",
        "self._carried = 0.0",
        "the reward of the step within reset dropped",
        f"{_LIVES}::test_a_lost_life_is_a_termination_and_rewards_sum_up_to_the_score",
    ),
    Fault(
        _ATARI,
        "np.logical_and(lives < before, lives > 0)",
        "lives < before",
        "the last life lost before the game is over",
        f"{_LIVES}::test_a_lost_life_is_a_termination_and_rewards_sum_up_to_the_score",
    ),
    Fault(
        _ATARI,
        "limit or _MAX_FRAMES // self.frame_skip",
        "limit or _MAX_FRAMES",
        "the time limit in frames instead of steps",
        f"{_ATARI_TESTS}::test_the_time_limit_counts_steps_and_truncates",
    ),
    Fault(
        _ATARI,
        "self._goes_on and seed is None, False",
        "self._goes_on, False",
        "a reset under a seed plays on",
        f"{_LIVES}::test_a_reset_under_a_seed_begins_a_game",
    ),
    Fault(
        _ATARI,
        '        self._lives = info["lives"]\n        if is_lost',
        "        if is_lost",
        "a life that was won and lost not noticed",
        f"{_LIVES}::test_a_life_that_was_won_can_be_lost",
    ),
    Fault(
        _ATARI,
        "terminated or is_lost, truncated, info",
        "terminated, truncated or is_lost, info",
        "a lost life is a truncation",
        f"{_LIVES}::test_a_lost_life_is_a_termination_and_rewards_sum_up_to_the_score",
    ),
    Fault(
        _ATARI,
        '(info["lives"], self._lives)) and not (terminated or truncated)',
        '(info["lives"], self._lives))',
        "a game that is over goes on if a life was lost, too",
        f"{_LIVES}::test_a_life_that_is_lost_with_the_time_limit_is_no_end_of_its_own",
    ),
    Fault(
        _ATARI,
        "return observation, carried, terminated, truncated",
        "return observation, 0.0, terminated, truncated",
        "the reward of a game that ended within reset dropped",
        f"{_LIVES}::test_a_game_that_ends_within_reset_ends_with_the_next_step_which_brings_the_reward",
    ),
    Fault(
        _ATARI,
        '"repeat_action_probability": self.repeat_action_probability,',
        '"repeat_action_probability": 0.25,',
        "sticky actions always",
        f"{_ATARI_TESTS}::test_sticky_actions_repeat_the_action_before",
    ),
    Fault(
        "digideep/environment/running_statistics.py",
        " + delta * delta * (self.count * n / total)) / total",
        ") / total",
        "the spread between batches left out",
        f"{_NORMALIZERS_TESTS}::test_merged_batches_have_the_moments_of_all_rows_together",
    ),
    Fault(
        "digideep/environment/running_statistics.py",
        'float(state["count"])',
        "1e-4",
        "the count of a normaliser not restored",
        f"{_NORMALIZERS_TESTS}::test_a_restored_normaliser_remembers_how_much_it_has_seen",
    ),
    Fault(
        _NORMALIZERS,
        'self._is_learning = mode == "train"\n        self.clip',
        'self._is_learning = mode != "eval"\n        self.clip',
        "statistics of observations change in tests",
        f"{_NORMALIZERS_TESTS}::test_statistics_freeze_outside_training_and_rewards_stay_raw",
    ),
    Fault(
        _NORMALIZERS,
        'self._is_learning, self._is_following = mode == "train", False',
        'self._is_learning, self._is_following = mode != "eval", False',
        "rewards scaled in tests",
        f"{_NORMALIZERS_TESTS}::test_statistics_freeze_outside_training_and_rewards_stay_raw",
    ),
    Fault(
        _NORMALIZERS,
        "learned = rows if counted is None else rows[counted]",
        "learned = rows",
        "players that are not there count",
        f"{_MULTI_AGENT}::test_normalisers_learn_from_each_observation_once_and_for_each_agent_by_itself",
    ),
    Fault(
        _NORMALIZERS,
        "        returns *= self._gamma\n",
        "",
        "returns not discounted",
        f"{_NORMALIZERS_TESTS}::test_rewards_are_divided_by_the_spread_of_discounted_returns",
    ),
    Fault(
        _NORMALIZERS,
        "returns[buffers.ended] = 0",
        "returns[buffers.terminations] = 0",
        "a return goes on after a time limit",
        f"{_NORMALIZERS_TESTS}::test_an_episode_end_forgets_the_return_and_a_half_step_does_not_count",
    ),
    Fault(
        _NORMALIZERS,
        "learned = returns if moved.all() else returns[moved]",
        "learned = returns",
        "half-steps count among the returns",
        f"{_NORMALIZERS_TESTS}::test_an_episode_end_forgets_the_return_and_a_half_step_does_not_count",
    ),
    Fault(
        _NORMALIZERS,
        "np.minimum(np.maximum(rewards * scale, -self._clip), self._clip)",
        "(rewards * scale)",
        "rewards not clipped",
        f"{_NORMALIZERS_TESTS}::test_limit_and_epsilon_of_rewards_are_those_that_were_given",
    ),
    Fault(
        _NORMALIZERS,
        "np.maximum(rewards * scale,",
        "np.maximum((rewards - self._running.mean) * scale,",
        "the mean taken off rewards",
        f"{_NORMALIZERS_TESTS}::test_rewards_are_divided_by_the_spread_of_discounted_returns",
    ),
    Fault(
        _NORMALIZERS,
        "np.maximum(scaled, -self.clip)",
        "scaled",
        "observations not clipped below",
        f"{_NORMALIZERS_TESTS}::test_limit_and_epsilon_of_observations_are_those_that_were_given",
    ),
    Fault(
        _NORMALIZERS,
        "np.sqrt(running.var + self.epsilon)",
        "(np.sqrt(running.var) + self.epsilon)",
        "epsilon outside of the root",
        f"{_NORMALIZERS_TESTS}::test_limit_and_epsilon_of_observations_are_those_that_were_given",
    ),
    Fault(
        _NORMALIZERS,
        'self._returns = np.array(state["returns"])',
        'self._returns = np.zeros(len(state["returns"]))',
        "returns so far not restored",
        f"{_EXPLORER_TESTS}::test_a_restored_explorer_goes_on_exactly_in_the_middle_of_an_episode",
    ),
    Fault(
        _NORMALIZERS,
        "        self._returns[:] = 0\n",
        "",
        "returns go on over a reset",
        f"{_NORMALIZERS_TESTS}::test_a_reset_forgets_the_return",
    ),
    Fault(
        _NATIVE,
        "buffers.lengths += ~starts",
        "buffers.lengths += 1",
        "half-steps counted in lengths",
        f"{_LIVES}::test_a_native_backend_has_the_same_rows",
    ),
    Fault(
        _NATIVE,
        "np.where(goes_on, 0, rewards + self._carried)",
        "np.where(goes_on, 0, rewards)",
        "the reward of the step after a lost life dropped",
        f"{_LIVES}::test_a_native_backend_has_the_same_rows",
    ),
    Fault(
        _ALE,
        "(self._elapsed >= self._limit) & ~terminated",
        "(self._elapsed > self._limit) & ~terminated",
        "the time limit one step late",
        f"{_BACKENDS_TESTS}::test_a_native_backend_plays_the_same_game_as_gymnasium_frame_by_frame",
    ),
    Fault(
        _NATIVE,
        "if starts.any():",
        "if starts.all():",
        "frames of the episode before in the first stacks",
        f"{_BACKENDS_TESTS}::test_a_native_backend_plays_the_same_game_as_gymnasium_frame_by_frame",
    ),
    Fault(
        _ALE,
        "np.where(self._cut, 0, rewards)",
        "rewards",
        "a reward after the time limit",
        f"{_BACKENDS_TESTS}::test_nothing_is_earned_in_the_step_after_a_time_limit",
    ),
    Fault(
        _NATIVE,
        "            buffers.actions[has_lost_life] = self._first_action",
        "            pass",
        "another action than the learner's fire after a lost life",
        f"{_LIVES}::test_a_native_backend_has_the_same_rows",
    ),
)
