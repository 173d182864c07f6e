"""Deliberate faults in `digideep/pipeline`."""

from tests.faults.runner import Fault

_RUNNER = "digideep/pipeline/runner.py"
_PROGRESS = "digideep/pipeline/progress.py"
_EVALUATION = "digideep/pipeline/evaluation.py"
_CHECKPOINT = "digideep/pipeline/checkpoint.py"
_LIMITS = "digideep/pipeline/limits.py"
_CONTENT = "digideep/pipeline/checkpoint_content.py"
_SEGMENTS = "digideep/pipeline/segments.py"
_SESSION = "digideep/pipeline/session.py"
_STORE = "digideep/pipeline/checkpoint_store.py"
_LOGBOOK = "digideep/telemetry/logbook.py"
_CONTINUING = "digideep/pipeline/continuing.py"
_REPEALS = "digideep/pipeline/repeals.py"
_VERIFY = "digideep/pipeline/verify.py"
_SIGNALS = "digideep/pipeline/stop_signals.py"
_DISPLAY = "digideep/telemetry/console.py"

_BESIDE_THE_LOOP = "tests/pipeline/test_beside_the_loop.py"
_FIGURES = "tests/pipeline/test_figures.py"
_CONTINUING_TESTS = "tests/pipeline/test_continuing.py"
_HOOKS = "tests/pipeline/test_hooks.py"
_ENDINGS = "tests/pipeline/test_endings.py"
_POST_LOADER = "tests/post/test_loader.py"
_CHECKPOINT_TESTS = "tests/pipeline/test_checkpoint.py"
_DISK = "tests/pipeline/test_disk.py"
_BROKEN_CHECKPOINTS = "tests/pipeline/test_broken_checkpoints.py"
_REPLAY_RESUME = "tests/pipeline/test_replay_resume.py"
_SESSION_TESTS = "tests/pipeline/test_session.py"
_POST_COMPARISON = "tests/post/test_comparison.py"
_COMPARING_CHECKPOINTS = "tests/pipeline/test_comparing_checkpoints.py"
_DISPLAY_TESTS = "tests/telemetry/test_console.py"

