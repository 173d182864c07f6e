"""Deliberate faults in `digideep/environment`, but for those in `wrapping.py`."""

from tests.faults.runner import Fault, faults_in

_EXPLORER = "digideep/environment/explorer.py"
_BUFFERS = "digideep/environment/stepping/step_buffers.py"
_SEATS = "digideep/environment/seats.py"
_SENSES = "digideep/environment/senses.py"
_GAMES = "digideep/environment/making/parallel_adapter.py"
_WORKER = "digideep/environment/stepping/worker.py"
_GROUP = "digideep/environment/stepping/worker_group.py"

_EXPLORER_TESTS = "tests/environment/test_explorer.py"
_LIVES = "tests/environment/test_lives.py"
_MULTI_AGENT = "tests/environment/test_parallel_games.py"
_PLAY = "tests/environment/test_play.py"
_ATARI_TESTS = "tests/environment/test_atari.py"
_WRAPPERS = "tests/environment/test_wrappers.py"
_SPACES = "tests/environment/test_spaces.py"
_SCALING = "tests/environment/test_scaling.py"
_CONTRACT = "tests/environment/test_contract.py"
_PROCESSES = "tests/environment/test_processes.py"
_FAMILIES = "tests/environment/test_families.py"
_FILM = "tests/environment/test_film.py"

_EPISODE_INFOS = "tests/environment/test_episode_infos.py"
_CURRICULUM = "tests/environment/test_curriculum.py"
_RARE = "tests/environment/test_rare_environments.py"

