"""The measurements measure the same on both sides, and keep their tables; no time is asserted."""

import json
import sys
from fractions import Fraction
from functools import partial
from itertools import pairwise

import pytest
import torch

from benchmarks import ceiling, collection, compare, measuring, ranks, startup, sweep
from benchmarks.compare import Sample
from benchmarks.measuring import ROOT, Refused, run, update_table
from benchmarks.more_peers import LIBRARIES, rl_games_parameters, skrl_agent, skrl_models
from benchmarks.workloads import WORKLOADS
from digideep.launch.plan import Run
from digideep.launch.search import Search
from digideep.parameters.control_panel import generate, load_params, override_panel
from digideep.parameters.sizes import memory_chunks

THERE = [name for name, workload in WORKLOADS.items() if (ROOT / workload.params).exists()]
TEXT = "# Results\n\n<!-- speed -->\n<!-- /speed -->\nend\n"


def panel_of(name, **changes):
    module = load_params(WORKLOADS[name].params.removesuffix(".py").replace("/", "."))
    return module, override_panel(module.cpanel, WORKLOADS[name].panel(**changes))


@pytest.mark.parametrize("name", THERE)
def test_every_workload_is_accepted_by_its_parameter_file(name):
    module, cpanel = panel_of(name)
    assert generate(module, cpanel)["agents"]
    workload = WORKLOADS[name]
    assert cpanel["num_workers"] * cpanel["n_steps"] == workload.cycle_frames
    assert workload.epoch_frames % workload.cycle_frames == 0
    assert cpanel["number_epochs"] == 1 + workload.epochs


def test_what_is_searched_is_accepted_by_the_parameter_file():
    Search(Run("params.ppo_classic", sweep._PANEL, {}), sweep._SPACE)
    trials = [{"values": {"3": 1.0, "9": 2.0}}, {"values": {"3": 1.0}}, {"values": {}}]
    assert sweep.frames_of({"trials": trials}) == 12 * 1_024


@pytest.mark.parametrize("name", THERE)
def test_ours_and_the_peers_have_the_same_hyperparameters(name):
    _, cpanel = panel_of(name)
    peer = WORKLOADS[name].peer
    theirs = {"gamma": 0.99} | peer.parameters
    assert cpanel["num_workers"] == peer.num_envs
    assert cpanel["gamma"] == theirs["gamma"]
    if peer.policy == "MlpPolicy":
        assert cpanel["model_name"] == peer.environment
        assert peer.net_arch == tuple(cpanel["hidden_sizes"])
    if peer.algorithm == "PPO":
        assert cpanel["n_steps"] == theirs["n_steps"]
        assert cpanel["n_update"] == theirs["n_epochs"]
        assert cpanel["num_workers"] * cpanel["n_steps"] == cpanel["num_mini_batches"] * theirs["batch_size"]
        assert cpanel["value_loss_coef"] == theirs["vf_coef"]
        assert cpanel["entropy_coef"] == theirs.get("ent_coef", 0.0)
        assert cpanel["lr"] == theirs.get("learning_rate", 3e-4)
        assert cpanel["use_clipped_value_loss"] is False
        assert cpanel["recompute_advantages"] is False
        assert cpanel["normalize_advantages"] is True
        assert cpanel["clip_param"] == theirs.get("clip_range", 0.2)
        assert (cpanel["gae_lambda"], cpanel["max_grad_norm"]) == (0.95, 0.5)  # defaults of theirs
    else:
        due = Fraction(theirs["gradient_steps"], theirs["train_freq"] * peer.num_envs)
        assert Fraction(cpanel["gradient_steps_per_frame"]) == due
        assert cpanel["batch_size"] == theirs["batch_size"]
        assert cpanel["warm_start"] == theirs["learning_starts"] < WORKLOADS[name].epoch_frames
        assert memory_chunks(cpanel) * WORKLOADS[name].cycle_frames == theirs["buffer_size"]
        assert cpanel.get("lr", cpanel.get("lr_critic")) == theirs["learning_rate"]
        assert cpanel.get("noise_std") == peer.noise_std
    if peer.algorithm in ("DQN", "QRDQN"):
        assert cpanel["target_update_interval"] / due == theirs["target_update_interval"]


