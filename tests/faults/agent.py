"""Deliberate faults in what all agents share, and in replay methods."""

from tests.faults.runner import faults_in

_STEPS = "tests/agent/test_steps_by_hand.py::test_learning_steps_are_those_of_the_algorithm_written_out"
_OFF_POLICY = "tests/agent/test_off_policy.py::test_"
_RESTORED = f"{_OFF_POLICY}a_restored_agent_goes_on_exactly"
_NEW_RUN = f"{_OFF_POLICY}a_new_run_begins_with_the_networks_of_another_and_targets_like_them"
_DETERMINISTIC = f"{_OFF_POLICY}deterministic_actions_draw_nothing_and_stay_within_the_range"
_BATCH = f"{_OFF_POLICY}a_batch_holds_what_the_memory_holds_of_its_transitions"
_MEANS = f"{_OFF_POLICY}an_update_reports_the_means_of_its_steps_and_counts_them"
_PRIORITISED = f"{_OFF_POLICY}prioritised_replay_learns_which_transitions_surprise"
_MASKED = "tests/agent/test_spaces.py::test_dqn_takes_the_best_and_random_ones_of_the_allowed_actions"

FAULTS = (
    *faults_in(
        "digideep/agent/base.py",
        "tests/agent/test_base.py",
        ('"agent", self.name, "weights"', '"agent", "weights"', "agents share their first weights"),
        ('derive_seed(self.seed, "agent", self.name, "act")', "0", "actions do not depend on the seed"),
        (
            'make_generator(self.seed, "agent", self.name, "sample")',
            'make_generator(self.seed, "agent", "sample")',
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
        ("self.parts[name] = part", "pass", "what is registered is neither saved nor restored"),
        ("part.load_state_dict(state[name])", "pass", "what is registered is saved, but not restored"),
        ('self.n_updates = state["n_updates"]', "pass", "steps are counted from 0 again"),
        ('self.generator.set_state(state["generator"])', "pass", "the generator is not restored"),
        ('set_generator_state(self.numpy_generator, state["numpy_generator"])', "pass", "numpy's is not restored"),
    ),
    *faults_in(
        "digideep/agent/base.py",
        _NEW_RUN,
        ('self.policy.load_state_dict(state["policy"])', "pass", "a new run begins with networks of its own"),
        ("                part.renew()", "                pass", "targets of a new run are the untrained ones"),
    ),
    *faults_in(
        "digideep/agent/ddpg.py",
        _STEPS,
        ("        self.target_actor.update()\n", "", "the target actor is never updated"),
        (".amin(0)", ".mean(0)", "the mean of the critics for the least"),
        (
            "(following, self.target_actor.network,",
            "(following, self.actor_step.frozen,",
            "targets by the actor that learns",
        ),
        (
            "self.target_actor.network, self.target_critics.network)",
            "self.target_actor.network, self.critic_step.frozen)",
            "targets by the critic that learns",
        ),
        (
            "(batch.observations), self.critic_step.frozen",
            "(batch.observations), self.target_critics.network",
            "the actor listens to the target critic",
        ),
        ("self.critic_loss, lr_critic)", "self.critic_loss, lr_actor)", "the critic has the actor's learning rate"),
        ("(batch.weights * errors.square())", "errors.square()", "weights of a batch are left out"),
        ("loss = -critics", "loss = critics", "the actor descends its value"),
    ),
    *faults_in(
        "digideep/agent/ddpg.py",
        _RESTORED,
        (
            'self.make_target("target_actor", self.actor_step,',
            'self.make_target("target_critics", self.actor_step,',
            "one target takes the other's name",
        ),
    ),
    *faults_in(
        "digideep/agent/ddpg.py",
        "tests/agent/test_deterministic_methods.py::test_td3s_actor_listens_to_the_first_critic",
        ("actor(observations), 1)", "actor(observations))", "the actor listens to both critics"),
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
        (
            "(following, self.target_actor.network,",
            "(following, self.actor_step.frozen,",
            "targets by the actor that learns",
        ),
        (
            "        if is_target_due:\n            self.move_targets()\n        return pack(metrics), errors",
            "        self.move_targets()\n        return pack(metrics), errors",
            "targets follow with every step",
        ),
        ("self.is_due(self.policy_delay)", "True", "the actor learns with every step"),
        (
            "return pack(metrics)",
            'return pack({"critic_loss": metrics["critic_loss"]})',
            "metrics of the actor get lost",
        ),
    ),
    *faults_in(
        "digideep/agent/sac.py",
        _STEPS,
        (".amin(0) - alpha * log_p", ".amin(0) + alpha * log_p", "targets punish entropy"),
        (
            "if by_mean else values.amin(0)",
            "if by_mean else values.mean(0)",
            "the actor listens to the mean of the critics",
        ),
        (
            "return -float(self.action_space",
            "return float(self.action_space",
            "the entropy's target has the wrong sign",
        ),
        ("(entropy - target_entropy)", "(target_entropy - entropy)", "alpha runs away from its target"),
        ("loss = 0.5 * (batch", "loss = (batch", "the half is left out"),
        (
            "else self.target_critics.network",
            "else self.critic_step.frozen",
            "targets by critics that learn",
        ),
        (
            "[self.draw_noise(batch.actions.shape) for _ in range(2)]",
            "[self.draw_noise(batch.actions.shape)] * 2",
            "one noise for both observations",
        ),
        ("self.is_due(self.target_update_interval)", "True", "targets follow with every step"),
        ("alpha_loss, lr_alpha)", "alpha_loss, lr_actor)", "alpha has the actor's learning rate"),
        ("self.alpha_step.flat.exp()[0]", "self.alpha_step.flat[0]", "the logarithm of alpha for alpha"),
        ("entropy = -log_p.mean()", "entropy = log_p.mean()", "the entropy's sign"),
    ),
    *faults_in(
        "digideep/agent/sac.py",
        _RESTORED,
        (
            'self.register("log_alpha", Scalar(math.log(alpha)).to(self.device))',
            "Scalar(math.log(alpha)).to(self.device)",
            "alpha is not restored",
        ),
    ),
    *faults_in(
        "digideep/agent/sac.py",
        f"tests/agent/test_sac.py {_OFF_POLICY}an_entropy_coefficient_that_is_fixed_is_not_taken_from_another_run "
        f"{_OFF_POLICY}an_entropy_coefficient_that_is_tuned_goes_on_from_another_run_and_its_optimizer_does_not",
        ('if self.is_tuned and "log_alpha" in state', 'if "log_alpha" in state', "another run's alpha for a fixed one"),
        ('self.log_alpha.load_state_dict(state["log_alpha"])', "pass", "a tuned alpha begins anew with other weights"),
        ("super().load_weights(state)", "self.load_state_dict(state)", "a new run goes on with another's optimizers"),
        (
            "if self.is_tuned:\n                self.alpha",
            "if True:\n                self.alpha",
            "a fixed alpha is tuned",
        ),
        ("math.log(alpha)", "float(alpha)", "alpha begins at its exponential"),
    ),
    *faults_in(
        "digideep/agent/dqn.py",
        _STEPS,
        (
            "(batch, self.critic_step.frozen,",
            "(batch, self.target_critic.network,",
            "the target chooses for itself",
        ),
        ("self.is_due(self.target_update_interval)", "True", "the target follows with every step"),
        ('rate="lr", max_grad_norm=max_grad_norm', 'rate="lr"', "gradients are not clipped"),
        ("huber_loss(values, targets", "huber_loss(values / 2, targets / 2", "errors are measured by half"),
    ),
    *faults_in(
        "digideep/agent/dqn.py",
        "tests/agent/test_spaces.py",
        (
            "~allowed & allowed.any(-1, keepdim=True)",
            "~allowed",
            "an observation that allows nothing takes the first action's value",
        ),
    ),
    *faults_in(
        "digideep/agent/dqn.py",
        "tests/agent/test_base.py",
        ("planned_frames=self.plan.frames", "planned_frames=self.planned_steps", "epsilon's plan counts steps"),
    ),
    *faults_in(
        "digideep/agent/off_policy.py",
        "tests/agent/test_base.py",
        ("lambda: self.memory.n_frames)", "lambda: self.n_updates)", "epsilon's clock counts steps"),
    ),
    *faults_in(
        "digideep/agent/noises.py",
        "tests/agent/test_noises.py",
        ("np.clip(actions + noise, -1, 1)", "actions + noise", "noisy actions leave the range"),
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
        ('self._seen(chunk, "_2")', "self._seen(chunk)", "the next observation is the same one"),
        ('for end in ("_2", "")', 'for end in ("", "_2")', "the mask of the observation before"),
        ('"gamma": gamma', '"gamma": 1.0', "nothing is discounted"),
    ),
    *faults_in(
        "digideep/agent/off_policy.py",
        _MEANS,
        ("                self.n_updates += 1\n", "                self.n_updates += 2\n", "a step counts as two"),
        ("means.add(metrics)", "means = Means(); means.add(metrics)", "the last step's metrics for the means"),
    ),
    *faults_in(
        "digideep/agent/off_policy.py",
        _STEPS,
        ("(self.n_updates + 1) % interval", "self.n_updates % interval", "what is due comes a step early"),
        (
            "self._rule, max_grad_norm=max_grad_norm)",
            "self._rule)",
            "gradients are not clipped",
        ),
    ),
    *faults_in(
        "digideep/agent/off_policy.py",
        f"{_OFF_POLICY}an_update_does_what_is_due_after_each_of_its_steps_before_it_counts_it "
        f"{_OFF_POLICY}each_step_of_an_update_has_the_learning_rate_of_its_number",
        ("                    self.after_step()\n", "", "what is due after a step is never done"),
        (
            "self.after_step()\n                    means",
            "(self.n_updates % 2 or self.after_step())\n                    means",
            "it is done after every second one",
        ),
        ("step.set_lr(course(self.n_updates))", "step.set_lr(course(0))", "the learning rate stays what it was"),
        ("for step, course in self._rates:", "for step, course in self._rates[1:]:", "a network has no learning rate"),
    ),
    *faults_in(
        "digideep/agent/off_policy.py",
        _RESTORED,
        ('self.register(f"{name}_optimizer", step)', "step", "optimizers are not restored"),
        (
            "self.register(name, TargetNetwork(step, polyak_factor))",
            "TargetNetwork(step, polyak_factor)",
            "targets are not restored",
        ),
        ('self.register("noise", noise)', "noise", "the noise is not restored"),
    ),
    *faults_in(
        "digideep/agent/off_policy.py",
        f"{_OFF_POLICY}a_restored_agent_owes_the_fraction_of_a_step_that_it_owed",
        ('self.register("sampler", self.sampler)', "pass", "the fraction of a step that is due is not restored"),
    ),
    *faults_in(
        "digideep/agent/off_policy.py",
        f"{_DETERMINISTIC} {_MASKED}",
        ("self.noise is not None and not deterministic", "self.noise is not None", "deterministic actions are noisy"),
        (
            "self.memory.n_frames, self.allowed(observations))",
            "self.memory.n_frames)",
            "random actions ignore the mask",
        ),
    ),
    *faults_in(
        "digideep/agent/off_policy.py",
        "tests/agent/test_base.py",
        (
            "self.schedule(rate, lr, self.planned_steps)",
            "self.schedule(rate, lr, self.plan.frames)",
            "the learning rate's plan counts frames",
        ),
    ),
    *faults_in(
        "digideep/agent/off_policy.py",
        _PRIORITISED,
        ("self.sampler.note_errors(errors)", "pass", "priorities never learn an error"),
        ("self.sampler.note_errors(errors)", "self.sampler.note_errors(-errors)", "errors are noted with a sign"),
    ),
)
