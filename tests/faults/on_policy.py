"""Deliberate faults in on-policy methods."""

from tests.faults.runner import faults_in

_PPO = "tests/agent/test_ppo_by_hand.py"
_RECURRENT = "tests/agent/test_recurrent_ppo.py::test_"

FAULTS = (
    *faults_in(
        "digideep/agent/advantages.py",
        "tests/agent/test_advantages.py",
        (" * ~terminations", "", "a termination keeps its bootstrap"),
        (" * masks[:, 1:] * masks[:, :-1]", " * np.ones(shape)", "the trace passes the end of an episode"),
        ("values[:, :-1]) * masks[:, :-1]", "values[:, :-1])", "half-steps have advantages"),
        ("gamma * gae_lambda * masks", "gae_lambda * masks", "the trace is not discounted"),
    ),
    *faults_in(
        "digideep/agent/on_policy.py",
        _PPO,
        (
            "centred = batch.advantages - (batch.mean(batch.advantages) if mean is None else mean)",
            "centred = batch.advantages",
            "advantages keep their mean",
        ),
        ("batch.mean(log_ratio.exp() - 1 - log_ratio)", "batch.mean(-log_ratio)", "another estimator"),
        (
            "                divergences = []\n",
            "                divergences = divergences if epoch else []\n",
            "the divergence of all epochs",
        ),
        ("> 1.5 * self.target_kl", "> self.target_kl", "the factor is left out"),
        ('self.step.set_lr(values["lr"])', "self.step.set_lr(0.05)", "the learning rate stays what it was"),
        ("name: course(clock()) for", "name: course(0) for", "schedules stay at their start"),
        ("torch.tensor(v, device", 'torch.tensor(values["lr"], device', "what is scheduled is the learning rate"),
        ("else num_workers * (length - 1)\n", "else num_workers * length\n", "minibatches have a row too many"),
        ("if epoch and self.recompute_advantages", "if epoch", "advantages are always computed anew"),
        ("data.returns[used], data.values[used]", "data.returns, data.values", "half-steps explain variance"),
        ("rule, max_grad_norm=max_grad_norm)", "rule)", "gradients are not clipped"),
        ("Adam, eps=1e-5", "Adam", "the published eps is left out"),
        (
            "data = self.estimate(chunk, data, self._values(data, num_workers))",
            "data = self.estimate(chunk, data, data.values)",
            "advantages of later epochs by old values",
        ),
    ),
    *faults_in(
        "digideep/agent/on_policy.py",
        "tests/agent/test_ppo.py",
        (
            "self.choose(observations, hidden_state, deterministic)",
            "self.choose(observations, hidden_state, False)",
            "deterministic actions are drawn",
        ),
        (
            'self.register(\n            "optimizer", GradientStep',
            "dict(\n            optimizer=GradientStep",
            "the optimizer is not restored",
        ),
    ),
    *faults_in(
        "digideep/agent/on_policy.py",
        "tests/agent/test_base.py",
        ('"lr", lr, self.plan.n_cycles', '"lr", lr, self.plan.frames', "the learning rate's plan counts frames"),
    ),
    *faults_in(
        "digideep/agent/on_policy.py",
        f"{_RECURRENT}rows_without_a_transition_count_in_no_part_of_the_loss "
        f"{_RECURRENT}the_ratio_is_one_before_the_first_step_also_within_episodes "
        f"{_RECURRENT}values_along_the_chunk_are_those_of_acting_the_last_row_included",
        (
            "torch.where(batch.masks, now.log_p, batch.log_p)",
            "now.log_p",
            "absurd numbers of half-steps are no numbers",
        ),
        ("data.states[rows[:, 0]]", "data.states[rows[:, -1]]", "sequences begin with their last state"),
        ("state=states[:, 0], masks=masks", "state=states[:, -1], masks=masks", "values begin with the last state"),
        (
            "            masks[:, -1] = False  # no step",
            "            # no step",
            "the row of the chunk's half-step counts",
        ),
    ),
    *faults_in(
        "digideep/agent/on_policy.py",
        "tests/agent/test_spaces.py::test_behind_a_shared_encoder_ppo_knows_the_values_from_acting",
        ("* length - 1\n", "* length - 2\n", "the bootstrap is the value of the row before"),
    ),
    *faults_in(
        "digideep/agent/ppo.py",
        _PPO,
        ("- entropy_coef * entropy", "+ entropy_coef * entropy", "entropy is punished"),
        ("(torch.minimum(ratio", "(torch.maximum(ratio", "the better of both for the worse"),
        ("value_errors = torch.maximum", "value_errors = torch.minimum", "the smaller of both errors"),
        ("value_loss = 0.5 * batch", "value_loss = batch", "the half is left out"),
        ("entropy_coef=self.entropy_coef,", "entropy_coef=0.0,", "the coefficient is left out"),
        ("-clip_param, clip_param)\n        value", "-1.0, 1.0)\n        value", "values are clipped to another range"),
    ),
    *faults_in(
        "digideep/agent/ppo.py",
        "tests/agent/test_base.py",
        ("clip_param, self.plan.n_cycles)", "clip_param, self.plan.frames)", "the clip's plan counts frames"),
    ),
    *faults_in(
        "digideep/agent/trajectories.py",
        f"{_PPO} tests/agent/test_ppo.py::test_every_row_comes_once_and_only_the_last_minibatch_is_filled_up",
        ("order = generator.permutation(rows)", "order = rows", "rows are not shuffled"),
    ),
    *faults_in(
        "digideep/agent/trajectories.py",
        f"{_RECURRENT}rows_without_a_transition_count_in_no_part_of_the_loss "
        f"{_RECURRENT}a_mean_and_a_standard_deviation_over_some_rows_are_those_of_these_rows",
        ("self.masks / self.masks.sum().clamp(min=1)", "self.masks / len(self.masks)", "half-steps count in means"),
        ("values * (self.masks / self.masks.sum()", "values * (1 / self.masks.sum()", "their numbers do"),
        ("self.masks.sum().clamp(min=1))).sum()", "self.masks.sum())).sum()", "a mean of no row is no number"),
        ("(values - self.mean(values)) * self.masks", "values - self.mean(values)", "half-steps deviate"),
        ("(self.masks.sum() - 1)", "(self.masks.sum())", "a deviation divided by the number of all"),
    ),
)
