"""Deliberate faults in `digideep/agent`."""

from tests.faults.runner import faults_in

_STEPS = "tests/agent/test_steps_by_hand.py::test_learning_steps_are_those_of_the_algorithm_written_out"
_OFF_POLICY = "tests/agent/test_off_policy.py::test_"
_RESTORED = f"{_OFF_POLICY}a_restored_agent_goes_on_exactly"
_NEW_RUN = f"{_OFF_POLICY}a_new_run_begins_with_the_networks_of_another_and_targets_like_them"
_DETERMINISTIC = f"{_OFF_POLICY}deterministic_actions_draw_nothing_and_stay_within_the_range"
_BATCH = f"{_OFF_POLICY}a_batch_holds_what_the_memory_holds_of_its_transitions"
_MEANS = f"{_OFF_POLICY}an_update_reports_the_means_of_its_steps_and_counts_them"
_PRIORITISED = f"{_OFF_POLICY}prioritised_replay_learns_which_transitions_surprise"
_PPO = "tests/agent/test_ppo_by_hand.py"
_RECURRENT = "tests/agent/test_recurrent_ppo.py::test_"
_MASKED = "tests/agent/test_spaces.py::test_dqn_takes_the_best_and_random_ones_of_the_allowed_actions"

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
        "digideep/agent/base.py",
        "tests/agent/test_base.py",
        ('"agent", self.name, "weights"', '"agent", "weights"', "agents share their first weights"),
        ('derive_seed(context.seed, "agent", self.name, "act")', "0", "actions do not depend on the seed"),
        (
            'make_generator(context.seed, "agent", self.name, "sample")',
            'make_generator(context.seed, "agent", "sample")',
            "agents draw the same samples",
        ),
        ("not math.isfinite(value)", "math.isnan(value)", "infinite metrics pass"),
        ('course.load_state_dict(state["schedules"][name])', "pass", "schedules begin anew when resumed"),
    ),
    *faults_in(
        "digideep/agent/base.py",
        _MASKED,
        (
            "self.flatten is None and not self.use_action_mask",
            "self.flatten is None",
            "acting by numpy ignores the mask",
        ),
    ),
    *faults_in(
        "digideep/agent/base.py",
        _RESTORED,
        ('self.generator.set_state(state["generator"])', "pass", "the generator is not restored"),
        ('set_generator_state(self.numpy_generator, state["numpy_generator"])', "pass", "numpy's is not restored"),
    ),
    *faults_in(
        "digideep/learning/gradient_step.py",
        "tests/learning/test_gradient_step.py::test_adam_with_clipping_equals_torch",
        (".clamp(max=1.0)", "", "small gradients are made as long as the limit"),
        ("        self._gradient.zero_()\n", "", "gradients add up from step to step"),
    ),
    *faults_in(
        "digideep/learning/optimizers.py",
        "tests/learning/test_gradient_step.py::test_adam_with_clipping_equals_torch",
        (
            "+ self.eps))\n        self._correct(state)",
            "+ self.eps))",
            "the bias is corrected as in the first step for ever",
        ),
        ("square.sqrt() * root_factor + self.eps", "(square + self.eps).sqrt() * root_factor", "eps within the root"),
        (
            "square.lerp_(gradient * gradient, 1 - self.beta2)",
            "square.lerp_(gradient * gradient, 1 - self.beta1)",
            "one decay for both means",
        ),
    ),
    *faults_in(
        "digideep/learning/optimizers.py",
        "tests/learning/test_optimizers.py",
        ("flat.mul_(1 - lr * self.weight_decay)", "flat.mul_(1 - self.weight_decay)", "the decay ignores the rate"),
        ("variance.sqrt() + self.eps", "(variance + self.eps).sqrt()", "RMSprop's eps within the root"),
        (".clamp(min=0)  #", "  #", "a deviation by rounding that is no number"),
        ("addcdiv_(gradient, root)", "add_(gradient)", "RMSprop's velocity of gradients as they are"),
        ("gradient.add(velocity, alpha=self.momentum)", "velocity.add(gradient)", "another step than Nesterov's"),
        (
            "gradient = gradient.add(flat, alpha=self.weight_decay)\n        if",
            "gradient.add_(flat, alpha=self.weight_decay)\n        if",
            "the decay stays in the gradient that is shown",
        ),
        ("momentum > 0 or not is_nesterov", "True", "Nesterov's step without momentum"),
    ),
    *faults_in(
        "digideep/learning/gradient_step.py",
        "tests/learning/test_gradient_step.py::test_the_compiled_step_equals_the_eager_one",
        ("self._gradient.copy_(gradient)", "pass", "dashboards show no gradient of a compiled step"),
        ("self._gradient.copy_(gradient)  #", "self._gradient.add_(gradient)  #", "they show the sum of all gradients"),
    ),
    *faults_in(
        "digideep/learning/gradient_step.py",
        "tests/learning/test_gradient_step.py::test_a_restored_step_goes_on_exactly",
        (
            "for name, tensor in self.state.items():\n            tensor",
            'for name in ("mean", "square"):\n            self.state[name]',
            "Adam's counter is not restored",
        ),
    ),
    *faults_in(
        "digideep/learning/target_network.py",
        _STEPS,
        (
            "self.flat.lerp_(self._source, self._polyak_factor)",
            "self.flat.lerp_(self._source, 1 - self._polyak_factor)",
            "targets keep the share that they should give up",
        ),
        ("self.flat = step.flat.clone()", "self.flat = step.flat", "targets are the learners themselves"),
    ),
    *faults_in(
        "digideep/agent/ddpg.py",
        _STEPS,
        ("        self.target_actor.update()\n", "", "the target actor is never updated"),
        ("(batch, self.target_actor.network,", "(batch, self.actor_step.frozen,", "targets by the actor that learns"),
        (
            "self.target_actor.network, self.target_critics.network)",
            "self.target_actor.network, self.critic_step.frozen)",
            "targets by the critic that learns",
        ),
        (
            "batch.observations, self.critic_step.frozen",
            "batch.observations, self.target_critics.network",
            "the actor listens to the target critic",
        ),
        (
            "((self.critic_step, lr_critic), (self.actor_step, lr_actor))",
            "((self.critic_step, lr_actor), (self.actor_step, lr_critic))",
            "learning rates are exchanged",
        ),
        ("(batch.weights * errors.square())", "errors.square()", "weights of a batch are left out"),
        ("loss = -critics", "loss = critics", "the actor descends its value"),
    ),
    *faults_in(
        "digideep/agent/ddpg.py",
        _RESTORED,
        ('        self.noise.load_state_dict(state["noise"])\n', "", "the noise is not restored"),
        ('self.target_actor.flat.copy_(state["target_actor"])', "pass", "the target actor is not restored"),
        ('self.actor_step.load_state_dict(state["actor_optimizer"])', "pass", "the actor's optimizer is not restored"),
    ),
    *faults_in(
        "digideep/agent/ddpg.py",
        _NEW_RUN,
        ("self.target_actor.renew()", "pass", "the target actor of a new run is the untrained one"),
    ),
    *faults_in(
        "digideep/agent/ddpg.py",
        _DETERMINISTIC,
        ("actions if deterministic else self.noise", "self.noise", "deterministic actions are noisy"),
    ),
    *faults_in(
        "digideep/agent/td3.py",
        _STEPS,
        (
            "noise = (noise * self.noise_std).clamp(-self.noise_clip, self.noise_clip)",
            "noise = noise * self.noise_std",
            "the targets' noise is not clipped",
        ),
        ("noise = (noise * self.noise_std)", "noise = noise", "the targets' noise is not scaled"),
        ("+ noise).clamp(-1, 1)", "+ noise)", "target actions leave the range"),
        (".amin(0)", ".mean(0)", "the mean of the critics for the least"),
        ("(self.n_updates + 1) % self.policy_delay", "self.n_updates % self.policy_delay", "the delay is off by one"),
        ("actor(observations), 1)", "actor(observations))", "the actor listens to both critics"),
        ("(batch, self.target_actor.network,", "(batch, self.actor_step.frozen,", "targets by the actor that learns"),
        (
            "            self.target_critics.update()",
            "        self.target_critics.update()\n        if is_actor_due:",
            "target critics follow with every step",
        ),
    ),
    *faults_in(
        "digideep/agent/td3.py",
        _RESTORED,
        ('self._actor_metrics.copy_(state["actor_metrics"])', "pass", "metrics of the actor are not restored"),
    ),
    *faults_in(
        "digideep/agent/sac.py",
        _STEPS,
        (".amin(0) - alpha * log_p", ".amin(0) + alpha * log_p", "targets punish entropy"),
        (
            "critics(observations, actions).amin(0)).mean()",
            "critics(observations, actions).mean(0)).mean()",
            "the actor listens to the mean of the critics",
        ),
        ("-float(self.num_actions) if", "float(self.num_actions) if", "the entropy's target has the wrong sign"),
        ("(entropy - target_entropy)", "(target_entropy - entropy)", "alpha runs away from its target"),
        ("loss = 0.5 * (batch", "loss = (batch", "the half is left out"),
        (
            "self.target_critics.network, next_noise",
            "self.critic_step.frozen, next_noise",
            "targets by critics that learn",
        ),
        (
            "return self._learn(batch, self.draw_noise(size), self.draw_noise(size), is_due)",
            "return self._learn(batch, *[self.draw_noise(size)] * 2, is_due)",
            "one noise for both observations",
        ),
        ("(self.n_updates + 1) % self.target", "self.n_updates % self.target", "the interval is off by one"),
        ("(self.alpha_step, lr_alpha)", "(self.alpha_step, lr_actor)", "alpha has the actor's learning rate"),
        ("self.alpha_step.flat.exp()[0]", "self.alpha_step.flat[0]", "the logarithm of alpha for alpha"),
        ("-log_p.mean()]", "log_p.mean()]", "the entropy's sign"),
    ),
    *faults_in(
        "digideep/agent/sac.py",
        _RESTORED,
        (
            '        self.alpha_step.flat.copy_(state["log_alpha"])\n        self.target',
            "        self.target",
            "alpha is not restored",
        ),
        ('self.alpha_step.load_state_dict(state["alpha_optimizer"])', "pass", "alpha's optimizer is not restored"),
    ),
    *faults_in(
        "digideep/agent/sac.py",
        f"tests/agent/test_sac.py {_OFF_POLICY}an_entropy_coefficient_that_is_fixed_is_not_taken_from_another_run",
        ('if self.is_tuned and "log_alpha" in state', 'if "log_alpha" in state', "another run's alpha for a fixed one"),
        (
            "if self.is_tuned:\n            self.alpha_step.take",
            "if True:\n            self.alpha_step.take",
            "a fixed alpha is tuned",
        ),
        ("float(np.log(alpha))", "float(alpha)", "alpha begins at its exponential"),
    ),
    *faults_in(
        "digideep/agent/dqn.py",
        _STEPS,
        ("(batch, self.critic_step.frozen,", "(batch, self.target_critic.network,", "the target chooses for itself"),
        ("(self.n_updates + 1) % self.target", "self.n_updates % self.target", "the interval is off by one"),
        ("critic_loss, rule, max_grad_norm=max_grad_norm)", "critic_loss, rule)", "gradients are not clipped"),
        ("self.lr(self.n_updates))", "self.lr(0))", "the learning rate stays what it was"),
        ("huber_loss(values, targets", "huber_loss(values / 2, targets / 2", "errors are measured by half"),
    ),
    *faults_in(
        "digideep/agent/dqn.py",
        "tests/agent/test_spaces.py",
        (
            "~batch.next_allowed & batch.next_allowed.any(-1, keepdim=True)",
            "~batch.next_allowed",
            "an observation that allows nothing takes the first action's value",
        ),
        ("self.memory.n_frames, allowed)}", "self.memory.n_frames)}", "random actions ignore the mask"),
    ),
    *faults_in(
        "digideep/agent/dqn.py",
        "tests/agent/test_base.py",
        ("planned_frames=self.plan.frames", "planned_frames=self.planned_steps", "epsilon's plan counts steps"),
        ("Course(lr, self.planned_steps)", "Course(lr, self.plan.frames)", "the learning rate's plan counts frames"),
        ("lambda: self.memory.n_frames)", "lambda: self.n_updates)", "epsilon's clock counts steps"),
    ),
    *faults_in(
        "digideep/agent/noises.py",
        "tests/agent/test_noises.py",
        ("(actions + noise).clip(-1, 1)", "actions + noise", "noisy actions leave the range"),
        ("self._level[~masks] = 0", "self._level[masks] = 0", "the noise begins anew within episodes"),
        ("noise - np.float32(self.theta) * self._level", "noise + np.float32(self.theta) * self._level", "drift grows"),
        ('self._level = np.array(state["level"])', "pass", "the drift is not restored"),
        ("< self.epsilon(frames)", "< self.epsilon(0)", "epsilon stays at its start"),
        ("< self.epsilon(frames)", "> self.epsilon(frames)", "epsilon is the share of greedy actions"),
        ("(self.num_actions, size", "(self.num_actions - 1, size", "the last action is never random"),
    ),
    *faults_in(
        "digideep/agent/off_policy.py",
        _BATCH,
        ('chunk[key + "_2"]', "chunk[key]", "the next observation is the same one"),
        ('chunk[ACTION_MASK + "_2"]', "chunk[ACTION_MASK]", "the mask of the observation before"),
        ('"gamma": gamma', '"gamma": 1.0', "nothing is discounted"),
    ),
    *faults_in(
        "digideep/agent/off_policy.py",
        _MEANS,
        ("total / steps for", "total for", "sums for means"),
        ("                self.n_updates += 1", "            self.n_updates += 1", "an update counts as one step"),
    ),
    *faults_in(
        "digideep/agent/off_policy.py",
        _PRIORITISED,
        ("self.sampler.note_errors(errors)", "pass", "priorities never learn an error"),
        ("self.sampler.note_errors(errors)", "self.sampler.note_errors(-errors)", "errors are noted with a sign"),
    ),
    *faults_in(
        "digideep/agent/ppo.py",
        _PPO,
        ("- entropy_coef * entropy", "+ entropy_coef * entropy", "entropy is punished"),
        ("torch.minimum(ratio * advantages", "torch.maximum(ratio * advantages", "the better of both for the worse"),
        ("(advantages - mean(advantages)) /", "advantages /", "advantages keep their mean"),
        ("value_errors = torch.maximum", "value_errors = torch.minimum", "the smaller of both errors"),
        ("approx_kl = mean(ratio - 1 - log_ratio)", "approx_kl = mean(-log_ratio)", "another estimator"),
        ("(totals - before)[", "totals[", "the divergence of all epochs"),
        ("mean_kl > 1.5 * self.target_kl", "mean_kl > self.target_kl", "the factor is left out"),
        ("self.step(lr, data", "self.step(self.lr(0), data", "the learning rate stays what it was"),
        (
            "torch.tensor(self.clip_param(self.n_updates)",
            "torch.tensor(self.clip_param(0)",
            "the clip stays what it was",
        ),
        ("else num_workers * (length - 1)\n", "else num_workers * length\n", "minibatches have a row too many"),
        ("if epoch and self.recompute_advantages", "if epoch", "advantages are always computed anew"),
        ("data.returns[used], data.values[used]", "data.returns, data.values", "half-steps explain variance"),
        ("/ num_steps).tolist()", "/ len(order)).tolist()", "sums over epochs for means"),
        ("max_grad_norm=max_grad_norm,", "max_grad_norm=None,", "gradients are not clipped"),
        ("for value in (lr, clip_param)", "for value in (lr, lr)", "clip_param is the learning rate"),
        ("Adam, eps=1e-5", "Adam", "the published eps is left out"),
        ("order = generator.permutation(rows)", "order = rows", "rows are not shuffled"),
        ("value_loss = 0.5 * mean", "value_loss = mean", "the half is left out"),
        ("entropy_coef=entropy_coef,", "entropy_coef=0.0,", "the coefficient is left out"),
        ("-clip_param, clip_param)\n        value", "-1.0, 1.0)\n        value", "values are clipped to another range"),
        (
            "data = self.estimate(chunk, data, self._values(data, num_workers))",
            "data = self.estimate(chunk, data, data.values)",
            "advantages of later epochs by old values",
        ),
    ),
    *faults_in(
        "digideep/agent/ppo.py",
        "tests/agent/test_ppo.py",
        (
            "self.generator, deterministic)\n            return",
            "self.generator, False)\n            return",
            "deterministic actions are drawn",
        ),
        ('self.step.load_state_dict(state["optimizer"])', "pass", "the optimizer is not restored"),
    ),
    *faults_in(
        "digideep/agent/ppo.py",
        "tests/agent/test_base.py",
        ("Course(value, self.plan.n_cycles)", "Course(value, self.plan.frames)", "schedules count frames"),
    ),
    *faults_in(
        "digideep/agent/ppo.py",
        f"{_RECURRENT}rows_without_a_transition_count_in_no_part_of_the_loss",
        ("weights = masks / masks.sum().clamp(min=1)", "weights = masks / masks.numel()", "half-steps count in means"),
        ("(masks.sum() - 1)", "(masks.sum())", "a deviation divided by the number of all"),
    ),
    *faults_in(
        "digideep/agent/ppo.py",
        f"{_RECURRENT}the_ratio_is_one_before_the_first_step_also_within_episodes "
        f"{_RECURRENT}values_along_the_chunk_are_those_of_acting_the_last_row_included",
        ("data.states[rows[:, 0]]", "data.states[rows[:, -1]]", "sequences begin with their last state"),
        (
            "self.policy.value(observations, states[:, 0], masks)",
            "self.policy.value(observations, states[:, -1], masks)",
            "values begin with the last state",
        ),
        (
            "            masks[:, -1] = False  # no step",
            "            # no step",
            "the row of the chunk's half-step counts",
        ),
    ),
    *faults_in(
        "digideep/agent/ppo.py",
        "tests/agent/test_spaces.py::test_behind_a_shared_encoder_ppo_knows_the_values_from_acting",
        ("* length - 1\n", "* length - 2\n", "the bootstrap is the value of the row before"),
    ),
)
