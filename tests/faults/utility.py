"""Deliberate faults in `digideep/utility`."""

from tests.faults.runner import Fault, faults_in

_MONITOR = "digideep/telemetry/monitor.py"
_SCHEDULE = "digideep/parameters/schedule.py"
_SEEDING = "digideep/utility/seeding.py"
_IMAGES = "digideep/utility/images.py"
_PROCESS = "digideep/utility/process_state.py"

_MONITOR_TESTS = "tests/telemetry/test_monitor.py"
_SEEDING_TESTS = "tests/utility/test_seeding.py"
_PIPELINE_HOOKS = "tests/pipeline/test_hooks.py"
_ENVIRONMENT_BACKENDS = "tests/environment/test_backends.py"
_SCHEDULE_TESTS = "tests/parameters/test_schedule.py"
_IMAGES_TESTS = "tests/utility/test_images.py"
_VALUES = "tests/parameters/test_values.py"
_COMPONENT = "tests/parameters/test_component.py"
_PANEL = "tests/parameters/test_control_panel.py"
_CHECKS = "tests/parameters/test_checks.py"
_PIPELINE_REFUSALS = "tests/pipeline/test_refusals.py"
_PIPELINE_SINKS = "tests/pipeline/test_sinks.py"
_PIPELINE_DASHBOARDS = "tests/pipeline/test_dashboards.py"
_PIPELINE_FIGURES = "tests/pipeline/test_figures.py"

_RANKS = "tests/utility/test_ranks.py"

