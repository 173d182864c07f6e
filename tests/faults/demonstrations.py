"""Deliberate faults in what is recorded, and in what is learned from it."""

from tests.faults.runner import faults_in

_DATASETS = "tests/environment/test_datasets.py::test_"
_CLONING = "tests/agent/test_behaviour_cloning.py::test_"
_RUNS = "tests/pipeline/test_demonstrations.py::test_"
_RECORD = "tests/post/test_record.py::test_"

FAULTS = (
    *faults_in(
        "digideep/environment/dataset_rows.py",
        f"{_DATASETS}episodes_follow_each_other_with_their_true_last_observations_and_ends",
        (
            "-(-int(sizes.max()) // length)",
            "-(-int(sizes.max() - 1) // length)",
            "no row is left behind an episode",
        ),
        ("< steps\n", "<= steps\n", "a transition starts at an episode's last observation"),
        ("episode.terminations.astype(np.bool_)[:, None]", "np.zeros((steps, 1), np.bool_)", "no episode terminates"),
    ),
    *faults_in(
        "digideep/environment/dataset_rows.py",
        f"{_DATASETS}workers_and_ranks_share_the_episodes_out",
        ("sizes.argmin()", "0", "one worker has all episodes"),
        ("index % ranks.size == ranks.rank", "True", "each rank has all episodes"),
    ),
    *faults_in(
        "digideep/environment/datasets.py",
        f"{_DATASETS}what_is_no_data_set_is_refused_in_a_line_that_names_it",
        ("None if isinstance(link, h5py.HardLink) else key", "None", "a file may lead to others"),
        ("not isinstance(metadata.get(key), str)", "False", "an environment is made of what a file names"),
        ('array.dtype.kind == "f" and not np.isfinite(array).all()', "False", "numbers that are not finite are read"),
        (
            "array.shape != (rows, *(leaf.shape or ())):",
            "len(array) != rows:",
            "observations of another shape are read",
        ),
    ),
    *faults_in(
        "digideep/environment/scaling.py",
        f"{_DATASETS}what_the_agent_chose_is_found_again_from_what_the_environment_was_given",
        ('- np.asarray(getattr(space, "start", 0), np.int64)', "", "numbered actions are not counted from 0"),
        ("reshape(number, -1) - center) / half", "reshape(number, -1) - center)", "actions are not scaled"),
    ),
    *faults_in(
        "digideep/environment/normalizers.py",
        f"{_DATASETS}normalisers_learn_from_the_whole_before_they_change_it",
        ("np.zeros(len(rewards), np.bool_))", "None)", "observations of a data set count twice"),
        ("self._running.update(returns[masks])", "self._running.update(returns)", "returns of half-steps count"),
    ),
    *faults_in(
        "digideep/memory/generic.py",
        f"{_RUNS}an_offline_run_steps_no_environment_and_goes_on_without_its_data_set",
        ("self.n_collected, self.contents = 0, contents", "self.contents = contents", "a data set counts as frames"),
        (
            "            self.ring.buffer_chunk_len = n_chunks\n",
            "            pass\n",
            "a restored memory is too small",
        ),
    ),
    *faults_in(
        "digideep/agent/behaviour_cloning.py",
        f"{_CLONING}cloning_that_is_stopped_goes_on_exactly",
        (
            "            pupil.load_state_dict(self._optimizer_state)\n",
            "            pass\n",
            "Adam begins anew",
        ),
        ('self.n_done, self._optimizer_state = state["n_done"], state["optimizer"]', "pass", "cloning begins anew"),
    ),
    *faults_in(
        "digideep/agent/behaviour_cloning.py",
        f"{_CLONING}a_policy_learns_to_do_what_was_done",
        ("        self._network.flat.copy_(pupil.flat)\n", "", "the policy does not get what was learned"),
        ("                part.renew()", "                pass", "targets stay behind"),
        ("return -log_p.mean()", "return log_p.mean()", "a policy learns to avoid what was done"),
    ),
    *faults_in(
        "digideep/agent/td3.py",
        f"{_CLONING}td3_bc_weighs_values_by_their_size_and_stays_near_what_was_done",
        (".abs().mean().detach()", ".mean().detach().abs()", "values weigh by their mean's size"),
        ("error - bc_alpha", "error + bc_alpha", "values are made small"),
    ),
    *faults_in(
        "digideep/policy/continuous.py",
        f"{_CLONING}a_given_action_is_as_likely_as_when_it_was_drawn",
        ("noise = (raw - mean) / log_std.exp()", "noise = raw - mean", "the spread is left out"),
    ),
    *faults_in(
        "digideep/pipeline/offline.py",
        f"{_RUNS}an_offline_run_steps_no_environment_and_goes_on_without_its_data_set",
        ("        self.memory.n_collected += 1\n", "", "nothing is learned offline"),
    ),
    *faults_in(
        "digideep/pipeline/runner.py",
        f"{_RUNS}a_run_that_is_stopped_while_it_is_pretrained_ends_as_if_it_was_not",
        ("[pretraining_steps(self.agents), *(", "[*(", "a stop amid pretraining saves nothing"),
    ),
    *faults_in(
        "digideep/post/record.py",
        f"{_RECORD}exploration_is_recorded_where_it_is_asked_for_and_can_be_repeated",
        (
            "bool(truncated) or (len(rewards) == left and not terminated)",
            "bool(truncated)",
            "an episode goes on beyond --frames",
        ),
    ),
    *faults_in(
        "digideep/post/record.py",
        f"{_RECORD}a_sessions_policy_is_recorded_with_the_environments_own_numbers",
        ("left, seed + number)", "left, seed)", "all episodes have one seed"),
    ),
    *faults_in(
        "digideep/post/demonstrators.py",
        f"{_RECORD}exploration_is_recorded_where_it_is_asked_for_and_can_be_repeated",
        ('manual_seed(derive_seed(seed, "record"))', "manual_seed(0)", "exploration does not depend on the seed"),
    ),
)
