"""Deliberate faults in what searches: `digideep/launch/study.py` and its neighbours."""

from tests.faults.runner import Fault

_JOURNAL = "digideep/launch/journal.py"
_SEARCH = "digideep/launch/search.py"
_STUDY = "digideep/launch/study.py"
_SWEEP = "digideep/launch/sweep.py"

_SEARCH_TESTS = "tests/launch/test_search.py"
_SWEEP_TESTS = "tests/launch/test_sweep.py"
_HALVING = f"{_SEARCH_TESTS}::test_halving_keeps_the_best_of_those_of_a_wave_that_got_there_and_of_equals_the_earlier"
_REPEATED = f"{_SEARCH_TESTS}::test_a_search_that_could_not_be_repeated_fails_its_trial_and_the_sweep_goes_on"

FAULTS: tuple[Fault, ...] = (
    Fault(
        _JOURNAL,
        'whole = position if is_mark and line.endswith(b"\\n") else whole',
        "whole = position",
        "half a wave taken for a whole one",
        f"{_SEARCH_TESTS}::test_a_journal_cut_anywhere_leads_to_the_same_trials",
    ),
    Fault(
        _SEARCH,
        "is_float or not (isinstance(low, int) and isinstance(high, int))",
        "not (isinstance(low, int) and isinstance(high, int))",
        "whole numbers drawn where the panel has others",
        f"{_SEARCH_TESTS}::test_ranges_and_choices_become_values_of_the_panel_s_types",
    ),
    Fault(
        _SEARCH,
        "            with alone():\n",
        "            if True:\n",
        "a forked process that searches, too",
        f"{_SWEEP_TESTS}::test_a_search_s_processes_take_no_part_and_its_names_stay_on_their_line",
    ),
    Fault(
        _SEARCH,
        "self._suggest(Suggestions(trial), changed)",
        "self._suggest(trial, changed)",
        "choices that a journal does not give back",
        _REPEATED,
    ),
    Fault(
        _STUDY,
        "if not self._finds_again(self._frozen()[number], changes):",
        "if False:",
        "a search with numbers of its own accepted",
        _REPEATED,
    ),
    Fault(
        _STUDY,
        "json.dumps(found) == json.dumps(changes)",
        "found == changes",
        "a trial with NaN that ends the sweep",
        _REPEATED,
    ),
    Fault(
        _STUDY,
        "max(len(best) // self._reduction, 1)",
        "max(-(-len(best) // self._reduction), 1)",
        "a trial too many that goes on",
        _HALVING,
    ),
    Fault(
        _STUDY,
        "(sign * values[number], number)",
        "(sign * values[number], -number)",
        "of equal trials the later preferred",
        _HALVING,
    ),
    Fault(
        _STUDY,
        'derive_seed(self.rules.seed, "trial", number)',
        'derive_seed(self.rules.seed, "trial")',
        "all trials drawn alike",
        f"{_SEARCH_TESTS}::test_every_sampler_draws_the_same_again_and_others_by_another_seed",
    ),
    Fault(
        _SWEEP,
        'if figures is not None and entry["meta"]["epoch"] <= epoch:',
        "if figures is not None:",
        "a trial judged by what came after the rung",
        f"{_SWEEP_TESTS}::test_the_value_at_a_rung_is_the_last_one_up_to_it",
    ),
    Fault(
        _SWEEP,
        "(checkpoint_order(found[-1]) or (0, 0)) >= (epoch or 0, 0)",
        "(checkpoint_order(found[-1]) or (0, 0)) > (epoch or 0, 0)",
        "a session at its rung started again",
        f"{_SWEEP_TESTS}::test_a_session_has_reached_a_rung_with_its_checkpoint_or_its_end",
    ),
    Fault(
        _SWEEP,
        "None if rung == self.settings.rules.rungs[-1] else rung",
        "rung",
        "a trial that is paused at its end",
        f"{_SWEEP_TESTS}::test_trials_are_paused_at_the_rung_and_the_best_goes_on_to_its_end",
    ),
)
