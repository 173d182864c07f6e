"""Faults of what is collected ahead."""

from tests.faults.runner import Fault, faults_in

_AHEAD = "digideep/pipeline/ahead.py"
_TESTS = "tests/pipeline/test_ahead.py"
_RESUMED = f"{_TESTS}::test_a_resumed_run_is_bit_identical"

FAULTS: tuple[Fault, ...] = (
    *faults_in(
        _AHEAD,
        f"{_TESTS}::test_each_chunk_comes_from_the_weights_with_which_the_one_before_was_delivered",
        (
            "            record, self._next = self._next, None\n            self._begin()\n",
            "            record, self._next = self._next, None\n            self._has_begun = False\n",
            "nothing is collected ahead: the policy that acts does not lag",
        ),
        (
            "            agent.policy.load_state_dict({key",
            "            explorer.steps or agent.policy.load_state_dict({key",
            "the other process keeps the first weights",
        ),
    ),
    Fault(
        _AHEAD,
        "            explorer.seats[name].load_state_dict(state)\n",
        "            pass\n",
        "the other process's normalisers do not begin with what is loaded",
        f"{_TESTS}::test_statistics_that_it_begins_with_reach_the_other_process",
    ),
    *faults_in(
        _AHEAD,
        _RESUMED,
        ('            "next": self._next,\n', '            "next": None,\n', "the chunk under way is lost"),
        (
            'agent.generator.set_state(torch.from_numpy(state["agents"][name]))',
            "pass",
            "the generators that act begin anew",
        ),
    ),
    Fault(
        _AHEAD,
        "        self._metrics = record",
        "        self._metrics = {} and record",
        "what wrappers measure is not shown",
        f"{_TESTS}::test_without_learning_chunks_and_figures_are_those_of_a_plain_explorer",
    ),
)
