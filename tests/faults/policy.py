"""Deliberate faults in the policies of `digideep/policy`."""

from tests.faults.runner import faults_in

_ACTING = "tests/policy/test_acting.py::test_"
_SPREAD = f"{_ACTING}the_spread_is_limited_alike_in_numpy_in_torch_and_when_learning"
_BY_NUMPY = f"{_ACTING}a_stochastic_policy_acts_by_numpy_as_by_torch"
_MODES = (
    f"{_ACTING}the_mode_is_what_a_policy_does_without_noise_and_its_value_the_least_of_the_critics "
    f"{_ACTING}of_critics_with_several_outputs_the_mode_takes_the_least_mean "
    f"{_ACTING}the_mode_of_action_values_is_the_best_that_is_allowed"
)
_OWN_WAYS = (
    f"{_ACTING}a_subclass_that_acts_in_another_way_has_no_fast_one_unless_it_says_so "
    f"{_ACTING}a_subclass_with_more_to_it_keeps_the_fast_way "
    f"{_ACTING}no_subclass_gets_a_fast_way_that_is_not_its_own "
    f"{_ACTING}networks_that_compute_in_another_way_have_no_fast_one"
)
_DUELING = "tests/agent/test_deterministic_methods.py::test_a_dueling_network_adds_the_value_to_advantages_of_mean_zero"
_SAC = "tests/agent/test_sac.py::test_the_log_probability_is_that_of_torch_distributions"
_DISTRIBUTIONS = "tests/policy/test_distributions.py"
_ENCODERS = "tests/policy/test_encoders.py"
_RECURRENT = "tests/policy/test_recurrent.py"
_TRUNK = "        trunk, size = make_trunk(observation_space, generator, encoder)\n"
_SPACES = "tests/agent/test_spaces.py::test_ppo_chooses_and_learns_under_the_mask"

