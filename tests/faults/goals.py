"""Deliberate faults in hindsight, and in what wrappers may ask for."""

from tests.faults.runner import faults_in

_HINDSIGHT = "tests/memory/test_hindsight.py"
_GOALS = "tests/environment/test_goals.py"
_ASKING = "tests/environment/test_asking_wrappers.py"
_RUNS = "tests/pipeline/test_hindsight.py::test_what_cannot_be_relabelled_is_refused_before_anything_is_created"

FAULTS = (
    *faults_in(
        "digideep/memory/episodes.py",
        f"{_HINDSIGHT}::test_bounds_of_episodes_are_those_of_a_walk_over_any_ring",
        ("goes_on[:, 0] = masks[:, before]", "goes_on[:, 0] = True", "an episode goes on over its end"),
        ("np.minimum(last, self._newest)", "last", "the end of an episode that goes on is unknown"),
        ("np.maximum(first, self.oldest)", "first", "rows that were overwritten are held"),
        ("np.where(moments == self._newest, head, ", "np.where(False, head, ", "the newest half-step is in row 0"),
        (
            "np.arange(max(starts[worker, 0], self.oldest), begin)",
            "np.arange(begin - 1, begin)",
            "one row hears of an end",
        ),
        ("masks[:, rows[:-1]]", "masks[:, rows[1:]]", "an episode begins with its half-step"),
    ),
    *faults_in(
        "digideep/memory/hindsight.py",
        _HINDSIGHT,
        ("before + 1 + (generator", "before + (generator", "what a transition began with is its goal"),
        ("* (last - before)", "* (last - before - 1)", "an episode's last observation is no goal"),
        ('now if self.strategy == "future" else first', "first", "goals of the past"),
        ("num_sampled_goals / (1 + num_sampled_goals)", "1 / (1 + num_sampled_goals)", "the share is turned round"),
        ('(self.desired, f"{self.desired}_2")', "(self.desired,)", "the bootstrap is of the old goal"),
        ("gather(buffer[self.achieved], workers, after)", "gather(buffer[self.achieved], workers, rows)", "too early"),
        ("gather(array, workers, after)", "gather(array, workers, rows)", "the info of the step before"),
        ("        if not self.share:\n", "        if False:\n", "random numbers drawn for nothing"),
        ("if self.desired not in observations:", "if False:", "an agent that is blind to its goal"),
    ),
    *faults_in(
        "digideep/environment/making/goals.py",
        _GOALS,
        ("bool(np.allclose(answers, expected))", "True", "answers of the right shape believed"),
        (
            "goals, twice = np.concatenate([desired, achieved])",
            "goals, twice = np.concatenate([desired, desired])",
            "tried with one kind of goals",
        ),
        ("if not np.allclose(computed, given, 1e-4, 1e-6):", "if False:", "another reward than the environment's"),
        ("            if cls.changes_rewards:", "            if False:", "wrappers that change rewards pass"),
        ("        with self._unnoticed():", "        if True:", "asking draws from the run's generators"),
        ("environment = environment.env", "environment = environment.unwrapped", "wrappers between are not asked"),
    ),
    *faults_in(
        "digideep/pipeline/building.py",
        _RUNS,
        (
            "session.ranks, seen, goals,",
            "session.ranks, seen,",
            "goals not handed over",
        ),
    ),
    *faults_in(
        "digideep/agent/off_policy.py",
        _RUNS,
        ('own + getattr(self.sampler, "needed_keys", [])', "own", "keys that hindsight reads are not asked for"),
    ),
    *faults_in(
        "digideep/environment/stepping/worker.py",
        _ASKING,
        ("self._progress.share = 1.0 if progress is None else progress", "pass", "wrappers are told nothing"),
        ("plan.first_worker + rank", "rank", "workers of other ranks have the same number"),
        ("progress is not None and self._tells_progress", "progress is not None", "the environment is told unasked"),
    ),
    *faults_in(
        "digideep/environment/making/make_environment.py",
        _ASKING,
        (
            "self.tell_progress or ask_for_progress(self.norm_wrappers)",
            "self.tell_progress",
            "wrappers ask for nothing",
        ),
    ),
    *faults_in(
        "digideep/environment/stepping/native_environment.py",
        _ASKING,
        ("if plan.spec.norm_wrappers:", "if False:", "norm_wrappers left out without a word"),
    ),
)