FAULTS: tuple[Fault, ...] = (
    Fault(
        _WORKER,
        "not math.isfinite(self.episode_return)",
        "False",
        "returns that are not finite logged",
        f"{_RARE}::test_a_raw_return_that_is_not_finite_ends_the_run_though_a_wrapper_makes_the_rewards_finite",
    ),
    Fault(
        _GROUP,
        "check_instance(self.workers[-1].environment, plan.spec, info, rank)",
        "pass",
        "actions of one instance scaled by the bounds of another",
        f"{_RARE}::test_instances_with_other_spaces_are_refused",
    ),
    Fault(
        _GROUP,
        "action.item() if worker.is_numbered else np.array(action)",
        "action.item() if action.ndim == 0 else np.array(action)",
        "a number for a Box without dimensions",
        f"{_RARE}::test_a_box_of_whole_numbers_without_dimensions_gets_arrays",
    ),
    Fault(
        "digideep/environment/spaces.py",
        "possible &= ~np.isnan(mask).any(1)",
        "pass",
        "NaN in a mask allows an action",
        f"{_RARE}::test_a_mask_with_nan_allows_nothing",
    ),
    Fault(
        _EXPLORER,
        'self._finished = [Episode(*episode) for episode in state["finished"]]',
        "self._finished = []",
        "finished episodes restored as none",
        f"{_EXPLORER_TESTS}::test_a_restored_explorer_goes_on_exactly_in_the_middle_of_an_episode",
    ),
    Fault(
        _EXPLORER,
        "(np.arange(self.num_workers) < rest)",
        "(np.arange(self.num_workers) <= rest)",
        "an episode too many",
        f"{_EXPLORER_TESTS}::test_episodes_are_shared_out_evenly_among_the_workers",
    ),
    Fault(
        _EXPLORER,
        "quota is None or quota[worker] > 0",
        "quota is None or quota[worker] >= 0",
        "short episodes favoured in a test",
        f"{_EXPLORER_TESTS}::test_episodes_are_shared_out_evenly_among_the_workers",
    ),
    Fault(
        _SEATS,
        "forget(before, ~masks)",
        "forget(before, np.full(len(masks), not masks.any()))",
        "hidden states forgotten only where all workers begin anew",
        f"{_EXPLORER_TESTS}::test_hidden_states_are_zero_where_one_of_the_workers_begins_anew "
        f"{_MULTI_AGENT}::test_the_hidden_state_of_a_player_that_comes_late_is_zero_and_it_counts_from_then_on",
    ),
    Fault(
        _SEATS,
        'entries(f"{self._own}/hidden_state", before)',
        'entries(f"{self._own}/hidden_state", choice["hidden_state"])',
        "the hidden state after a row noted in the place of the one before",
        f"{_EXPLORER_TESTS}::test_hidden_states_are_stored_before_their_row_and_zero_after_a_half_step",
    ),
    Fault(
        _SEATS,
        "masks, deterministic or random is not None)",
        "masks, random is not None)",
        "tests explore",
        f"{_EXPLORER_TESTS}::test_agents_explore_unless_the_explorer_is_deterministic",
    ),
    Fault(
        _EXPLORER,
        "self.frames < self.warm_start",
        "self.steps < self.warm_start",
        "a warm start counted in steps instead of frames",
        f"{_EXPLORER_TESTS}::test_a_warm_start_covers_the_whole_action_range_and_then_ends",
    ),
    Fault(
        _SENSES,
        "np.logical_not(buffers.ended, out",
        "np.logical_not(buffers.finished, out",
        "no half-step after a lost life",
        f"{_LIVES}::test_a_chunk_has_a_half_step_after_a_lost_life_and_the_episode_that_is_logged_is_the_game",
    ),
    Fault(
        _EXPLORER,
        "np.flatnonzero(buffers.finished)",
        "np.flatnonzero(buffers.ended)",
        "lives counted as episodes",
        f"{_LIVES}::test_a_chunk_has_a_half_step_after_a_lost_life_and_the_episode_that_is_logged_is_the_game",
    ),
    Fault(
        _EXPLORER,
        '        set_generator_state(self._generator, state["generator"])\n',
        "",
        "the generator of a warm start not restored",
        f"{_EXPLORER_TESTS}::test_a_restored_explorer_goes_on_exactly_in_the_middle_of_an_episode",
    ),
    Fault(
        _SENSES,
        'wrapper.load_state_dict(state["wrappers"][str(index)])',
        'wrapper.load_statistics(state["wrappers"][str(index)])',
        "returns of reward normalisers not restored",
        f"{_EXPLORER_TESTS}::test_a_restored_explorer_goes_on_exactly_in_the_middle_of_an_episode",
    ),
    Fault(
        _EXPLORER,
        "self.envs.reseed(self.seed, self.mode, *purpose)",
        "self.envs.reseed(self.seed, self.mode)",
        "each test under the same seeds",
        f"{_EXPLORER_TESTS}::test_reseeding_repeats_the_same_episodes",
    ),
    Fault(
        _EXPLORER,
        "self.envs.reseed(self.seed, self.mode, *purpose)",
        "self.envs.reseed(self.seed, *purpose)",
        "tests and films under the same seeds",
        f"{_EXPLORER_TESTS}::test_reseeding_repeats_the_same_episodes",
    ),
    Fault(
        _SENSES,
        "row[self._masks_key] = self.masks[part, None]",
        "row[self._masks_key] = np.ones_like(self.masks[part, None])",
        "half-steps taken for transitions",
        f"{_EXPLORER_TESTS}::test_every_row_holds_the_true_successor_of_the_row_before",
    ),
    Fault(
        _BUFFERS,
        "is_stale = ~(moved | self._present)",
        "is_stale = ~moved",
        "first observations of players not normalised by",
        f"{_MULTI_AGENT}::test_normalisers_learn_from_each_observation_once_and_for_each_agent_by_itself",
    ),
    Fault(
        _BUFFERS,
        "np.logical_not(self._present, out",
        "np.logical_not(moved, out",
        "returns of players not forgotten at their end",
        f"{_MULTI_AGENT}::test_a_reward_normaliser_forgets_the_return_of_a_player_that_has_left",
    ),
    Fault(
        _SENSES,
        'self.masks = np.array(state["masks"])',
        "self.masks = np.ones_like(self.masks)",
        "players that have left are back after a resume",
        f"{_MULTI_AGENT}::test_a_restored_explorer_goes_on_exactly_in_the_middle_of_an_episode",
    ),
    Fault(
        _GAMES,
        "arrays.returns[index] += reward",
        "arrays.returns[index] = reward",
        "a player's last reward taken for its return",
        f"{_MULTI_AGENT}::test_players_that_leave_early_have_half_steps_until_the_episode_is_over_for_all",
    ),
    Fault(
        _GAMES,
        "has_truncated |= not has_terminated",
        "has_truncated |= was_cut",
        "a time limit taken for a terminal state of the game",
        f"{_MULTI_AGENT}::test_a_game_is_truncated_if_somebody_could_have_gone_on_at_its_end",
    ),
    Fault(
        _GAMES,
        "self._steps >= self.max_episode_steps",
        "self._steps > self.max_episode_steps",
        "a time limit of a game one step late",
        f"{_MULTI_AGENT}::test_a_time_limit_truncates_whoever_is_there",
    ),
    Fault(
        _GAMES,
        "= reward, has_terminated, stays",
        "= reward, has_terminated or was_cut, stays",
        "a player's truncation taken for a termination",
        f"{_MULTI_AGENT}::test_players_that_leave_early_have_half_steps_until_the_episode_is_over_for_all",
    ),
    Fault(
        _GAMES,
        "arrays.clear()",
        "arrays.masks[...] = False",
        "players' returns run on over episodes",
        f"{_MULTI_AGENT}::test_returns_of_players_begin_at_nothing_in_each_episode",
    ),
    Fault(
        _GAMES,
        "np.ones(size, np.bool_) if np.shape(m) != (size,) else np.asarray(m) != 0 for m",
        "np.ones(size, np.bool_) for m",
        "random players ignore their masks",
        f"{_PLAY}::test_random_players_keep_to_their_masks_wherever_they_are_and_pettingzoo_is_asked_where_it_can_be",
    ),
    Fault(
        _WORKER,
        "len(self.actions) >= self.steps_per_seed",
        "len(self.actions) > self.steps_per_seed",
        "a seed one step late",
        f"{_ATARI_TESTS}::test_a_seed_serves_episodes_until_so_many_steps_were_taken",
    ),
    Fault(
        _WORKER,
        "reward if self._raw is None else self._raw.take()",
        "reward",
        "returns of wrapped rewards logged",
        f"{_WRAPPERS}::test_returns_that_are_logged_are_those_below_the_wrappers",
    ),
    Fault(
        _WORKER,
        "self.is_ended and LIFE_LOST not in self.info",
        "self.is_ended",
        "returns of single lives logged",
        f"{_LIVES}::test_a_chunk_has_a_half_step_after_a_lost_life_and_the_episode_that_is_logged_is_the_game",
    ),
    Fault(
        _WORKER,
        "action if isinstance(action, int) else action.copy()",
        "action",
        "what an environment writes into an action is re-lived",
        f"{_EXPLORER_TESTS}::test_a_restored_explorer_goes_on_exactly_in_the_middle_of_an_episode",
    ),
    Fault(
        _WORKER,
        '"resets": list(self.resets)',
        '"resets": []',
        "resets since the seed forgotten",
        f"{_ATARI_TESTS}::test_several_episodes_of_one_seed_are_lived_again_exactly",
    ),
    Fault(
        _WORKER,
        '        set_generator_state(self.generator, state["generator"])\n',
        "",
        "the generator of seeds not restored",
        f"{_EXPLORER_TESTS}::test_a_restored_explorer_goes_on_exactly_in_the_middle_of_an_episode",
    ),
    Fault(
        _WORKER,
        '"environment", *purpose, self.rank)',
        '"environment", *purpose)',
        "all workers live the same",
        f"{_EXPLORER_TESTS}::test_workers_and_modes_have_different_seeds",
    ),
    Fault(
        _GROUP,
        "= reward, terminated, worker.is_ended",
        "= reward, worker.is_ended, worker.is_ended",
        "a truncation taken for a termination",
        f"{_EXPLORER_TESTS}::test_a_time_limit_ends_the_episode_without_a_termination",
    ),
    Fault(
        _GROUP,
        "            if any(\n",
        "            if all(\n",
        "a re-lived episode that strayed in one observation of several not noticed",
        f"{_EXPLORER_TESTS}::test_an_environment_that_strays_in_one_of_its_observations_is_found_out",
    ),
    Fault(
        "digideep/environment/making/wrappers.py",
        "taken, self._sum = self._sum, 0.0",
        "taken = self._sum",
        "raw rewards counted again at each step",
        f"{_WRAPPERS}::test_returns_that_are_logged_are_those_below_the_wrappers",
    ),
    Fault(
        "digideep/environment/infos.py",
        "        array[index] = 0\n",
        "        pass\n",
        "an info that is missing keeps its old value",
        f"{_SPACES}::test_infos_stand_beside_the_observation_that_they_came_with",
    ),
    Fault(
        "digideep/environment/spaces.py",
        "np.where(np.isfinite(space.low), uniform, normal)",
        "uniform",
        "random actions without bounds kept to [-1, 1]",
        f"{_SPACES}::test_random_actions_are_uniform_between_bounds_and_normal_without",
    ),
    Fault(
        "digideep/environment/spaces.py",
        "np.where(allowed, generator.random(allowed.shape), -1.0)",
        "np.where(allowed, generator.random(allowed.shape[1]), -1.0)",
        "all workers prefer the same random action",
        f"{_SPACES}::test_random_actions_are_uniform_among_the_allowed_ones",
    ),
    Fault(
        "digideep/environment/scaling.py",
        "xp.minimum(xp.maximum(self._cast(actions, self._dtype), self._lowest), self._highest)",
        "xp.maximum(self._cast(actions, self._dtype), self._lowest)",
        "actions not clipped above",
        _SCALING,
    ),
    Fault(
        "digideep/environment/contract.py",
        "distances - self._low > self._width",
        "distances - self._low >= self._width",
        "the greatest number of a range refused",
        f"{_CONTRACT}::test_the_first_row_out_of_range_is_found",
    ),
    Fault(
        _BUFFERS,
        "[:, : old.shape[1]] = old",
        "[:, -old.shape[1] :] = old",
        "a chunk that grows moves its rows",
        f"{_EXPLORER_TESTS}::test_a_chunk_of_whole_episodes_grows_as_long_as_they_are",
    ),
    Fault(
        "digideep/environment/stepping/processes.py",
        "_step_s(spec, info) * num_workers >= _LEAST_S",
        "_step_s(spec, info) >= _LEAST_S",
        "one worker's step taken for that of all",
        f"{_PROCESSES}::test_expensive_environments_are_worth_a_process_per_core_and_cheap_ones_none",
    ),
    Fault(
        "digideep/environment/making/dm_control.py",
        "return self._last, 0.0, True, False, {}",
        "return self._last, 0.0, False, True, {}",
        "a simulation that diverges bootstraps",
        f"{_FAMILIES}::test_a_simulation_that_diverges_ends_its_episode_with_its_last_sound_observation",
    ),
    Fault(
        "digideep/environment/making/film.py",
        "array * np.uint8(255)",
        "array * np.uint8(1)",
        "black films of booleans",
        f"{_FILM}::test_a_film_becomes_as_light_as_its_pictures_whatever_form_they_have",
    ),
    Fault(
        "digideep/environment/play.py",
        "seed=args.seed + run",
        "seed=args.seed",
        "each run the same",
        f"{_PLAY}::test_each_run_has_a_seed_of_its_own",
    ),
    Fault(
        "digideep/environment/tools/check.py",
        "for times in (1, 2):",
        "for times in (1, 1):",
        "what an environment keeps from its last episode not noticed",
        f"{_PLAY}::test_a_run_says_at_its_start_whether_its_environment_repeats_itself",
    ),
    Fault(
        "digideep/environment/tools/recording.py",
        "None if len(self.rewards) == len(other.rewards) else",
        "None if True else",
        "a longer episode taken for the same",
        f"{_PLAY}::test_recordings_that_part_say_where",
    ),
    Fault(
        "digideep/environment/making/players.py",
        "[pattern] if pattern in names else",
        "[] if not names else",
        "a name with signs of a pattern taken for one",
        f"{_MULTI_AGENT}::test_players_whose_names_are_no_plain_words_are_named_too",
    ),
    *faults_in(
        "digideep/environment/episode_infos.py",
        _EPISODE_INFOS,
        ('number if way == "last" else', "number if False else", "last values summed up"),
        ('if way == "mean" and count else', "if False else", "means that are sums"),
        ("not count else figure", "False else figure", "zero logged of what is not there"),
        ("value / count", "value / len(self._counts)", "means over something else than the steps that have the key"),
        ('_SUCCESS = ("is_success", "success")', '_SUCCESS = ("success", "is_success")', "success before is_success"),
        ("if info.get(key) is not None)", "if key in info)", "a success of None taken for one"),
        ("np.isnan(column).all()", "np.isnan(column).any()", "a key that one of the players lacks taken for a typo"),
        ("                self._complaints[complaint] = True\n", "", "a warning with every episode"),
    ),
    *faults_in(
        _WORKER,
        _EPISODE_INFOS,
        ("            tally.begin()\n", "            pass\n", "sums that go on from one episode to the next"),
        ("        if goes_on:  # after", "        if False:  # after", "the step within a reset not counted"),
        ("self._game.last_infos.get(name, {})", "self._game._info_of(name)", "success of players that have left lost"),
    ),
    *faults_in(
        _GAMES,
        _EPISODE_INFOS,
        ("if is_there and isinstance", "if isinstance", "infos of players that have left counted"),
    ),
    *faults_in(
        _WORKER,
        _CURRICULUM,
        ('"told": list(self.told)', '"told": []', "what an episode was told forgotten"),
        ("return self.reset(progress)", "return self.reset()", "the episode after another one told nothing"),
    ),
    *faults_in(
        _EXPLORER,
        _CURRICULUM,
        ("                self._tell_progress()\n                for", "                for", "a step ahead told late"),
        ('self.mode == "train" and self.planned', "self.planned", "tests told of the training"),
        ("self.frames / self.planned_frames, 1.0)", "self.frames / self.planned_frames, 2.0)", "progress beyond 1"),
    ),
)