FAULTS = (
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
        ("np.maximum(x, 0, out=x)", "np.maximum(x, -1, out=x)", "another rectifier"),
    ),
    *faults_in(
        "digideep/policy/acting.py",
        f"{_ACTING}what_was_learned_shows_in_the_next_action_and_actions_are_the_callers_own "
        f"{_ACTING}what_has_no_counterpart_is_left_to_torch "
        f"{_ACTING}agents_act_with_the_parameters_that_they_learn",
        ("actions = mean.copy()", "actions = mean", "the next call overwrites the actions"),
        (
            ' and len(weight := _array(layer, "weight")) == 1:',
            ' and len(weight := _array(layer, "weight")):',
            "the first of several critics acts",
        ),
        (
            "return parameter.detach().numpy()",
            "return parameter.detach().numpy().copy()",
            "acting by the weights of the start",
        ),
        (
            "weight, bias = weight[0], _array",
            "weight, bias = weight[0].copy(), _array",
            "acting by the first weights",
        ),
    ),
    *faults_in(
        "digideep/policy/acting.py",
        _OWN_WAYS,
        (
            'return policy.fast_act() if place["fast_act"] <= place["act"] else None',
            "return policy.fast_act()",
            "a fast way that contradicts a subclass's `act`",
        ),
        ('place["fast_act"] <= place["act"]', 'place["fast_act"] < place["act"]', "a policy's own fast way is lost"),
        ("all(getattr(type(module), name) is getattr(cls, name) for name in methods)", "True", "overridden methods"),
        (
            "\n        and not (module._forward_hooks or module._forward_pre_hooks)",
            "",
            "hooks are passed over",
        ),
        ("module._forward_hooks or module._forward_pre_hooks", "module._forward_hooks", "hooks before a layer are"),
        ("module._forward_hooks or module._forward_pre_hooks", "module._forward_pre_hooks", "hooks after it are"),
        ("module._parameters.get(name)", "getattr(module, name)", "acting by a weight that is no parameter"),
    ),
    *faults_in(
        "digideep/policy/discrete.py",
        _OWN_WAYS,
        (
            'does_as(self, ActionValues, "forward", "judge")',
            "isinstance(self, ActionValues)",
            "values of one's own are passed over",
        ),
    ),
    *faults_in(
        "digideep/policy/continuous.py",
        _OWN_WAYS,
        ('(self, DeterministicActor, "forward", "act")', "(self, DeterministicActor)", "an actor's own ways are"),
        ('(self, DeterministicActor, "forward", "act")', '(self, DeterministicActor, "act")', "so is its own action"),
        (
            '(self, SquashedGaussianActor, "act", "_moments")',
            '(self, SquashedGaussianActor, "act")',
            "so are its own moments",
        ),
        (
            '(self, SquashedGaussianActor, "act", "_moments")',
            '(self, SquashedGaussianActor, "_moments")',
            "so is what it does with them",
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
        ("np.exp(log_std.clip(*LOG_STD_RANGE))", "np.exp(log_std)", "numpy does not limit the spread"),
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
        (" else values).amin(0)", " else values).mean(0)", "the mean of the critics for the least"),
        (
            "(values.mean(-1) if values.dim() == 3",
            "(values[..., 0] if values.dim() == 3",
            "the first output for the mean",
        ),
        ("*critic_hidden_sizes, critic_outputs]", "*critic_hidden_sizes, 1]", "critics say one number only"),
        (
            "return values.squeeze(-1) if values.shape[-1] == 1 else values\n\n\nclass StateValue",
            "return values[..., 0]\n\n\nclass StateValue",
            "critics say their first number",
        ),
        ("self.layers(x, num)", "self.layers(x)", "all critics answer where the first is asked"),
    ),
    *faults_in(
        "digideep/policy/continuous.py",
        f"{_ACTING}continuous_policies_act_by_numpy_as_by_torch",
        ("return torch.tanh(mean)\n", "return mean\n", "the mode is not squashed"),
        ("ArrayChoice(np.tanh(mean))", "ArrayChoice(mean)", "nor that of numpy"),
    ),
    *faults_in(
        "digideep/policy/continuous.py",
        f"{_ENCODERS}::test_continuous_policies_give_the_actor_and_the_critics_an_encoder_each "
        f"{_ACTING}a_policy_computes_each_of_its_networks_in_the_precision_that_it_is_given",
        (
            "critics_trunk, size = make_trunk(critic_space, generator, encoder)",
            "critics_trunk = trunk",
            "actor and critics share an encoder",
        ),
        (
            f"(network, self.network_class, **common)\n{_TRUNK}        critics_trunk",
            f"(network, self.network_class, **common | {{'precision': 'fp32'}})\n{_TRUNK}        critics_trunk",
            "rounded actors are exact",
        ),
        (
            "network_maker(critic_network or network, self.network_class, **common)",
            "network_maker(critic_network or network, self.network_class, **common | {'precision': 'fp32'})",
            "critics ignore the precision",
        ),
    ),
    *faults_in(
        "digideep/policy/discrete.py",
        f"{_MODES} {_DUELING}",
        (" - values.mean(-2, keepdim=True)", "", "advantages keep their mean"),
        ("values.mean(-2, keepdim=True)", "values.mean(1, keepdim=True)", "the mean over the batch"),
        ("values.amax(-1))", "values.mean(-1))", "the mean value for the best"),
        ("values if allowed is None else values.masked_fill(~allowed, -math.inf)", "values", "the mask is ignored"),
        ("masked_fill(~allowed, -math", "masked_fill(allowed, -math", "the mask is turned"),
    ),
    *faults_in(
        "digideep/policy/discrete.py",
        f"{_ACTING}action_values_of_several_critics_and_outputs_are_judged_by_their_mean",
        ("values = values.mean(-1)", "values = values[..., 0]", "the first output for their mean"),
        ("values = values.mean(0)", "values = values.amin(0)", "the least of the critics for their mean"),
        ("values.mean(-2, keepdim=True)", "values.mean(-1, keepdim=True)", "the mean over outputs"),
        (
            "unflatten(-1, (self.num_actions, -1))",
            "unflatten(-1, (-1, self.num_actions)).transpose(-1, -2)",
            "outputs and actions change places",
        ),
        ("values[0] if len(values) == 1 else values", "values[0]", "the first critic speaks for all"),
        (
            "num=num_critics, **common)\n        self.num_actions",
            "num=1, **common)\n        self.num_actions",
            "several critics are one",
        ),
        ("self.num_actions * critic_outputs]", "self.num_actions]", "several outputs are one"),
    ),
    *faults_in(
        "digideep/policy/discrete.py",
        f"{_ACTING}action_values_choose_by_numpy_as_by_torch",
        (".sum(-1).argmax(-1)", ".max(-1).argmax(-1)", "it takes the best output for the best action"),
    ),
    *faults_in(
        "digideep/policy/acting.py",
        f"{_ACTING}normalised_layers_act_by_numpy_as_by_torch_also_when_their_moments_have_moved "
        f"{_ACTING}what_has_no_counterpart_is_left_to_torch",
        (
            "layer.mean.numpy()[0, 0]",
            "layer.mean.numpy()[0, 0].copy()",
            "batch renormalisation by the means of the start",
        ),
        ("np.sqrt(variance + eps)", "(variance + eps)", "batch renormalisation divides by the variance"),
        (" and not layer.training", "", "a network that learns acts by the running moments"),
        ("x -= x.sum(-1, keepdims=True) / size", "x -= x.mean()", "layers are normalised over all rows"),
    ),
    *faults_in(
        "digideep/policy/stochastic.py",
        _RECURRENT,
        ("keep[:, 1:] = masks[:, :-1]", "keep[:, 1:] = masks[:, 1:]", "the state is zeroed a row early"),
        (
            "self.value_head(outputs[-1]).squeeze(-1), state\n",
            "self.value_head(outputs[0]).squeeze(-1), state\n",
            "the value comes from the actor's memory",
        ),
        (
            "self.value_head(outputs[-1]).squeeze(-1), state=state",
            "self.value_head(outputs[0]).squeeze(-1), state=state",
            "so does the exported one",
        ),
        (
            "distribution, _, state = self.walk(observations, state, masks, allowed)",
            "distribution, _, state = self.walk(observations, state, masks)",
            "acting ignores the mask",
        ),
        ("self.head(outputs[0], allowed).mode()", "self.head(outputs[0]).mode()", "the mode ignores the mask"),
    ),
    *faults_in(
        "digideep/policy/stochastic.py",
        "tests/policy/test_distributions.py::test_every_policy_starts_near_indifference_with_the_spread_that_is_asked_for",
        ("core_size, generator, log_std_init)", "core_size, generator, 0.0)", "the spread of the start is ignored"),
        ("orthogonal_linear(core_size, 1, 1.0", "orthogonal_linear(core_size, 1, 0.01", "the value's gain"),
    ),
    *faults_in(
        "digideep/policy/stochastic.py",
        f"{_SPACES} {_DISTRIBUTIONS} {_ACTING}the_mode_of_a_stochastic_policy_is_its_deterministic_act",
        (
            "self.act(observations, allowed=allowed, deterministic=True)",
            "self.act(observations, deterministic=True)",
            "the mode ignores the mask",
        ),
        (
            "self.head(self.actor(features), allowed)\n        actions",
            "self.head(self.actor(features))\n        actions",
            "acting ignores the mask",
        ),
        (
            "self.head(self.actor(features), allowed)\n        value",
            "self.head(self.actor(features))\n        value",
            "learning ignores the mask",
        ),
        ("orthogonal_linear(last, 1, 1.0", "orthogonal_linear(last, 1, 0.01", "the value's gain"),
        (
            "distribution.mode() if deterministic else distribution.sample(generator)\n        value",
            "distribution.sample(generator)\n        value",
            "the mode is drawn",
        ),
    ),
)