FAULTS: tuple[Fault, ...] = (
    *faults_in(
        "digideep/utility/ranks.py",
        _RANKS,
        ('derive_seed(seed, "rank", self.rank)', "seed", "all ranks draw the same"),
        ("self.rank < number % self.size", "False", "what cannot be shared out evenly is lost"),
        ("            self._distributed.all_reduce(tensor)\n", "            pass\n", "sums are each rank's own"),
        ("[None] * self.size", "[None]", "there is one note where nobody has anything to say"),
    ),
    *faults_in(
        "digideep/learning/gradient_step.py",
        _RANKS,
        (".mul_(self._share)", "", "a rank counts as much as all"),
        ("buffer.copy_(new.view_as(buffer))", "pass", "running statistics are each rank's own"),
        ("for tensor in tensors]) / ranks.size)", "for tensor in tensors]))", "averages are sums"),
    ),
    *faults_in(
        "digideep/environment/running_statistics.py",
        _RANKS,
        ("        self.mean, self.var, self.count = self._common\n", "", "what a rank learned counts twice"),
        (
            "        self._common = self.mean, self.var, self.count\n\n    def state",
            "\n    def state",
            "old rows count again",
        ),
    ),
    *faults_in(
        "digideep/pipeline/rank_watch.py",
        _RANKS,
        ("self._ranks.is_waiting or steps != moved[0]", "True", "a rank that hangs is waited for"),
        ("            self._say(reason)\n", "            pass\n", "nobody hears why a rank ended"),
    ),
    Fault(
        "digideep/agent/trajectories.py",
        "(number or -(-len(order) // size),",
        "(-(-len(order) // size),",
        "ranks take different numbers of steps",
        _RANKS,
    ),
    Fault(
        _MONITOR,
        "math.sqrt(self.m2 / (self.num - 1))",
        "math.sqrt(self.m2 / self.num)",
        "the spread of all instead of the sample's",
        f"{_MONITOR_TESTS}::test_values_are_summed_up_until_they_are_dumped",
    ),
    Fault(
        _MONITOR,
        "self.m2 += delta * (value - self.mean)",
        "self.m2 += delta * delta",
        "squares of distances from the mean before",
        f"{_MONITOR_TESTS}::test_values_are_summed_up_until_they_are_dumped",
    ),
    Fault(
        _MONITOR,
        "statistic.num >= window",
        "statistic.num > window",
        "a window one value too long",
        f"{_MONITOR_TESTS}::test_a_window_is_packed_when_it_is_full_and_what_is_left_stays_open",
    ),
    Fault(
        _MONITOR,
        "for key in list(self._open) if self._windows[key] is None}",
        "for key in list(self._open)}",
        "open windows written before they are full",
        f"{_MONITOR_TESTS}::test_a_window_is_packed_when_it_is_full_and_what_is_left_stays_open",
    ),
    Fault(
        _MONITOR,
        "self._windows, self._packs = dict(windows), list(packs)",
        "self._windows, self._packs = dict(windows), []",
        "full windows not restored",
        f"{_MONITOR_TESTS}::test_what_is_open_survives_a_checkpoint",
    ),
    Fault(
        _MONITOR,
        "self.min, self.max = math.inf, -math.inf",
        "self.min, self.max = math.inf, 0.0",
        "the greatest of negative values is 0",
        f"{_MONITOR_TESTS}::test_values_are_summed_up_until_they_are_dumped",
    ),
    Fault(
        "digideep/telemetry/profiler.py",
        "node.occurs, node.total_s = 0, 0.0\n",
        "node.occurs = 0\n",
        "seconds summed up over all epochs",
        f"{_MONITOR_TESTS}::test_the_seconds_of_a_block_are_those_since_the_last_dump",
    ),
    Fault(
        "digideep/telemetry/profiler.py",
        "self.current.depth >= self.level",
        "self.current.depth > self.level",
        "a level too many timed",
        f"{_MONITOR_TESTS}::test_blocks_below_the_level_are_not_timed",
    ),
    Fault(
        "digideep/telemetry/writers.py",
        "own[parent] -= value",
        "own[parent] -= 0",
        "phases counted twice",
        f"{_MONITOR_TESTS}::test_shares_leave_out_what_is_within_and_sum_to_a_hundred",
    ),
    Fault(
        "digideep/telemetry/machine.py",
        '["/cpu/memory/used"] = memory.used / _MEGABYTE',
        '["/cpu/memory/used"] = memory.used',
        "bytes called MiB",
        f"{_MONITOR_TESTS}::test_the_load_is_written_by_a_thread_that_ends",
    ),
    Fault(
        "digideep/telemetry/machine.py",
        "for process in (self._process, *self._children.values())",
        "for process in (self._process,)",
        "the load of worker processes left out",
        f"{_MONITOR_TESTS}::test_the_load_of_a_run_is_that_of_its_processes_together",
    ),
    Fault(
        _SEEDING,
        "zlib.crc32(part.encode())",
        "hash(part) % 2**32",
        "purposes hashed anew in each process",
        f"{_SEEDING_TESTS}::test_a_purpose_means_the_same_numbers_in_each_process_and_version",
    ),
    Fault(
        _SEEDING,
        "np.random.SeedSequence(seed, spawn_key=words)",
        "np.random.SeedSequence([seed, *words])",
        "all generators drawn from another sequence",
        f"{_SEEDING_TESTS}::test_a_purpose_means_the_same_numbers_in_each_process_and_version",
    ),
    Fault(
        _SEEDING,
        'derive_seed(seed, "global", "numpy", *purpose)',
        'derive_seed(seed, "global", "numpy")',
        "numpy's generator the same in all worker processes",
        f"{_SEEDING_TESTS}::test_global_generators_of_two_purposes_differ_in_every_library",
    ),
    Fault(
        _PROCESS,
        '    np.random.set_state(state["numpy"])\n',
        "",
        "numpy's global generator not restored",
        f"{_SEEDING_TESTS}::test_global_generators_go_back_to_where_they_were_amid_a_pair_of_normal_numbers",
    ),
    Fault(
        _PROCESS,
        "        set_globals_state(generators)\n",
        "",
        "a caller's generators left changed",
        f"{_PIPELINE_HOOKS}::test_a_run_leaves_its_callers_process_as_it_was",
    ),
    Fault(
        _PROCESS,
        '"gauss": [] if gauss is None else [gauss]',
        '"gauss": []',
        "the second of two normal numbers forgotten",
        f"{_SEEDING_TESTS}::test_global_generators_go_back_to_where_they_were_amid_a_pair_of_normal_numbers",
    ),
    Fault(
        "digideep/utility/process_state.py",
        "        torch.set_num_threads(number)",
        "        torch.set_num_threads(1)",
        "one thread for good",
        f"{_ENVIRONMENT_BACKENDS}::test_agents_act_on_one_thread_while_the_other_part_plays",
    ),
    Fault(
        _SCHEDULE,
        "min(n_updates / duration, 1.0)",
        "(n_updates / duration)",
        "a line goes on below its end",
        f"{_SCHEDULE_TESTS}::test_a_line_spans_the_plan_unless_it_has_a_duration_of_its_own",
    ),
    Fault(
        _SCHEDULE,
        "self.schedule.planned = self.planned - begun_at",
        "self.schedule.planned = self.planned",
        "a line that begins anew ends beyond the plan",
        f"{_SCHEDULE_TESTS}::test_beginning_anew_spans_what_is_left_of_the_plan",
    ),
    Fault(
        _SCHEDULE,
        "self.schedule(n_updates - self.begun_at) if",
        "self.schedule(n_updates) if",
        "a line that begins anew begins amid",
        f"{_SCHEDULE_TESTS}::test_beginning_anew_spans_what_is_left_of_the_plan",
    ),
    Fault(
        _SCHEDULE,
        'float(state["kept"][0]) if state["kept"] else None',
        "None",
        "a value that is kept not restored",
        f"{_SCHEDULE_TESTS}::test_a_course_goes_on_from_its_state",
    ),
    Fault(
        _SCHEDULE,
        "self.schedule.planned = planned_before - self.begun_at\n",
        "self.schedule.planned = planned_before\n",
        "a value kept as a plan from the start would have it",
        f"{_SCHEDULE_TESTS}::test_keeping_takes_the_value_that_was_due_next_under_the_old_plan",
    ),
    Fault(
        _SCHEDULE,
        'n_updates if how == "anew" else 0',
        "n_updates",
        "a line that is stretched begins anew",
        f"{_SCHEDULE_TESTS}::test_stretching_is_as_if_the_new_plan_had_been_there_from_the_start",
    ),
    Fault(
        _IMAGES,
        "np.maximum(np.abs(space.low.astype(np.float64)), np.abs(space.high.astype(np.float64)))",
        "np.abs(space.high.astype(np.float64))",
        "lower bounds forgotten",
        _IMAGES_TESTS,
    ),
    Fault(
        _IMAGES,
        "frame[2] < frame[0] if",
        "frame[2] <= frame[0] if",
        "channels last where both ends are equal",
        _IMAGES_TESTS,
    ),
    Fault(
        _IMAGES,
        "bounds <= _LARGEST_PIXEL",
        "bounds < _LARGEST_PIXEL",
        "pictures of 16 bits not scaled",
        _IMAGES_TESTS,
    ),
    Fault(
        "digideep/parameters/component.py",
        "found.setdefault(argument.name, argument)",
        "found[argument.name] = argument",
        "a parent's parameter hides the subclass's",
        f"{_COMPONENT}::test_what_a_subclass_names_itself_hides_its_parents",
    ),
    Fault(
        "digideep/parameters/component.py",
        "if all(argument.kind is not inspect.Parameter.VAR_KEYWORD for argument in arguments):",
        "if False:",
        "parameters of a parent that its child does not hand on",
        f"{_COMPONENT}::test_parameters_continue_at_the_next_constructor_where_one_ends_in_var_keyword",
    ),
    Fault(
        "digideep/parameters/component.py",
        "if name in runtime and asks_for(cls, name)",
        "if name in runtime",
        "a run-time value where a parameter stands",
        f"{_COMPONENT}::test_what_a_subclass_names_itself_hides_its_parents",
    ),
    Fault(
        "digideep/parameters/control_panel.py",
        "        if name in cpanel:",
        "        if name:",
        "a renamed key's name in another method's panel",
        f"{_PANEL}::test_a_renamed_key_is_refused_with_its_name_of_today",
    ),
    Fault(
        "digideep/parameters/values.py",
        "        return float(value)\n    if kind is list",
        "        return value\n    if kind is list",
        "an integer left where a number is expected",
        f"{_VALUES}::test_an_integer_in_the_place_of_a_number_becomes_one",
    ),
    Fault(
        "digideep/parameters/values.py",
        "-(2**63) <= value < 2**63",
        "-(2**63) <= value <= 2**63",
        "an integer that numpy does not hold taken",
        f"{_VALUES}::test_a_value_that_does_not_fit_is_refused",
    ),
    Fault(
        "digideep/parameters/checks.py",
        "abs(value) < math.inf and low <= value <= high",
        "abs(value) < math.inf and low <= value",
        "no upper limit of numbers",
        f"{_CHECKS}::test_a_number_beyond_its_limits_is_refused",
    ),
    Fault(
        "digideep/utility/own_files.py",
        "if size is not None and found != size",
        "if size is not None and found < size",
        "files with an appendix read",
        f"{_CHECKS}::test_a_file_that_is_shorter_or_longer_than_it_was_is_not_read",
    ),
    Fault(
        "digideep/utility/own_files.py",
        "st_nlink > 1",
        "st_nlink > 2",
        "a log written under a second name, too",
        f"{_PIPELINE_REFUSALS}::test_a_log_that_has_another_name_outside_is_parted_from_it",
    ),
    Fault(
        "digideep/telemetry/tensorboard.py",
        "None if told is None else told + 1",
        "None if told is None else told",
        "the checkpoint's own point purged",
        f"{_PIPELINE_DASHBOARDS}::test_tensorboard_files_hold_what_varlog_holds_without_a_fold",
    ),
    Fault(
        "digideep/telemetry/writers.py",
        'yield name, data["sum"] / data["num"], at, clock',
        'yield name, data["sum"], at, clock',
        "sums shown as means",
        f"{_PIPELINE_DASHBOARDS}::test_tensorboard_files_hold_what_varlog_holds_without_a_fold",
    ),
    Fault(
        "digideep/telemetry/writers.py",
        'pack["meta"].get("frame", frame), pack',
        "frame, pack",
        "windows shown at the end of their epoch",
        f"{_PIPELINE_FIGURES}::test_dashboards_lists_and_reports_take_windows",
    ),
    Fault(
        "digideep/telemetry/sinks.py",
        "if frame > self.told:\n            packs",
        "if frame >= self.told:\n            packs",
        "the last epoch that was told is told again",
        f"{_PIPELINE_SINKS}::test_mlflow_holds_every_epoch_once_in_one_run",
    ),
    Fault(
        "digideep/telemetry/sinks.py",
        "random.setstate(state)",
        "pass",
        "random numbers drawn for names of files",
        f"{_PIPELINE_SINKS}::test_they_change_no_number_of_the_training",
    ),
    Fault(
        "digideep/telemetry/sinks.py",
        "sys.exit, sys.excepthook = hooks",
        "pass",
        "hooks of the interpreter left replaced",
        f"{_PIPELINE_SINKS}::test_they_leave_no_process_no_handler_and_nothing_on_the_terminal",
    ),
    Fault(
        "digideep/telemetry/visdom.py",
        '[mean, data["min"], data["max"]]',
        '[mean, data["max"], data["min"]]',
        "the band upside down",
        f"{_PIPELINE_DASHBOARDS}::test_visdom_shows_what_varlog_holds_without_a_fold",
    ),
)