@pytest.mark.parametrize(("library", "name"), [(each, name) for each, names in LIBRARIES.items() for name in names])
def test_further_peers_are_given_the_same_hyperparameters(library, name):
    peer = WORKLOADS[name].peer
    given, sizes = peer.parameters, list(peer.net_arch)
    if library == "rl_games":
        tree = rl_games_parameters(peer, 4096, 8192, "/tmp")
        found = tree["config"]
        chunk = found["horizon_length"] * found["num_actors"]
        assert (tree["network"]["mlp"]["units"], found["max_epochs"] * chunk) == (sizes, 12_288)
        assert (found["minibatch_size"], found["mini_epochs"]) == (given["batch_size"], given["n_epochs"])
        assert (found["learning_rate"], found["entropy_coef"]) == (
            given.get("learning_rate", 3e-4), given.get("ent_coef", 0.0)
        )  # fmt: skip
        return
    found, networks = skrl_agent(peer, "/tmp"), skrl_models(peer)
    del networks["separate"]
    assert [layer["layers"] for each in networks.values() for layer in each["network"]] == [sizes] * len(networks)
    assert found["learning_rate"] == given.get("learning_rate", 3e-4)
    if peer.algorithm == "PPO":
        chunk = found["rollouts"] * peer.num_envs
        assert (chunk / found["mini_batches"], found["learning_epochs"]) == (given["batch_size"], given["n_epochs"])
        assert (found["value_loss_scale"], found["entropy_loss_scale"]) == (given["vf_coef"], given.get("ent_coef", 0))
    else:
        assert (found["batch_size"], found["gradient_steps"]) == (given["batch_size"], given["gradient_steps"])
        assert found["learning_starts"] * peer.num_envs == given["learning_starts"]
        assert found.get("policy_delay") == given.get("policy_delay")


def test_quantiles_and_delays_are_those_of_the_peers():
    (_, tqc), (_, crossq), (_, qr_dqn) = map(panel_of, ("tqc-halfcheetah", "crossq-halfcheetah", "qr-dqn-cartpole"))
    assert (tqc["critic_outputs"], tqc["num_critics"]) == (25, 2)  # sb3-contrib's defaults
    dropped = WORKLOADS["tqc-halfcheetah"].peer.parameters["top_quantiles_to_drop_per_net"]
    assert tqc["dropped_quantiles"] == dropped
    assert crossq["policy_delay"] == WORKLOADS["crossq-halfcheetah"].peer.parameters["policy_delay"]
    assert crossq["critic_hidden_sizes"] == crossq["hidden_sizes"]
    assert qr_dqn["critic_outputs"] == WORKLOADS["qr-dqn-cartpole"].peer.policy_kwargs["n_quantiles"]


def test_rows_of_a_table_are_replaced_by_their_first_cell_and_others_stay():
    text = update_table(TEXT, "speed", ("a", "b"), [["x", "1"], ["y", "2"]], note="On a machine.")
    text = update_table(text, "speed", ("a", "b"), [["y", "3"], ["z", "4"]])
    assert text == (
        "# Results\n\n<!-- speed -->\nOn a machine.\n\n| a | b |\n|---|---|\n| x | 1 |\n| y | 3 |\n| z | 4 |\n"
        "<!-- /speed -->\nend\n"
    )
    other = update_table(text, "speed", ("a", "c"), [["x", "5"]])
    assert "| x | 5 |" in other
    assert "| y |" not in other


def test_empty_cells_survive():
    header = ("a", "b", "c")
    text = update_table(TEXT, "speed", header, [["x", "1", ""], ["x", "2", "3"]], keys=2)
    assert update_table(text, "speed", header, [["x", "2", "4"]], keys=2).count("\n| x |") == 2
    assert "| x | 1 |  |" in update_table(text, "speed", header, [["y", "", ""]], keys=2)


def test_a_table_without_a_place_is_refused():
    with pytest.raises(ValueError, match="no place for 'speed'"):
        update_table("nothing", "speed", ("a",), [])


