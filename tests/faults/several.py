"""Deliberate faults in what there may be several of: memories, explorers, shares; and in agents that act by rules."""

from tests.faults.runner import faults_in

_SHARES = "tests/memory/test_shares.py"
_SEVERAL = "tests/pipeline/test_several_memories.py"
_RESUME = f"{_SEVERAL}::test_a_run_with_two_memories_resumes_bit_identically_from_every_checkpoint"
_LOGS = f"{_SEVERAL}::test_a_further_explorer_is_logged_under_its_name"
_SEGMENTS = f"{_SEVERAL}::test_each_memory_has_segments_of_its_own_which_go_with_the_last_checkpoint_that_needs_them"
_TREES = f"{_SEVERAL}::test_a_tree_whose_memories_and_explorers_do_not_fit_is_refused"
_MISTAKES = f"{_SEVERAL}::test_mistakes_cost_one_line_and_create_nothing"
_SCRIPTED = "tests/agent/test_scripted.py"
_FOLLOWS = (
    "tests/environment/test_normalizers.py::"
    "test_an_explorer_that_follows_another_scales_rewards_as_it_does_and_learns_nothing"
)

FAULTS = (
    *faults_in(
        "digideep/memory/shares.py",
        _SHARES,
        ("due - rows[name]", "Fraction(0)", "what is carried is forgotten"),
        ("min(int(due), room)", "int(due)", "several shares take more rows than there are"),
        ("if not can_be_drawn(self._memories[name].ring):", "if False:", "empty memories are drawn from"),
        ('Fraction(*state["carried"].get(name, (0, 1)))', "Fraction(0)", "what is carried is not restored"),
        ('int(state["n_draws"])', "0", "schedules of shares begin anew when resumed"),
        (".limit_denominator(_FINEST)", "", "a tenth is more than a tenth"),
        ("together <= 1 + 1 / _UNITS,", "True,", "shares above 1 together pass"),
        ("range(_SAMPLES + 1)", "range(1)", "only the first value of a schedule is checked"),
    ),
    *faults_in(
        "digideep/memory/replay.py",
        _SHARES,
        ("memory if name == MAIN else self._memories[name]", "memory", "all rows come from the main memory"),
        ("errors.numpy(force=True), 0", "errors.numpy(force=True)[::-1], 0", "errors go to other rows"),
        ("            first = last\n", "", "each memory learns the errors of the first one"),
        ('self.shares.load_state_dict(state["shares"])', "pass", "shares begin anew when resumed"),
        ("priorities.load_state_dict(state[_key(name)])", "pass", "priorities begin anew when resumed"),
    ),
    *faults_in(
        "digideep/memory/replay.py",
        f"{_MISTAKES}",
        ("for name in self.memory_names[1:]:", "for name in ():", "a further memory may be too small to draw from"),
    ),
    *faults_in(
        "digideep/pipeline/collecting.py",
        f"{_RESUME} {_LOGS} {_SEVERAL}::test_a_further_explorer_normalises_as_train_does",
        ('if name != "test"}', 'if name == "train"}', "further explorers are not saved"),
        ("self.progress.take_in(name, explorer)", "explorer.take_episodes()", "its episodes are not logged"),
        ('explorer.follow(self.explorer["train"])', "pass", "a further explorer does not normalise"),
        (
            'state["explorer"][name]',
            'state["explorer"]["train"] if False else explorer.state_dict()',
            "explorers begin anew when resumed",
        ),
    ),
    *faults_in(
        "digideep/pipeline/checkpoint_store.py",
        _SEGMENTS,
        ("            store.release(oldest[name])\n", "            pass\n", "segments stay for ever"),
    ),
    *faults_in(
        "digideep/pipeline/segments.py",
        _SEGMENTS,
        ("return own if name == MAIN else own / name", "return own", "two memories share a directory"),
    ),
    *faults_in(
        "digideep/pipeline/tree_checks.py",
        _TREES,
        ('parameters.get("do_reset", False)', "False", "chunks of a memory may not continue each other"),
        ("if memory != MAIN and not sources", "if False and not sources", "nothing fills a memory"),
        ("is_own = tree[", "is_own = True or tree[", "a further explorer that nothing runs passes"),
    ),
    *faults_in(
        "digideep/pipeline/tree_checks.py",
        f"{_SEVERAL}::test_two_explorers_cannot_fill_one_memory",
        ("if len(sources) > 1:", "if len(sources) > 2:", "two explorers fill one memory"),
    ),
    *faults_in(
        "digideep/environment/hidden_states.py",
        _SCRIPTED,
        ("        array[rows] = 0\n", "        pass\n", "what is remembered passes the end of an episode"),
        ("array.copy() for end, array", "array for end, array", "a chunk holds what was remembered later"),
        ("if array.any():", "if False:", "a first state may differ from that of later episodes"),
    ),
    *faults_in(
        "digideep/agent/scripted.py",
        f"{_SCRIPTED}::test_fine_tuning_takes_the_networks_there_are",
        ("    def load_weights(", "    def _load_weights(", "fine-tuning asks a scripted agent for weights"),
    ),
    *faults_in(
        "digideep/environment/normalizers.py",
        _FOLLOWS,
        ("        if self._is_following:\n            return observations, self._scale(rewards)\n", "", "raw rewards"),
    ),
)  # fmt: skip
