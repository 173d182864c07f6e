"""Deliberate faults in `digideep/post`."""

from tests.faults.runner import Fault

_COMPARISON = "digideep/post/comparison.py"
_DRAWING = "digideep/post/drawing.py"
_POLICY = "digideep/post/policy.py"
_CHECK = "digideep/post/export_check.py"
_EXPORTED = "digideep/post/exported_policy.py"

_COMPARISON_TESTS = "tests/post/test_comparison.py"
_REPORTS = "tests/post/test_reports.py"
_LOADER = "tests/post/test_loader.py"
_EXPORT = "tests/post/test_export.py"
_POLICY_TESTS = "tests/post/test_policy.py"

FAULTS: tuple[Fault, ...] = (
    Fault(
        _COMPARISON,
        "metrics.aggregate_iqm(scores)",
        "metrics.aggregate_mean(scores)",
        "the mean in the place of the interquartile mean",
        f"{_COMPARISON_TESTS}::test_a_score_is_the_mean_of_the_middle_half_of_the_runs",
    ),
    Fault(
        _COMPARISON,
        "np.median(scores)",
        "metrics.aggregate_median(scores)",
        "the mean in the place of the median",
        f"{_COMPARISON_TESTS}::test_a_score_is_the_mean_of_the_middle_half_of_the_runs",
    ),
    Fault(
        _COMPARISON,
        "np.array(values)[:, None]",
        "np.array(values)[None, :]",
        "runs taken for tasks",
        f"{_COMPARISON_TESTS}::test_a_score_is_the_mean_of_the_middle_half_of_the_runs",
    ),
    Fault(
        _COMPARISON,
        "(1 - _LAST) * end",
        "_LAST * end",
        "a score over nearly the whole training",
        f"{_COMPARISON_TESTS}::test_a_run_without_tests_is_judged_by_the_episodes_of_the_last_tenth_of_its_frames",
    ),
    Fault(
        _COMPARISON,
        'float(entry["sum"][is_late].sum() / entry["num"][is_late].sum())',
        'float((entry["sum"][is_late] / entry["num"][is_late]).mean())',
        "epochs weighted alike, not episodes",
        f"{_COMPARISON_TESTS}::test_a_run_without_tests_is_judged_by_the_episodes_of_the_last_tenth_of_its_frames",
    ),
    Fault(
        _COMPARISON,
        '"test" if all(measure_of',
        '"test" if any(measure_of',
        "runs without tests left out of a score",
        f"{_COMPARISON_TESTS}::test_where_one_run_was_never_tested_all_are_judged_by_training_episodes",
    ),
    Fault(
        _COMPARISON,
        "counted = [max(same",
        "counted = [min(same",
        "of a seed that comes twice the shorter run counts",
        f"{_COMPARISON_TESTS}::test_of_two_runs_of_one_seed_the_one_that_got_further_counts",
    ),
    Fault(
        _COMPARISON,
        'if note["epoch"] > 0',
        'if note["epoch"] >= 0',
        "changes of the first start told as later ones",
        f"{_COMPARISON_TESTS}::test_what_changes_no_number_makes_no_other_group_and_all_else_does",
    ),
    Fault(
        _COMPARISON,
        '"save_int", "keep_checkpoints",',
        '"keep_checkpoints",',
        "runs that are saved less often taken for others",
        f"{_COMPARISON_TESTS}::test_what_changes_no_number_makes_no_other_group_and_all_else_does",
    ),
    Fault(
        _DRAWING,
        "starts = np.maximum(ends - window, 0)",
        "starts = np.maximum(ends - window - 1, 0)",
        "a window one point too long",
        f"{_REPORTS}::test_a_moving_average_is_not_pulled_down_at_its_start",
    ),
    Fault(
        _DRAWING,
        "/ (ends - starts)",
        "/ window",
        "a moving average pulled down at its start",
        f"{_REPORTS}::test_a_moving_average_is_not_pulled_down_at_its_start",
    ),
    Fault(
        _DRAWING,
        "max(x[0] for x, _ in series), min(x[-1] for x, _ in series)",
        "min(x[0] for x, _ in series), max(x[-1] for x, _ in series)",
        "runs drawn where they have not been",
        f"{_REPORTS}::test_runs_that_logged_at_other_frames_are_joined_by_frame",
    ),
    Fault(
        _DRAWING,
        "np.interp(places, x, smooth(y, window))",
        "smooth(np.interp(places, x, y), window)",
        "a run smoothed over the points of the others",
        f"{_COMPARISON_TESTS}::test_each_run_is_smoothed_over_its_own_points",
    ),
    Fault(
        _DRAWING,
        "(x - x[0]) / 60 if",
        "(x - x[0]) if",
        "seconds called minutes",
        f"{_COMPARISON_TESTS}::test_a_clock_is_drawn_in_minutes_since_its_first_line",
    ),
    Fault(
        _DRAWING,
        "rows.mean(0), rows.min(0), rows.max(0)",
        "rows.mean(0), rows.min(0), rows.mean(0) + rows.std(0)",
        "a band of the spread called the greatest",
        f"{_COMPARISON_TESTS}::test_a_band_reaches_from_the_least_to_the_greatest_run",
    ),
    Fault(
        "digideep/post/sessions.py",
        "float(np.max(returns))",
        "float(returns[-1])",
        "the last return listed as the best",
        f"{_COMPARISON_TESTS}::test_lists_and_reports_tell_the_best_test_and_the_last_sign_of_life",
    ),
    Fault(
        "digideep/post/sessions.py",
        "changed = max(",
        "changed = min(",
        "the age of a session since its start",
        f"{_COMPARISON_TESTS}::test_lists_and_reports_tell_the_best_test_and_the_last_sign_of_life",
    ),
    Fault(
        "digideep/post/report.py",
        "float(np.max(tests))",
        "float(tests[-1])",
        "the last test reported as the best",
        f"{_COMPARISON_TESTS}::test_lists_and_reports_tell_the_best_test_and_the_last_sign_of_life",
    ),
    Fault(
        "digideep/post/report.py",
        "max(filter(_is_file, filmed), default=None)",
        "min(filter(_is_file, filmed), default=None)",
        "the oldest film shown",
        f"{_COMPARISON_TESTS}::test_the_newest_film_is_shown",
    ),
    Fault(
        "digideep/post/report_plots.py",
        '"/return/test", 1, {"marker"',
        '"/return/test", window, {"marker"',
        "returns of tests smoothed",
        f"{_COMPARISON_TESTS}::test_returns_of_tests_are_not_smoothed_and_those_of_training_are",
    ),
    Fault(
        "digideep/post/plotter.py",
        'window = 1 if "test" in keyy.split("/") else WINDOW',
        "window = WINDOW",
        "returns of tests smoothed",
        f"{_COMPARISON_TESTS}::test_returns_of_tests_are_not_smoothed_and_those_of_training_are",
    ),
    Fault(
        "digideep/post/plotter.py",
        'options["collapse_threshold"] * total',
        'options["collapse_threshold"] * size',
        "blocks measured by the block around them instead of by all",
        f"{_COMPARISON_TESTS}::test_blocks_are_left_out_by_their_share_of_all_that_is_drawn",
    ),
    Fault(
        "digideep/post/log.py",
        'entry["sum"] / entry["num"]',
        'entry["sum"] / entry["num"].max()',
        "means over the longest line's number",
        f"{_LOADER}::test_logs_are_arrays",
    ),
    Fault(
        "digideep/post/loader.py",
        "for note in self.repeals:\n            for path",
        "for note in self.repeals[::-1]:\n            for path",
        "the first of two changes in force",
        f"{_COMPARISON_TESTS}::test_the_last_of_several_changes_is_in_force",
    ),
    Fault(
        "digideep/post/loader.py",
        "(-2, -2), None))[0] != state",
        "(-2, -2), None))[0] == (-2, -2)",
        "a log that grows not read anew",
        f"{_COMPARISON_TESTS}::test_a_log_that_has_grown_is_read_anew",
    ),
    Fault(
        _EXPORTED,
        "return scaled.clamp(-self.clip, self.clip).float()",
        "return scaled.float()",
        "normalised observations of a file not clipped",
        f"{_EXPORT}::test_a_file_normalises_to_the_last_bit_as_the_session_does",
    ),
    Fault(
        _EXPORTED,
        "torch.sqrt(variance + wrapper.epsilon)",
        "torch.sqrt(variance)",
        "epsilon left out of a file",
        f"{_EXPORT}::test_a_file_normalises_to_the_last_bit_as_the_session_does",
    ),
    Fault(
        _EXPORTED,
        "observations.double() - self.mean",
        "observations.float() - self.mean.float()",
        "a file normalises in float32",
        f"{_EXPORT}::test_a_file_normalises_to_the_last_bit_as_the_session_does",
    ),
    Fault(
        _CHECK,
        "if not far <= limit",
        "if far > limit",
        "a file of NaN left there",
        f"{_EXPORT}::test_a_file_that_acts_otherwise_is_not_left_there",
    ),
    Fault(
        _CHECK,
        "far = np.abs(one - other) / size",
        "far = np.abs(one - other)",
        "differences in the environment's unit instead of the range",
        f"{_EXPORT}::test_a_difference_of_no_numbers_is_none_that_is_allowed",
    ),
    Fault(
        _CHECK,
        "return float(np.max(far))",
        "return float(np.mean(far))",
        "the mean difference told",
        f"{_EXPORT}::test_a_difference_of_no_numbers_is_none_that_is_allowed",
    ),
    Fault(
        _POLICY,
        'build(wrapper, VectorWrapper, mode="eval"',
        'build(wrapper, VectorWrapper, mode="train"',
        "a policy by itself learns statistics",
        f"{_LOADER}::test_each_action_is_the_explorers_bit_by_bit",
    ),
    Fault(
        _POLICY,
        '* tree["runner"]["n_cycles"] + progress["i_cycle"]) * steps',
        '* tree["runner"]["n_cycles"]) * steps',
        "the cycles of an epoch that has begun not counted",
        f"{_POLICY_TESTS}::test_the_frames_of_a_checkpoint_amid_an_epoch_are_those_of_its_cycles",
    ),
    Fault(
        _POLICY,
        "self._is_first |= ended",
        "self._is_first[:] = True",
        "all of a batch begin anew where one ends",
        f"{_POLICY_TESTS}::test_what_it_remembers_can_be_carried_kept_and_forgotten",
    ),
    Fault(
        _POLICY,
        "self.wrappers if is_step else copy.deepcopy(self.wrappers)",
        "self.wrappers",
        "asking for a value moves a wrapper on",
        f"{_POLICY_TESTS}::test_values_are_those_that_learning_uses_and_move_nothing",
    ),
    Fault(
        _POLICY,
        'self.hidden_state = choice.get("hidden_state", self.hidden_state)',
        "choice.get",
        "a policy by itself remembers nothing",
        f"{_POLICY_TESTS}::test_what_it_remembers_can_be_carried_kept_and_forgotten",
    ),
)
