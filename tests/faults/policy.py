"""Deliberate faults in `digideep/policy`."""

from tests.faults.runner import faults_in

_ACTING = "tests/policy/test_acting.py::test_"
_SPREAD = f"{_ACTING}the_spread_is_limited_alike_in_numpy_in_torch_and_when_learning"
_BY_NUMPY = f"{_ACTING}a_stochastic_policy_acts_by_numpy_as_by_torch"
_MODES = (
    f"{_ACTING}the_mode_is_what_a_policy_does_without_noise_and_its_value_the_least_of_the_critics "
    f"{_ACTING}the_mode_of_action_values_is_the_best_that_is_allowed"
)
_DUELING = "tests/agent/test_deterministic_methods.py::test_a_dueling_network_adds_the_value_to_advantages_of_mean_zero"
_SAC = "tests/agent/test_sac.py::test_the_log_probability_is_that_of_torch_distributions"
_DISTRIBUTIONS = "tests/policy/test_distributions.py"
_NETWORKS = "tests/policy/test_networks.py"
_ENCODERS = "tests/policy/test_encoders.py"
_RECURRENT = "tests/policy/test_recurrent.py"
_STATE = "tests/policy/test_recurrent.py::test_outputs_states_and_gradients_are_those_of_torch"
_SPACES = "tests/agent/test_spaces.py::test_ppo_chooses_and_learns_under_the_mask"