def test_the_results_have_a_place_for_every_table():
    text = (ROOT / "benchmarks/RESULTS.md").read_text()
    for name in ("speed", "speed-details", "split", "ceiling", "collection", "startup"):
        assert update_table(text, name, ("a", "b"), [["x", "1"]])


def test_ratios_are_those_of_medians_to_the_better_of_both_thread_counts():
    def taken(*speeds):
        return [Sample(speed, 200.0, {"/train/act": 0.75, "other": 0.25}) for speed in speeds]

    samples = {
        "digideep": taken(10, 40, 30),
        "digideep, bf16": taken(60),
        "stable-baselines3, 1 thread": taken(8, 12, 9),
        "stable-baselines3, 2 threads": taken(10, 10, 11),
        "SBX": taken(20),
    }
    text = "".join(f"<!-- {name} -->\n<!-- /{name} -->\n" for name in ("speed", "speed-details", "split"))
    text = compare.write(text, "w", samples, "command", "On a machine.")
    assert "| w | 30.0 | 10.0 | 20.0 | 3.00 | 1.50 | `command` |" in text
    assert "| w, bf16 | 60.0 | 10.0 | 20.0 | 6.00 | 3.00 | `command` |" in text
    assert "| w | stable-baselines3, 1 thread | 9.0 | 8.0 to 12.0 | 3.33 | 200 |" in text
    assert "| w | /train/act 75%, other 25% |" in text


def test_bfloat16_is_left_out_where_the_processor_has_no_instructions_for_it(monkeypatch, capsys):
    monkeypatch.setattr(torch.ops.mkldnn, "_is_mkldnn_bf16_supported", lambda: False)
    workload = WORKLOADS["ppo-pong"]
    takers = {"digideep": lambda: Sample(1.0, None, {})}
    takers["digideep, bf16"] = partial(compare.measure_ours, workload, 1, workload.variants["bf16"])
    assert list(compare.alternate(takers, 2)) == ["digideep"]
    assert "digideep, bf16 is left out: this processor has no instructions" in capsys.readouterr().out


def test_the_split_counts_innermost_blocks_only():
    line = {"data": {path: {"totals": total} for path, total in (("/train", 6.0), ("/train/act", 4.0), ("/up", 3.0))}}
    assert compare.split([line], 10.0) == {"/train/act": 0.4, "/up": 0.3, "other": pytest.approx(0.3)}


def test_the_operations_of_td3_are_those_of_its_matrix_products():
    def products(*sizes):
        return sum(2 * 256 * a * b for a, b in pairwise(sizes))

    actor, critic = products(17, 256, 256, 6), products(23, 256, 256, 1)
    # Forward through both targets and both critics; back to their weights, and to all layers but the first.
    critics = actor + 3 * 2 * critic + 2 * products(256, 256, 1)
    # Every second time: through the actor and one critic, back through that, to the actor's weights and layers.
    actors = 2 * actor + 2 * critic + products(256, 256, 6)
    assert ceiling.operations_per_frame("td3-halfcheetah", warm_start=256) == critics + actors / 2
    assert 1e8 < ceiling.operations_per_second(torch.float32, 1) < 1e14


@pytest.mark.parametrize("collector", ["digideep, num_processes 0", "digideep, policy, num_processes 0"])
def test_collectors_of_ours_collect_for_as_long_as_they_are_timed(collector):
    step, close = collection._make_ours(collector)
    try:
        assert [step() for _ in range(3)] == [512, 512, 512]
    finally:
        close()


def test_collection_is_compared_with_one_process_and_with_gymnasium():
    speeds = {name: [1000.0] for name in collection.TEAMS}
    speeds["digideep, num_processes 2"] = [1800.0, 2000.0, 2200.0]
    rows = {row[0]: row for row in collection.table(speeds)}
    assert rows["digideep, num_processes 2"][1:] == ["2,000", "1,800 to 2,200", "2.00", "2.00", "2.00"]
    assert rows["digideep, num_processes 1"][3] == ""


