"""Deliberate faults in `digideep/memory`."""

from tests.faults.runner import faults_in

_PRIORITIES = "tests/memory/test_priorities.py"
_RATIO = "tests/memory/test_replay_ratio.py"
_RING = "tests/memory/test_generic.py"
_REPLAY = "tests/memory/test_replay.py"
_DRAWN = (
    f"{_REPLAY}::test_transitions_drawn_from_any_ring_equal_the_ones_that_were_stored "
    f"{_REPLAY}::test_every_valid_transition_is_drawn_about_equally_often_and_no_other"
)
_N_STEPS = (
    f"{_REPLAY}::test_a_return_of_three_steps_stops_at_both_kinds_of_ends_and_at_the_newest_row "
    f"{_REPLAY}::test_a_return_of_several_steps_equals_a_walk_over_the_stream_on_a_wrapped_ring"
)
_FRAMES = f"{_REPLAY}::test_frames_are_stacked_when_drawn_within_their_episode"
_ROOM = f"{_REPLAY}::test_a_memory_that_does_not_fit_is_refused_with_a_size_that_does"

FAULTS = (
    *faults_in(
        "digideep/memory/generic.py",
        f"{_RING} tests/memory/test_view.py",
        (
            "self.n_collected * self.ring.chunk_sample_len * self.num_workers *",
            "len(self.ring) * self.ring.chunk_sample_len * self.num_workers *",
            "forgotten frames are not counted",
        ),
    ),
    *faults_in(
        "digideep/memory/ring.py",
        _DRAWN,
        ("(self.head + 1) % self.num_steps", "self.head % self.num_steps", "the oldest step is the newest half-step"),
        ("return self.num_steps - 1\n", "return self.num_steps - 2\n", "the newest transition is never drawn"),
        (" or self.head == self.num_steps:", ":", "a ring that is just full has a transition less"),
    ),
    *faults_in(
        "digideep/memory/ring.py",
        _N_STEPS,
        ("np.where(after == self.num_steps, 0, after)", "after", "returns stop where the ring goes round"),
    ),
    *faults_in(
        "digideep/memory/generic.py",
        f"{_FRAMES} {_PRIORITIES}",
        ("array[:, :, -1] if key", "array[:, :, 0] if key", "the oldest frame of each stack is kept"),
    ),
    *faults_in(
        "digideep/memory/ring.py",
        f"{_FRAMES} {_PRIORITIES}",
        (" and self.head < self.num_steps", "", "a ring that is just full begins at its second step"),
        ("return self.stack - 1 if", "return self.stack if", "a stack too many is left out"),
        (
            "return self.n_chunks > self",
            "return self.n_chunks >= self",
            "stacks are left out before any is overwritten",
        ),
    ),
    *faults_in(
        "digideep/memory/transitions.py",
        f"{_FRAMES} {_PRIORITIES}",
        ("(rows - 1) % memory.ring.num_steps", "np.maximum(rows - 1, 0)", "stacks stop at the first row of the ring"),
    ),
    *faults_in(
        "digideep/memory/generic.py",
        _ROOM,
        ("needed = num_workers * row_bytes", "needed = row_bytes", "room for one worker"),
        ("int(0.8 * free)", "int(1.5 * free)", "a size is recommended that does not fit"),
    ),
    *faults_in(
        "digideep/memory/generic.py",
        f"{_REPLAY}::test_a_memory_on_disk_holds_the_same",
        (
            "self.buffer, self.ring.n_chunks = {}, 0\n            shutil.rmtree(self._directory, ignore_errors=True)",
            "self.buffer, self.ring.n_chunks = {}, 0",
            "files of the memory stay behind",
        ),
    ),
    *faults_in(
        "digideep/memory/generic.py",
        f"{_RING}::test_a_restored_memory_is_the_same_and_goes_on_the_same",
        (
            "self.ring.n_chunks = number\n",
            "self.ring.n_chunks = number - first\n",
            "chunks are restored into other places",
        ),
        ('if self.ring.n_chunks != state["n_chunks"]:', "if False:", "segments that end elsewhere pass"),
    ),
    *faults_in(
        "digideep/memory/generic.py",
        "tests/memory/test_view.py",
        (" // self._num_players", "", "a player's steps count as frames"),
        ("0 if array is None else len(array)", "self._memory.num_workers", "each worker has one player"),
        ("own[key if rest.startswith(_OF_THE_AGENT) else rest]", "own[rest]", "actions are not under the agent's name"),
    ),
    *faults_in(
        "digideep/memory/priorities.py",
        _PRIORITIES,
        (" ** self.alpha", "", "the exponent alpha is left out"),
        ("[:, rows, 0] * self._largest", "[:, rows, 0] * 1.0", "new transitions do not get the largest priority"),
        ("max(self._largest, float(priorities.max()))", "float(priorities.max())", "the largest of the last draw"),
        ("float(priorities.max())", "float(errors.max())", "the largest error for the largest priority"),
        ("chances ** -self.beta", "chances ** self.beta", "frequent transitions weigh more"),
        ("        self._n_draws += 1\n", "", "beta stays at its start"),
        (" + self.eps)", ")", "what was predicted well is forgotten"),
        ('np.arange(size) + info["generator"].random(size)', 'size * info["generator"].random(size)', "no strata"),
        (
            'self._largest, self._n_chunks, self._n_draws = state["largest"]',
            "self._largest, self._n_chunks, self._n_draws = 1.0",
            "the largest priority is not restored",
        ),
        ('state["n_chunks"], state["n_draws"]', 'state["n_chunks"], 0', "beta begins anew when resumed"),
        ("if ring.num_incomplete:", "if False:", "stacks of overwritten frames are drawn"),
        ("weights / weights.max()", "weights", "weights are not normalised"),
        (
            "ring.oldest + np.arange(ring.num_incomplete)",
            "ring.head + np.arange(ring.num_incomplete)",
            "the wrong rows are left out",
        ),
    ),
    *faults_in(
        "digideep/memory/priorities.py",
        f"{_REPLAY}::test_priorities_follow_a_ring_that_goes_round "
        f"{_REPLAY}::test_a_sum_tree_finds_where_the_running_sum_passes_a_share",
        ("if ring.head < ring.num_steps:", "if False:", "transitions whose successor is overwritten are drawn"),
        ('memory.buffer["/masks"][:, rows, 0] *', "np.ones((num_workers, new)) *", "half-steps are drawn"),
        ("rest >= self.nodes[left]", "rest > self.nodes[left]", "a boundary belongs to the share before"),
        (
            "rest -= np.where(goes_right, self.nodes[left], 0)",
            "rest -= np.where(goes_right, 0, 0)",
            "shares are not reduced",
        ),
        (
            "(ring.head - 1 - np.arange(new))",
            "(ring.head - np.arange(new))",
            "the half-step instead of the oldest new step",
        ),
    ),
    *faults_in(
        "digideep/memory/replay.py",
        _RATIO,
        ('state["frames_seen"], state["carried"]', 'state["frames_seen"], 0', "the carried fraction is restored as 0"),
        ('state["frames_seen"], state["carried"]', '0, state["carried"]', "frames are counted twice when resumed"),
        (".numerator + self._carried", ".numerator", "no fraction is carried"),
        (
            "self._frames_seen < self.learning_starts",
            "self._frames_seen <= self.learning_starts",
            "learning starts late",
        ),
        (
            "self.learning_starts:\n            return 0",
            "self.learning_starts:\n            self._frames_seen = before\n            return 0",
            "the steps of the start are made up for",
        ),
        ("// plan.cycle_frames) - 1, 0)", "// plan.cycle_frames), 0)", "the plan waits a cycle too long"),
        (".limit_denominator(1_000_000)", "", "ten times 0.3 is less than 3"),
        ("if starts > room:", "if starts >= room:", "a start that fits is refused"),
        ("if self.batch_size > room * plan.num_players:", "if self.batch_size > room:", "players are not counted"),
        (
            "planned_draws = int(planned_frames * self.ratio)",
            "planned_draws = planned_frames",
            "beta's plan counts frames",
        ),
    ),
    *faults_in(
        "digideep/memory/sampler.py",
        "tests/memory/test_sampler.py",
        ("    starts[:, -1] = False\n", "", "a transition starts at the last row"),
        ('["/masks"][..., 0].copy()', '["/masks"][..., 0]', "the memory's masks are overwritten"),
        ("not np.isfinite(array).all()", "np.isnan(array).any()", "infinities pass"),
        ("{**self.info, **info}", "{**info, **self.info}", "the agent has not the last word"),
    ),
    *faults_in(
        "digideep/memory/sampler.py",
        "tests/agent/test_recurrent_ppo.py::test_a_chunk_is_cut_into_sequences_and_the_last_piece_filled_up_with_the_half_step",
        ("np.arange(size), length - 1)", "np.arange(size), length - 2)", "the last transition counts twice"),
        ("[:, None, None] * length", "[:, None, None] * (length - 1)", "rows of other workers"),
    ),
    *faults_in(
        "digideep/memory/transitions.py",
        _N_STEPS,
        (" & (last != ring.head)", "", "returns pass the newest row"),
        ("gather(masks, workers, last) & (last", "(last", "returns pass the end of an episode"),
        ("goes_on, discounts * rewards, 0", "goes_on, rewards, 0", "later rewards in full"),
        (" * ~ends,", ",", "a termination within a return keeps its bootstrap"),
        ("discounts * np.float32(gamma) *", "np.float32(gamma) *", "the bootstrap is discounted once"),
        ("np.where(goes_on, ring.successor(here), last)", "ring.successor(here)", "ends bootstrap from elsewhere"),
    ),
    *faults_in(
        "digideep/memory/transitions.py",
        _DRAWN,
        (
            "np.float32(gamma) * ~ends\n    for",
            "np.full(len(rows), gamma, np.float32)\n    for",
            "a termination keeps its bootstrap",
        ),
        (
            "rows[wanted] = (oldest + ages) % ring.num_steps\n        starts",
            "rows[wanted] = ages % ring.num_steps\n        starts",
            "ages are taken for rows",
        ),
        ("if starts.all():", "if starts.any():", "half-steps are drawn"),
        (
            'for key in keys},\n        **{f"{key}_2": gather_stacked(memory, key, workers, last)',
            'for key in keys},\n        **{f"{key}_2": gather_stacked(memory, key, workers, rows)',
            "the next observation is the same",
        ),
    ),
    *faults_in(
        "digideep/memory/transitions.py",
        f"{_FRAMES} {_PRIORITIES}",
        ("gather(masks, workers, before) & (rows", "(rows", "stacks reach into the episode before"),
        (" & (rows != oldest)", "", "stacks reach over the write head"),
        (
            "num_skipped = ring.num_incomplete + info",
            "num_skipped = info",
            "broken stacks are drawn",
        ),
        (
            "ring.num_starts - num_skipped",
            "ring.num_starts",
            "the newest half-step is drawn",
        ),
        ("range(stack - 2, -1, -1)", "range(stack - 1)", "frames are stacked in the wrong order"),
    ),
)