FAULTS = (
    *faults_in(
        "digideep/policy/acting.py",
        _SPREAD,
        ("np.exp(log_std.clip(*LOG_STD_RANGE))", "np.exp(log_std)", "numpy does not limit the spread"),
    ),
    *faults_in(
        "digideep/policy/acting.py",
        _BY_NUMPY,
        ("(log_probs - np.log(noise))", "(log_probs + np.log(noise))", "rare actions are drawn often"),
        ("z * z - log_std - np", "z * z - np", "the density forgets the spread"),
        (
            "if deterministic:\n            actions = log_probs",
            "if False:\n            actions = log_probs",
            "deterministic actions are drawn",
        ),
        (
            "if deterministic:\n            actions = mean",
            "if False:\n            actions = mean",
            "deterministic vectors are drawn",
        ),
        ("np.maximum(h, 0, out=h)", "np.maximum(h, -1, out=h)", "another rectifier"),
    ),
    *faults_in(
        "digideep/policy/acting.py",
        f"{_ACTING}what_was_learned_shows_in_the_next_action_and_actions_are_the_callers_own "
        f"{_ACTING}what_has_no_counterpart_is_left_to_torch "
        f"{_ACTING}agents_act_with_the_parameters_that_they_learn",
        ("actions = mean.copy()", "actions = mean", "the next call overwrites the actions"),
        (
            "type(policy) is not StochasticPolicy",
            "not isinstance(policy, StochasticPolicy)",
            "a subclass's own way to act is passed over",
        ),
        (
            "return parameter.detach().numpy()",
            "return parameter.detach().numpy().copy()",
            "acting by the weights of the start",
        ),
        (
            "self._steps.append((_array(layer.weight)[0], _array(layer.bias)[0]))",
            "self._steps.append((_array(layer.weight)[0].copy(), _array(layer.bias)[0]))",
            "acting by the first weights",
        ),
    ),
    *faults_in(
        "digideep/policy/continuous.py",
        _SPREAD,
        (
            "noise * log_std.clamp(*LOG_STD_RANGE).exp()",
            "noise * log_std.exp()",
            "torch does not limit the spread in acting",
        ),
        ("        log_std = log_std.clamp(*LOG_STD_RANGE)\n", "", "nor in learning"),
        ("LOG_STD_RANGE = (-20.0, 2.0)", "LOG_STD_RANGE = (-5.0, 2.0)", "another limit of the spread"),
    ),
    *faults_in(
        "digideep/policy/continuous.py",
        _SAC,
        (
            "- _HALF_LOG_TWO_PI - log_slope",
            "- _HALF_LOG_TWO_PI + log_slope",
            "the squashing's slope with the wrong sign",
        ),
        ("softplus(-2 * raw)", "softplus(2 * raw)", "the slope of the mirrored action"),
        ("noise * noise - log_std - _HALF", "noise * noise - _HALF", "the density forgets the spread"),
    ),
    *faults_in(
        "digideep/policy/continuous.py",
        _MODES,
        (
            "Choice(actions, self.critics(observations, actions).amin(0))",
            "Choice(actions, self.critics(observations, actions).mean(0))",
            "the mean of the critics for the least",
        ),
        (
            "return torch.tanh(self._moments(observations)[0])",
            "return self._moments(observations)[0]",
            "the mode is not squashed",
        ),
    ),
    *faults_in(
        "digideep/policy/continuous.py",
        f"{_ENCODERS}::test_continuous_policies_give_the_actor_and_the_critics_an_encoder_each "
        f"{_ACTING}a_policy_computes_each_of_its_networks_in_the_precision_that_it_is_given",
        (
            "trunk, precision)\n        trunk, size = make_trunk(observation_space, generator, encoder)",
            "trunk, precision)",
            "actor and critics share an encoder",
        ),
        (
            "activation, generator, trunk, precision\n        )",
            "activation, generator, trunk\n        )",
            "critics ignore the precision",
        ),
    ),
    *faults_in(
        "digideep/policy/discrete.py",
        f"{_MODES} {_DUELING}",
        (" - advantages.mean(-1, keepdim=True)", "", "advantages keep their mean"),
        ("advantages.mean(-1, keepdim=True)", "advantages.mean(0, keepdim=True)", "the mean over the batch"),
        ("values.amax(-1))", "values.mean(-1))", "the mean value for the best"),
        (
            "return values if allowed is None else values.masked_fill(~allowed, -math.inf)",
            "return values",
            "the mask is ignored",
        ),
        ("masked_fill(~allowed", "masked_fill(allowed", "the mask is turned"),
    ),
    *faults_in(
        "digideep/policy/distributions.py",
        _DISTRIBUTIONS,
        ("(self.log_probs - noise.log())", "(self.log_probs - noise)", "other noise than Gumbel's"),
        ("(self.logits > 0).long()", "(self.logits > 0.5).long()", "log-odds are taken for chances"),
        ("(self.log_std + 0.5 + _HALF", "(self.log_std + _HALF", "the entropy lacks a half"),
        (
            "zip(self.parts, actions.unbind(-1), strict=True)]).sum(0)",
            "zip(self.parts, actions.unbind(-1), strict=True)]).mean(0)",
            "the mean over components",
        ),
        (
            "[part.entropy() for part in self.parts]).sum(0)",
            "[part.entropy() for part in self.parts]).mean(0)",
            "the mean entropy",
        ),
        ("masked_fill(~allowed, -1e8)", "masked_fill(~allowed, -10.0)", "what is forbidden is only unlikely"),
        (
            "(on * logsigmoid(self.logits) + (1 - on) * logsigmoid(-self.logits))",
            "(on * logsigmoid(self.logits))",
            "half of the entropy",
        ),
        (
            "0.01, generator)\n        self.log_std",
            "1.0, generator)\n        self.log_std",
            "a Gaussian policy starts with large actions",
        ),
        ("sum(sizes), 0.01, generator)", "sum(sizes), 1.0, generator)", "several choices start with opinions"),
        ("float(log_std_init))", "0.0)", "the spread of the start is ignored"),
        ("in_features), gain, generator", "in_features), 1.0, generator", "gains are ignored"),
        ("gain, generator=generator)", "gain)", "weights come from the global generator"),
        (
            "noise = torch.randn(self.mean.shape, generator=generator,",
            "noise = torch.randn(self.mean.shape,",
            "noise from the global generator",
        ),
        (
            "self.mean + noise * self.log_std.exp()",
            "self.mean + noise * self.log_std.exp().square()",
            "the variance for the deviation",
        ),
        (
            "(noise < self.logits.sigmoid())",
            "(noise > self.logits.sigmoid())",
            "switches are drawn the other way round",
        ),
    ),
    *faults_in(
        "digideep/policy/networks.py",
        f"{_NETWORKS} {_DISTRIBUTIONS}",
        ("limit = 1 / math.sqrt(in_features)", "limit = 1 / math.sqrt(out_features)", "the initial limit by outputs"),
        ("-limit, limit, generator", "0, limit, generator", "initial weights are positive"),
        ("else len(self) - 1", "else len(self)", "the last layer is rounded"),
        ("layers if is_last_active else layers[:-1]", "layers[:-1]", "no activation after a last layer"),
        ("size, math.sqrt(2), generator)", "size, 1.0, generator)", "the gain of hidden layers"),
        (
            "self.weight[:num], self.bias[:num]",
            "self.weight[-(num or 0):], self.bias[-(num or 0):]",
            "the last networks for the first",
        ),
    ),
    *faults_in(
        "digideep/policy/networks.py",
        f"{_ACTING}the_compiled_tanh_is_the_tangent_and_so_is_its_gradient",
        ("(1 - y * y) * (x", "(1 + y * y) * (x", "the compiled tangent's slope"),
        (".clamp(-_TANH_LIMIT, _TANH_LIMIT)", "", "the formula beyond its range"),
    ),
    *faults_in(
        "digideep/policy/observations.py",
        _ENCODERS,
        ("np.arange(size) + start for", "np.arange(size) for", "choices are counted from 0"),
        (
            "if self.is_scaled and not x.is_floating_point() else",
            "if self.is_scaled else",
            "normalised bytes are divided again",
        ),
        ("self.paths = list(spaces)", "self.paths = sorted(spaces)", "observations are joined in another order"),
        ("torch.tensor(1 / divisor", "torch.tensor(1 / divisor.max()", "all bytes are divided by the largest bound"),
    ),
    *faults_in(
        "digideep/policy/recurrent.py",
        _RECURRENT,
        ("keep[:, 1:] = masks[:, :-1]", "keep[:, 1:] = masks[:, 1:]", "the state is zeroed a row early"),
        (
            "self.value_head(outputs[-1]).squeeze(-1), state\n",
            "self.value_head(outputs[0]).squeeze(-1), state\n",
            "the value comes from the actor's memory",
        ),
        (
            "self.value_head(outputs[-1]).squeeze(-1), state)",
            "self.value_head(outputs[0]).squeeze(-1), state)",
            "so does the exported one",
        ),
        (
            "distribution, _, state = self.walk(observations, state, masks, allowed)",
            "distribution, _, state = self.walk(observations, state, masks)",
            "acting ignores the mask",
        ),
        (
            "Choice(self.head(outputs[0], allowed).mode()",
            "Choice(self.head(outputs[0]).mode()",
            "the mode ignores the mask",
        ),
    ),
    *faults_in(
        "digideep/policy/recurrent.py",
        "tests/policy/test_distributions.py::test_every_policy_starts_near_indifference_with_the_spread_that_is_asked_for",
        ("core_size, generator, log_std_init)", "core_size, generator, 0.0)", "the spread of the start is ignored"),
        ("orthogonal_linear(core_size, 1, 1.0", "orthogonal_linear(core_size, 1, 0.01", "the value's gain"),
    ),
    *faults_in(
        "digideep/policy/stochastic.py",
        f"{_SPACES} {_DISTRIBUTIONS} {_ACTING}the_mode_of_a_stochastic_policy_is_its_deterministic_act",
        (
            "Choice(self.head(self.actor(features), allowed).mode()",
            "Choice(self.head(self.actor(features)).mode()",
            "the mode ignores the mask",
        ),
        (
            "encode(self.encoder, observations)\n        distribution = self.head(self.actor(features), allowed)",
            "encode(self.encoder, observations)\n        distribution = self.head(self.actor(features))",
            "learning ignores the mask",
        ),
        ("orthogonal_linear(last, 1, 1.0", "orthogonal_linear(last, 1, 0.01", "the value's gain"),
        (
            "distribution.mode() if deterministic else distribution.sample(generator)",
            "distribution.sample(generator)",
            "the mode is drawn",
        ),
    ),
    *faults_in(
        "digideep/policy/cell_passes.py",
        _STATE,
        ("flat_t, transposed).mul_(keep_t)", "flat_t, transposed)", "a GRU's gradient passes the end of an episode"),
        ("carry_c.mul_(f_t).mul_(keep_t)", "carry_c.mul_(f_t)", "so does that of an LSTM's cell"),
        ("torch.mul(c, keep_t, out=cell_t)", "cell_t.copy_(c)", "the cell outlives the episode"),
        ("gates_of_all[..., 2 * size :]", "gates_of_all[..., :size]", "the bias has another gate's gradient"),
        ("(before - candidates) * z", "(candidates - before) * z", "the gate that keeps learns the opposite"),
    ),
    *faults_in(
        "digideep/policy/cells.py",
        f"{_RECURRENT}::test_weights_come_from_the_generator_and_a_cell_starts_by_remembering "
        f"{_RECURRENT}::test_the_step_that_is_exported_is_that_of_a_walk",
        (
            "self.bias_in.data[..., size : 2 * size] = 1.0",
            "self.bias_in.data[..., :size] = 1.0",
            "another gate begins open",
        ),
        ("x_n + r * torch.baddbmm", "x_n + torch.baddbmm", "the exported GRU does not reset"),
        ("i, f, o, g = torch.baddbmm", "i, f, g, o = torch.baddbmm", "the exported LSTM's gates are exchanged"),
        (
            "nn.init.orthogonal_(matrix, generator=generator)",
            "nn.init.orthogonal_(matrix)",
            "weights come from the global generator",
        ),
        ("(torch.lerp(n, h, z),)", "(torch.lerp(h, n, z),)", "the exported GRU forgets what it should keep"),
    ),
    *faults_in(
        "digideep/policy/networks.py",
        _ENCODERS,
        ("self.second(relu(self.first(relu(x))))", "self.second(relu(self.first(x)))", "a rectifier is left out"),
        ("1 / math.sqrt(6), generator)", "math.sqrt(2), generator)", "residual blocks begin large"),
    ),
    *faults_in(
        "digideep/policy/encoders.py",
        _ENCODERS,
        ("(breadth + 1) // 2, 1.0", "(breadth + 1) // 2, scale", "every group divides by 255"),
        (
            "return relu(self.linear(self.convolutions",
            "return (self.linear(self.convolutions",
            "features of NatureCNN are negative too",
        ),
        ("images.movedim(-1, -3)", "images.transpose(-1, -3)", "images are turned on their side"),
        (
            "self.linear(relu(self.groups(planes)).flatten(1))",
            "self.linear(self.groups(planes).flatten(1))",
            "the last rectifier is left out",
        ),
        (
            "features.append(self.vector(self.flatten(by_path)))",
            "features.append(self.flatten(by_path))",
            "the vector's layers are passed over",
        ),
        (
            "if len(features) == 1 else torch.cat(features, -1)",
            "if len(features) == 1 else torch.cat(features[::-1], -1)",
            "images stand before vectors",
        ),
        ("joined if self.last is None else self.last(joined)", "joined", "the joint layer is passed over"),
        ("self.scale = 1 / divisor", "self.scale = 1 / 255", "all images are divided by 255"),
    ),
)