def test_a_team_of_collectors_takes_its_turn_together():
    events = []

    class Noted:
        def __init__(self, speed):
            self.speed = speed

        def begin(self):
            events.append("begin")

        def finish(self):
            events.append("finish")
            return self.speed

    assert collection.measure([Noted(100.0), Noted(50.0)]) == 150.0
    assert events == ["begin", "begin", "finish", "finish"]


@pytest.mark.parametrize(
    ("module", "argv", "reason"),
    [
        (compare, ["--only", "ppo-cartpoll"], "invalid choice: 'ppo-cartpoll'"),
        (compare, ["--runs", "0"], "'0' is no positive integer"),
        (compare, ["--epochs", "x"], "'x' is no positive integer"),
        (compare, ["--peers", "/nowhere/python"], "--peers /nowhere/python is not there"),
        (startup, ["--peers", "/nowhere/python"], "--peers /nowhere/python is not there"),
        (ceiling, ["--runs", "-1"], "'-1' is no positive integer"),
        (collection, ["--results", "/nowhere/R.md"], "/nowhere/R.md is not there"),
        (collection, ["--serve", "x"], "invalid choice: 'x'"),
    ],
)
def test_wrong_arguments_are_refused_with_one_line(module, argv, reason, capsys):
    with pytest.raises(SystemExit) as ended:
        module.main(argv)
    assert ended.value.code == 2
    (line,) = capsys.readouterr().err.splitlines()
    assert reason in line


def test_a_program_that_refuses_to_start_says_why():
    with pytest.raises(Refused, match="unknown key 'lrr'"):
        measuring.train("params/ppo_classic.py", {"lrr": 1})
    with pytest.raises(RuntimeError, match="ended with 3"):
        run([sys.executable, "-c", "raise SystemExit(3)"])


def test_a_run_of_ours_is_timed_after_its_first_epoch():
    small = {"number_epochs": 3, "epoch_size": 1, "num_workers": 2, "n_steps": 16, "compile": "off"}
    finished, meta, timings = measuring.train("params/ppo_classic.py", small | {"test_activate": False})
    assert [line["frame"] for line in meta] == [32, 64, 96]
    assert finished.start < meta[0]["clock"] < meta[2]["clock"]
    assert finished.peak_mb is None or finished.peak_mb > 50
    assert set(compare.split(timings[1:], meta[2]["clock"] - meta[0]["clock"])) >= {"/train/act", "other"}
    json.dumps(meta)


def test_the_model_of_messages_between_ranks_by_hand():
    line = ranks.Line.through({0: 0.001, 1000: 0.003})  # a millisecond, and a microsecond for each float of each rank
    assert line.message_s(2, 1000) == pytest.approx(0.003)
    assert line.message_s(4, 1000) == pytest.approx(0.005)
    assert line.message_s(1, 1000) == 0
    ring = ranks.Line(0.001, 1e-6, is_ring=True)
    assert ring.message_s(4, 1000) == pytest.approx(6 * 0.001 + 1.5 * 0.001)
    workload = ranks.Workload("", {}, cycles=1, sums=10, floats=1000)
    small = 8 * line.message_s(4, 3)
    assert ranks.predicted(workload, 1.0, 4, line) == pytest.approx(4 / (1 + 10 * 0.005 + small))
    assert ranks.predicted(workload._replace(is_replayed=True), 1.0, 4, line) == pytest.approx(4 / (1.2 + small))
    assert ranks.predicted(workload, 1.0, 1, line) == 1
    assert ranks.predicted(workload, 1.0, 4, line, 0.5) == pytest.approx(4 / (1 + 3 * 0.5 + 10 * 0.005 + small))


def test_ranks_are_measured_on_recipes_that_are_there():
    for name, workload in ranks.WORKLOADS.items():
        panel = load_params(str(ROOT / workload.params)).cpanel
        assert workload.panel.keys() <= panel.keys()
        if not workload.is_replayed and panel.get("averaging_interval") == workload.panel.get("averaging_interval", 1):
            assert workload.sums == (panel | workload.panel)["n_update"] * (panel | workload.panel)["num_mini_batches"]
        assert ranks.cycle_frames(name) > 0
