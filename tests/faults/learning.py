"""Deliberate faults in `digideep/learning`."""

from tests.faults.runner import faults_in

_STEP = "tests/learning/test_gradient_step.py::test_"
_TARGET = "tests/learning/test_target_network.py::test_"
_ADAM = f"{_STEP}adam_with_clipping_equals_torch"
_COMPILED = f"{_STEP}the_compiled_step_equals_the_eager_one"
_RESTORED_TARGET = f"{_TARGET}a_restored_target_goes_on_exactly"
_KEPT = "tests/learning/test_kept_steps.py::test_"

FAULTS = (
    *faults_in(
        "digideep/learning/gradient_step.py",
        _ADAM,
        (".clamp(max=1.0)", "", "small gradients are made as long as the limit"),
        ("        self._gradient.zero_()\n", "", "gradients add up from step to step"),
    ),
    *faults_in(
        "digideep/learning/gradient_step.py",
        _COMPILED,
        ("self._gradient.copy_(gradient)", "pass", "dashboards show no gradient of a compiled step"),
        ("self._gradient.copy_(gradient)  #", "self._gradient.add_(gradient)  #", "they show the sum of all gradients"),
        ("buffer.copy_(buffers[name])", "pass", "running statistics of a compiled step stay as they are"),
        (
            "name: buffer.clone() for",
            "name: buffer for",
            "a compiled step changes statistics within the function whose gradient is taken",
        ),
    ),
    *faults_in(
        "digideep/learning/gradient_step.py",
        f"{_STEP}a_restored_step_goes_on_exactly",
        (
            "for name, tensor in self.state.items():\n            tensor",
            'for name in ("mean", "square"):\n            self.state[name]',
            "Adam's counter is not restored",
        ),
    ),
    *faults_in(
        "digideep/learning/gradient_step.py",
        f"{_STEP}learning_moves_running_statistics_as_torch_does",
        ("requires_grad_(True).train()", "requires_grad_(True).eval()", "the twin learns in evaluation mode"),
        ("= _share_buffers(module, self.learner)", "= []", "the twin keeps its statistics to itself"),
        ("        _lay(self.learner, self.flat)\n", "", "the twin learns by itself"),
    ),
    *faults_in(
        "digideep/learning/gradient_step.py",
        f"{_STEP}a_buffer_that_a_forward_replaces_is_that_of_the_module_and_of_targets",
        ("                    place[name] = shared\n", "", "the twin goes on with a buffer of its own"),
        ("shared.copy_(found)", "pass", "what a forward puts in a buffer's place is lost"),
        ("{name: tensors[name] for name in self._buffers}", "{**self._buffers}", "and when it is compiled"),
    ),
    *faults_in(
        "digideep/learning/gradient_step.py",
        f"{_STEP}layers_that_take_no_gradient_stay_as_they_are_in_module_twin_and_target",
        ("if learns and not parameter.requires_grad", "if False", "given layers are trained"),
    ),
    *faults_in(
        "digideep/learning/gradient_step.py",
        f"{_STEP}no_parameter_belongs_to_two_steps",
        ("        _claim(module)\n", "", "two steps move one parameter apart"),
    ),
    *faults_in(
        "digideep/learning/gradient_step.py",
        f"{_STEP}acting_and_what_learns_through_a_frozen_module_use_its_running_statistics_and_leave_them_alone",
        ("requires_grad_(False).eval()", "requires_grad_(False)", "the module acts in training mode"),
        ("self.frozen = FlatModule(module,", "self.frozen = FlatModule(self.learner,", "the twin is frozen"),
    ),
    *faults_in(
        "digideep/learning/gradient_step.py",
        f"{_STEP}a_step_reports_numbers_that_have_no_gradient_and_means_are_over_the_steps_that_report_them",
        ("torch.stack(list(metrics.values())).detach()", "torch.stack(list(metrics.values()))", "metrics keep graphs"),
        ("Metrics(tuple(metrics),", "Metrics(tuple(sorted(metrics)),", "metrics have each other's names"),
        ("else total + metrics.values, count", "else total.add_(metrics.values), count", "sums overwrite a report"),
        ("total / counts[name] for", "total for", "sums for means"),
        ("counts.get(name, 0) + count", "counts.get(name, 0) + 1", "kinds of steps are counted, not steps"),
        ("counts[name] = counts.get(name, 0) + count", "counts[name] = count", "only steps of one kind are counted"),
        ("totals.get(name, 0.0) + value", "value", "only steps of one kind are added up"),
    ),
    *faults_in(
        "digideep/learning/optimizers.py",
        _ADAM,
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
        "digideep/learning/target_network.py",
        f"{_TARGET}an_update_moves_parameters_by_a_share_and_copies_running_statistics",
        (
            "self.flat.lerp_(self._source.flat, self._polyak_factor)\n",
            "self.flat.lerp_(self._source.flat, 1 - self._polyak_factor)\n",
            "targets keep the share that they should give up",
        ),
        ("self.flat = step.flat.clone()", "self.flat = step.flat", "targets are the learners themselves"),
        (
            "self._polyak_factor)\n        self._copy_buffers()",
            "self._polyak_factor)",
            "a target keeps the statistics of the start",
        ),
        (
            "buffer.copy_(self._new_buffers[name])",
            "buffer.copy_(buffer + ((self._new_buffers[name] - buffer) * self._polyak_factor))",
            "statistics follow by a share, and so lag twice",
        ),
        ("copy.deepcopy(step.module)", "copy.copy(step.module)", "a target has the learner's own statistics"),
    ),
    *faults_in(
        "digideep/learning/target_network.py",
        f"{_TARGET}a_renewed_target_is_its_learner",
        ("self.flat.copy_(self._source.flat)\n", "pass\n", "a renewed target has old parameters"),
        (
            "self.flat.copy_(self._source.flat)\n        self._copy_buffers()",
            "self.flat.copy_(self._source.flat)",
            "a renewed target has old statistics",
        ),
    ),
    *faults_in(
        "digideep/learning/target_network.py",
        _RESTORED_TARGET,
        ('self.flat.copy_(state["flat"])', "pass", "the target's parameters are not restored"),
        ('buffer.copy_(state["buffers"][name])', "pass", "the target's statistics are not restored"),
    ),
    *faults_in(
        "digideep/learning/compiling.py",
        "tests/agent/test_off_policy.py::test_what_a_compiled_step_reads_of_the_agent_besides_tensors_is_frozen_at_the_first_call",
        (
            "fast.disable_guard_check()",
            "fast = torch.compile(function, dynamic=False, fullgraph=True)",
            "a compiled step checks all that it reads before each call",
        ),
    ),
    *faults_in(
        "digideep/learning/compiling.py",
        f"{_KEPT}a_step_that_the_compiler_cannot_tell_from_another_is_not_taken_for_it",
        ("        random.seed()\n", "", "a recurrent step is the one that a run with the same seed compiled"),
        ("random.setstate(state)", "pass", "compiling moves the generator that environments draw from"),
    ),
    *faults_in(
        "digideep/learning/kept_steps.py",
        f"{_KEPT}nothing_is_found_once_anything_that_the_compiler_looked_at_has_changed "
        f"{_KEPT}a_kept_step_does_what_the_compiled_one_did_to_the_bit "
        f"{_KEPT}what_does_more_than_to_compute_is_compiled_and_not_kept "
        f"{_KEPT}nor_is_what_was_written_without_a_file_as_in_a_notebook "
        f"{_KEPT}so_are_records_that_are_no_files_or_that_somebody_has_changed "
        f"{_KEPT}so_is_a_record_whose_library_is_cut_off_or_another",
        (" or _what_changed(record, function, args) is not None", "", "steps are found that computed something else"),
        ("if _hash_of(name) != digest", "if False", "steps are found whose source has changed"),
        ("asked, _MAKERS)", "asked)", "steps are found that another release compiled, perhaps wrongly"),
        (".st_uid != os.getuid()", ".st_uid < 0", "libraries of other users are loaded"),
        ("_digest(text) != path.stem or ", "", "records are believed that somebody has changed"),
        ('.hexdigest() != record["library"]', ".hexdigest() is None", "libraries that are cut off are loaded"),
        (
            "stat.st_ctime) > _STARTED",
            "stat.st_ctime) < 0",
            "a source that was edited after its import stands for what ran",
        ),
        ("if digest is None]", "if False]", "what a notebook has changed is found as it was"),
        ("            tensor.copy_(old)\n", "            pass\n", "a step that was tried out counts"),
        ("not is_pure or ", "", "what a step does besides is forgotten"),
        ("torch.set_rng_state(generator)", "pass", "a step that was tried out has drawn"),
    ),
    *faults_in(
        "digideep/learning/traced_values.py",
        f"{_KEPT}a_method_that_an_object_has_of_its_own_counts "
        f"{_KEPT}what_does_more_than_to_compute_is_compiled_and_not_kept "
        f"{_KEPT}a_record_names_the_sources_of_all_that_a_class_inherits "
        f"{_KEPT}nothing_is_found_once_anything_that_the_compiler_looked_at_has_changed",
        (
            '_CALLS: dict[str, Callable[[Any], Any]] = {"type": type, "dict": dict}',
            "_CALLS: dict[str, Any] = {}",
            "attributes of classes are passed over",
        ),
        ("own = sorted(vars(value)) if", "own = [] if", "attributes of an object's own are passed over"),
        (
            "if not _is_torchs(each)]",
            "if False]",
            "what a class has besides is passed over",
        ),
        ('(code := getattr(value, "__code__", None))', "(code := None)", "all lambdas are one"),
        ("if same != path or is_tensor:", "if False:", "tensors that have become one are taken for two"),
        (
            "each.__module__ for each in (",
            "each.__module__ for each in [kinds[0]] for _ in (",
            "base classes are passed over",
        ),
        ("value.stride(), value.dtype, value.device", "value.stride(), value.device", "doubles are taken for floats"),
    ),
)