FAULTS: tuple[Fault, ...] = (
    Fault(
        _RUNNER,
        'explorer.load_statistics(self.explorer["train"].statistics())',
        "explorer.load_statistics(explorer.statistics())",
        "tests without the statistics of train's normalisers",
        f"{_BESIDE_THE_LOOP}::test_tests_and_films_see_what_the_normalisers_of_train_have_learned_by_then",
    ),
    Fault(
        _PROGRESS,
        "self.test_return > self.best_return",
        "self.test_return < self.best_return",
        "the worst policy kept as the best",
        f"{_BESIDE_THE_LOOP}::test_the_best_policy_is_that_of_the_best_test",
    ),
    Fault(
        _PROGRESS,
        'state["best_return"] if is_finite(state["best_return"]) else None',
        "None",
        "the best return not restored",
        f"{_BESIDE_THE_LOOP}::test_a_best_return_of_before_a_resume_is_still_to_be_beaten",
    ),
    Fault(
        _RUNNER,
        "explorer.reseed(self.i_epoch)",
        "explorer.reseed(0)",
        "all tests under the same seeds",
        f"{_BESIDE_THE_LOOP}::test_each_test_is_under_seeds_of_its_own_epoch",
    ),
    Fault(
        _RUNNER,
        "(epoch % self.test_int == 0",
        "(self.i_epoch % self.test_int == 0",
        "tests an epoch late",
        f"{_FIGURES}::test_the_first_and_the_last_epoch_are_tested_and_so_there_is_a_best_policy",
    ),
    Fault(
        _RUNNER,
        "or epoch in (1, self.n_epochs))",
        "or epoch == 1)",
        "the last epoch not tested",
        f"{_FIGURES}::test_the_first_and_the_last_epoch_are_tested_and_so_there_is_a_best_policy",
    ),
    Fault(
        _RUNNER,
        "% self.save_int == 0 or self.is_finished",
        "% self.save_int == 0",
        "the last epoch not saved",
        f"{_BESIDE_THE_LOOP}::test_every_so_many_epochs_are_saved_and_the_last_one",
    ),
    Fault(
        _PROGRESS,
        '        self.recent_returns.extend(filter(math.isfinite, state["recent_returns"]))\n',
        "",
        "recent returns not restored",
        f"{_FIGURES}::test_a_resumed_log_is_the_straight_one",
    ),
    Fault(
        _LIMITS,
        "progress.tests_since_best >= self.patience",
        "progress.tests_since_best > self.patience",
        "patience a test longer",
        "tests/pipeline/test_limits.py::test_patience_finishes_a_run_whose_tests_do_not_get_better",
    ),
    Fault(
        _PROGRESS,
        'int(state["tests_since_best"])',
        "0",
        "patience begun anew by a resume",
        "tests/pipeline/test_limits.py::test_patience_counts_on_over_a_resume",
    ),
    Fault(
        _LIMITS,
        "self.max_time * 3600",
        "self.max_time * 60",
        "hours taken for minutes",
        f"{_BESIDE_THE_LOOP}::test_a_process_stops_after_its_hours_and_whole_episodes_are_cut_off_then",
    ),
    Fault(
        _RUNNER,
        "self.limits.why_stop(first, self.i_epoch, self.session)",
        "self.limits.why_stop(0, self.i_epoch, self.session)",
        "the epochs of a process counted from the start of the run",
        f"{_CONTINUING_TESTS}::test_an_unfinished_run_may_keep_its_values",
    ),
    Fault(
        _RUNNER,
        '        self.monitor.load_state_dict(state["monitor"])\n',
        "",
        "open statistics not restored",
        f"{_FIGURES}::test_a_resumed_log_is_the_straight_one",
    ),
    Fault(
        _RUNNER,
        '            set_globals_state(state["globals"])',
        "            pass",
        "global generators not restored",
        f"{_HOOKS}::test_networks_of_torchs_own_initialisation_repeat_and_resume",
    ),
    Fault(
        _RUNNER,
        "            self.save(before)\n",
        "            self.save()\n",
        "the state amid a test that was cut off saved",
        f"{_ENDINGS}::test_a_test_that_is_cut_off_begins_anew_and_the_run_ends_bit_identical",
    ),
    Fault(
        _PROGRESS,
        "self._is_tested = fmean(",
        "self._is_tested = max(",
        "the best episode of a test taken for all",
        f"{_BESIDE_THE_LOOP}::test_the_best_policy_is_that_of_the_best_test",
    ),
    Fault(
        _PROGRESS,
        "_RECENT_EPISODES = 100",
        "_RECENT_EPISODES = 10",
        "recent returns of ten episodes",
        f"{_FIGURES}::test_recent_returns_are_those_of_the_last_hundred_episodes",
    ),
    Fault(
        _EVALUATION,
        '_load_statistics(explorer, session.state["statistics"])',
        "explorer.statistics()",
        "played without the statistics of the checkpoint's normalisers",
        f"{_POST_LOADER}::test_the_policy_earns_exactly_what_play_earns",
    ),
    Fault(
        _EVALUATION,
        "            explorer.load_statistics(statistics)\n            with",
        "            explorer.statistics()\n            with",
        "filmed without the statistics of train's normalisers",
        f"{_BESIDE_THE_LOOP}::test_tests_and_films_see_what_the_normalisers_of_train_have_learned_by_then",
    ),
    Fault(
        _EVALUATION,
        "explorer.reseed(epoch)",
        "explorer.reset()",
        "each film under the same seed",
        f"{_BESIDE_THE_LOOP}::test_tests_and_films_see_what_the_normalisers_of_train_have_learned_by_then",
    ),
    Fault(
        _EVALUATION,
        "(episode.player_returns or {})[name] for episode in episodes",
        "(episode.player_returns or {})[name] for episode in episodes[:1]",
        "players' means over the first episode",
        f"{_BESIDE_THE_LOOP}::test_an_evaluation_is_summed_up_over_all_its_episodes",
    ),
    Fault(
        _EVALUATION,
        "pstdev(returns)",
        "pstdev(returns) ** 2",
        "the variance in the place of the spread",
        f"{_BESIDE_THE_LOOP}::test_an_evaluation_is_summed_up_over_all_its_episodes",
    ),
    Fault(
        _EVALUATION,
        "_QUANTILES = (0.05, 0.25, 0.5, 0.75, 0.95)",
        "_QUANTILES = (0.05, 0.25, 0.5, 0.75, 0.9)",
        "another quantile",
        f"{_BESIDE_THE_LOOP}::test_an_evaluation_is_summed_up_over_all_its_episodes",
    ),
    Fault(
        _CHECKPOINT,
        'if hashlib.sha256(data).hexdigest() != expected["sha256"]',
        'if len(data) != expected["size"]',
        "hashes of files not compared",
        f"{_CHECKPOINT_TESTS}::test_what_could_be_read_is_found_by_its_hash",
    ),
    Fault(
        "digideep/pipeline/checkpoint_files.py",
        "            os.fsync(file.fileno())\n",
        "",
        "files not synced",
        f"{_DISK}::test_a_checkpoint_is_on_the_disk_before_it_has_its_name_and_the_old_one_is_there_until_then",
    ),
    Fault(
        _CHECKPOINT,
        "    sync_directory(aside)\n",
        "",
        "names of files not synced before the rename",
        f"{_DISK}::test_a_checkpoint_is_on_the_disk_before_it_has_its_name_and_the_old_one_is_there_until_then",
    ),
    Fault(
        _CHECKPOINT,
        "    sync_directory(directory)\n",
        "",
        "the rename not synced",
        f"{_DISK}::test_a_checkpoint_is_on_the_disk_before_it_has_its_name_and_the_old_one_is_there_until_then",
    ),
    Fault(
        _CHECKPOINT,
        "for path in reversed(candidates)",
        "for path in candidates",
        "the oldest checkpoint resumed",
        f"{_CHECKPOINT_TESTS}::test_a_broken_checkpoint_gives_way_to_the_one_before_with_a_warning",
    ),
    Fault(
        _CHECKPOINT,
        "key=lambda path: checkpoint_order(path) or (0, 0)",
        "key=lambda path: path.name",
        "checkpoints ordered by letters",
        f"{_CHECKPOINT_TESTS}::test_names_are_ordered_by_epoch_and_cycle",
    ),
    Fault(
        _CHECKPOINT,
        "        old_best.rename(best)  #",
        "        remove(old_best)  #",
        "the best policy lost by a kill between two renames",
        f"{_BROKEN_CHECKPOINTS}::test_what_a_killed_process_left_behind_is_swept",
    ),
    Fault(
        _CHECKPOINT,
        "    remove(old)\n    if target.is_symlink()",
        "    remove(target)\n    if target.is_symlink()",
        "the old checkpoint deleted before the new one is in its place",
        f"{_DISK}::test_a_checkpoint_is_on_the_disk_before_it_has_its_name_and_the_old_one_is_there_until_then",
    ),
    Fault(
        _CONTENT,
        '(runner["i_epoch"], runner["i_cycle"]) != order',
        'runner["i_epoch"] < 0',
        "a renamed checkpoint taken for another epoch",
        f"{_BROKEN_CHECKPOINTS}::test_right_hashes_over_wrong_contents_give_way_to_the_checkpoint_before",
    ),
    Fault(
        _SEGMENTS,
        "if hashlib.sha256(data).hexdigest() != segment.sha256",
        "if len(data) != segment.size",
        "hashes of segments not compared",
        f"{_REPLAY_RESUME}::test_a_broken_segment_makes_its_checkpoints_invalid_and_an_older_one_takes_over",
    ),
    Fault(
        _SEGMENTS,
        "            os.fsync(file.fileno())\n",
        "",
        "segments not synced",
        f"{_DISK}::test_a_segment_is_on_the_disk_before_it_has_its_name",
    ),
    Fault(
        _SEGMENTS,
        "            sync_directory(self.directory)\n",
        "",
        "the names of segments not synced",
        f"{_DISK}::test_a_segment_is_on_the_disk_before_it_has_its_name",
    ),
    Fault(
        _SEGMENTS,
        "self.segments[0].end <= oldest",
        "self.segments[0].first <= oldest",
        "segments that are needed deleted",
        f"{_REPLAY_RESUME}::test_segments_of_forgotten_chunks_go_with_the_last_checkpoint_that_needs_them",
    ),
    Fault(
        _SEGMENTS,
        "self.segments[0].end <= oldest",
        "self.segments[0].end < oldest",
        "segments that nobody needs kept",
        f"{_REPLAY_RESUME}::test_a_save_costs_the_same_however_often_the_memory_was_saved",
    ),
    Fault(
        _SEGMENTS,
        "is_known &= found is not None",
        "is_known &= True",
        "segments deleted though it is not known who needs them",
        f"{_REPLAY_RESUME}::test_a_segment_is_deleted_when_it_is_known_that_nobody_needs_it",
    ),
    Fault(
        _SEGMENTS,
        "            if segment.name not in self._pinned:\n                remove",
        "            if True:\n                remove",
        "segments of checkpoints that were set aside deleted",
        f"{_REPLAY_RESUME}::test_a_segment_is_deleted_when_it_is_known_that_nobody_needs_it",
    ),
    Fault(
        _CHECKPOINT,
        "list(kept)[:-keep]",
        "list(kept)[: -keep - 1]",
        "a checkpoint too many kept",
        f"{_SESSION_TESTS}::test_old_checkpoints_are_deleted_and_the_run_is_marked_as_done",
    ),
    Fault(
        _STORE,
        "oldest = next(iter(self._kept.values()))",
        "oldest = list(self._kept.values())[-1]",
        "segments that older checkpoints need deleted",
        f"{_REPLAY_RESUME}::test_segments_of_forgotten_chunks_go_with_the_last_checkpoint_that_needs_them",
    ),
    Fault(
        _SESSION,
        "return self._elapsed_before_s + self.process_s",
        "return self.process_s",
        "the time before a resume forgotten",
        f"{_BESIDE_THE_LOOP}::test_the_seconds_of_all_processes_of_a_run_add_up",
    ),
    Fault(
        _SESSION,
        "self.signals.limit(max_time_h * 3600 - self.process_s)",
        "self.signals.limit(max_time_h * 3600)",
        "the time before the run not counted",
        f"{_BESIDE_THE_LOOP}::test_a_process_stops_after_its_hours_and_whole_episodes_are_cut_off_then",
    ),
    Fault(
        _LOGBOOK,
        "os.truncate(file, size)",
        "pass",
        "logs of a discarded future kept",
        f"{_BESIDE_THE_LOOP}::test_what_was_logged_after_the_checkpoint_that_is_resumed_is_taken_back",
    ),
    Fault(
        _LOGBOOK,
        "                file.unlink()\n",
        "                continue\n",
        "files begun in a discarded future kept",
        f"{_BESIDE_THE_LOOP}::test_what_was_logged_after_the_checkpoint_that_is_resumed_is_taken_back",
    ),
    Fault(
        _LOGBOOK,
        '"monitor/*.csv", ',
        "",
        "episodes of a discarded future kept",
        f"{_BESIDE_THE_LOOP}::test_what_was_logged_after_the_checkpoint_that_is_resumed_is_taken_back",
    ),
    Fault(
        _LOGBOOK,
        '{"t_start": time.time() - elapsed_s,',
        '{"t_start": time.time(),',
        "the first episode taken for the start of the run",
        f"{_BESIDE_THE_LOOP}::test_the_start_of_a_run_is_that_of_its_first_process",
    ),
    Fault(
        _CONTINUING,
        "course.planned * before // now",
        "course.planned",
        "values kept as the new plan has them",
        f"{_CONTINUING_TESTS}::test_an_unfinished_run_may_keep_its_values",
    ),
    Fault(
        _CONTINUING,
        'r"/runner/n_cycles"\n    r"|/env',
        'r"/env',
        "the length of an epoch changed amid a run",
        f"{_CONTINUING_TESTS}::test_what_the_state_depends_on_cannot_change_in_place",
    ),
    Fault(
        _CONTINUING,
        '        explorer.load_statistics(state["statistics"])\n',
        "",
        "normalisers left behind by weights that are taken over",
        f"{_CONTINUING_TESTS}::test_normalisers_and_the_entropy_coefficient_come_along",
    ),
    Fault(
        _CONTINUING,
        'cycles = runner["n_epochs"] * runner["n_cycles"]',
        'cycles = runner["n_epochs"]',
        "a plan in epochs instead of cycles",
        f"{_CONTINUING_TESTS}::test_an_unfinished_run_may_keep_its_values",
    ),
    Fault(
        _REPEALS,
        'note["epoch"] < epoch or',
        'note["epoch"] <= epoch or',
        "a change that was never trained with stays in force",
        f"{_FIGURES}::test_changes_that_a_resume_takes_back_are_not_in_force",
    ),
    Fault(
        _REPEALS,
        'earlier for earlier in notes if earlier["epoch"] <= note["epoch"]',
        "earlier for earlier in notes",
        "a change that a resume took back is in force",
        f"{_POST_COMPARISON}::test_a_change_that_a_resume_took_back_is_not_in_force",
    ),
    Fault(
        _VERIFY,
        "_bytes(first) == _bytes(second)",
        "bool((first == second).all())",
        "numbers compared instead of bits",
        f"{_COMPARING_CHECKPOINTS}::test_values_are_compared_bit_by_bit_also_those_that_one_side_lacks",
    ),
    Fault(
        _VERIFY,
        "sorted(ours.keys() | theirs.keys())",
        "sorted(ours.keys() & theirs.keys())",
        "what is in one checkpoint only not compared",
        f"{_COMPARING_CHECKPOINTS}::test_values_are_compared_bit_by_bit_also_those_that_one_side_lacks",
    ),
    Fault(
        _VERIFY,
        'held["buffer"] = memory.buffer',
        "pass",
        "the content of memories not compared",
        f"{_COMPARING_CHECKPOINTS}::test_the_content_of_memories_is_compared",
    ),
    Fault(
        _SIGNALS,
        "self.reason is not None or time.monotonic() >= self._deadline",
        "self.reason is not None and time.monotonic() >= self._deadline",
        "nothing cut off by a signal alone",
        f"{_ENDINGS}::test_whole_episodes_are_cut_off_when_the_time_is_over",
    ),
    Fault(
        _DISPLAY,
        'data["num"] > 1 and data["min"] == data["max"]',
        'data["num"] > 1',
        "all that is updated several times an epoch left out of the losses",
        f"{_DISPLAY_TESTS}::test_lines_and_panel_fit_and_break_between_figures",
    ),
    Fault(
        _DISPLAY,
        'part.replace(" ", "\\xa0") for part in parts',
        "part for part in parts",
        "figures broken across lines",
        f"{_DISPLAY_TESTS}::test_lines_and_panel_fit_and_break_between_figures",
    ),
    Fault(
        _DISPLAY,
        "(frames - self._first) / max(now",
        "frames / max(now",
        "frames before a resume counted into the average speed",
        f"{_DISPLAY_TESTS}::test_speeds_are_those_of_the_epoch_and_the_time_left_goes_by_the_average_of_this_process",
    ),
    Fault(
        _DISPLAY,
        "        self._epoch_began = now, frames\n        return self.speed",
        "        return self.speed",
        "the speed of an epoch measured from the start",
        f"{_DISPLAY_TESTS}::test_speeds_are_those_of_the_epoch_and_the_time_left_goes_by_the_average_of_this_process",
    ),
    Fault(
        _DISPLAY,
        "duration((self._total - frames) / max(average, 1e-9))",
        "duration(frames / max(average, 1e-9))",
        "the time so far shown as the time left",
        f"{_DISPLAY_TESTS}::test_speeds_are_those_of_the_epoch_and_the_time_left_goes_by_the_average_of_this_process",
    ),
)
