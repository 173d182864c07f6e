"""Control panels of the recipes: their keys, those of 2019's digideep, and recipes that are built upon others."""

import copy
import json
import logging
from pathlib import Path
from types import SimpleNamespace

import pytest

from digideep.learning.optimizers import RMSprop
from digideep.parameters.component import describe
from digideep.parameters.control_panel import generate, load_params, override_panel
from digideep.parameters.schedule import Linear
from digideep.parameters.tree import from_plain, to_plain
from digideep.pipeline.runner import Runner
from digideep.pipeline.tree_checks import check_tree
from digideep.utility.errors import UsageError
from tests.support.helpers import ROOT

RECIPES = sorted(path.stem for path in (ROOT / "params").glob("*_*.py"))

# Keys of 2019's parameter files, and today's files of the same methods.
SESSION = [
    "number_epochs", "epoch_size", "test_activate", "test_interval", "test_win_size", "save_interval",
    "max_exec_time", "max_exec_iter", "seed", "cuda_deterministic", "memory_size_in_chunks", "model_name",
    "observation_key", "gamma", "num_workers", "n_steps", "n_update", "batch_size", "warm_start", "agent_type",
    "from_module", "from_params", "runner_name", "add_monitor", "add_time_step", "add_image_transpose",
    "add_frame_stack_axis", "add_dummy_multi_agent", "add_vec_normalize", "nstack", "keep_old_checkpoints",
]  # fmt: skip
PPO = [
    "num_mini_batches", "use_gae", "tau", "recurrent", "actor_feature_size", "lr", "eps", "clip_param",
    "value_loss_coef", "entropy_coef", "max_grad_norm", "use_clipped_value_loss",
]  # fmt: skip
SAC = [
    "lr_actor", "lr_value", "lr_softq", "polyak_factor", "mean_lambda", "std_lambda", "z_lambda", "lr_critic",
    "alpha", "hidden_size", "automatic_entropy_tuning", "target_update_interval",
]  # fmt: skip
SACV1 = [key for key in SAC if key not in ("automatic_entropy_tuning", "lr_critic", "hidden_size")]
ORIGINALS = {
    "ppo_atari": SESSION + PPO,
    "ppo_mujoco": SESSION + PPO,
    "ddpg_classic": [*SESSION, "lr_actor", "lr_critic", "eps", "polyak_factor", "noise_std", "hidden_size"],
    "sac_classic": SESSION + SAC,
    "sac_mujoco": SESSION + SAC,
    "sacv1_classic": SESSION + SACV1,
}


def panel(recipe):
    return load_params(f"params.{recipe}").cpanel


@pytest.mark.parametrize("recipe", ORIGINALS)
def test_every_key_of_2019_is_there_or_is_refused_with_what_to_give_today(recipe):
    cpanel = panel(recipe)
    for key in ORIGINALS[recipe]:
        if key in cpanel:
            continue
        with pytest.raises(UsageError, match=f"--cpanel has the unknown key '{key}'") as refusal:
            override_panel(cpanel, {key: 1})
        _, today, name = str(refusal.value).partition("Here it is called '")
        if today:
            assert name.partition("'")[0] in cpanel
        else:
            assert "Did you mean" not in str(refusal.value)
            assert "Known:" not in str(refusal.value)


@pytest.mark.parametrize(
    ("recipe", "key", "advice"),
    [
        ("ppo_classic", "tau", "Here it is called 'gae_lambda'."),
        ("sac_classic", "tau", "Here it is called 'polyak_factor'."),
        ("ppo_classic", "actor_feature_size", "Here it is called 'hidden_sizes', a list such as [64, 64]."),
        ("td3_mujoco", "hidden_size", "Here it is called 'hidden_sizes', a list such as [256, 256]."),
        ("dqn_classic", "use_double", "Here it is called 'is_double'."),
        ("dqn_classic", "lr_critic", "Here it is called 'lr'."),
        ("sac_classic", "lr", "Here it is called 'lr_actor' and 'lr_critic'."),
        (
            "ppo_classic",
            "batch_size",
            "Here it is called 'num_mini_batches', the number of parts that a chunk is cut into.",
        ),
        ("ppo_classic", "agent_type", "The parameter file names the agent's class: take another file."),
        ("sac_dmc", "total_timesteps", "Here it is called 'total_frames'."),
        ("ppo_classic", "learning_rate", "Here it is called 'lr'."),
        ("sac_classic", "learning_rate", "Here it is called 'lr_actor' and 'lr_critic'."),
        (
            "a2c_classic",
            "network",
            "It belongs to replay methods and PQN. Others have hidden_sizes and activation.",
        ),
        ("ppo_classic", "gae_lamda", "Did you mean 'gae_lambda'?"),
    ],
)
def test_a_renamed_key_is_refused_with_its_name_of_today(recipe, key, advice):
    module = load_params(f"params.{recipe}")
    with pytest.raises(UsageError) as refusal:
        generate(module, override_panel(module.cpanel, {key: 1}))
    assert str(refusal.value) == f"--cpanel has the unknown key '{key}'. {advice}"


@pytest.mark.parametrize("recipe", RECIPES)
def test_networks_are_given_as_lists(recipe):
    module = load_params(f"params.{recipe}")
    with pytest.raises(UsageError, match="--cpanel 'hidden_sizes' must be a list, got 64"):
        override_panel(module.cpanel, {"hidden_sizes": 64})
    tree = generate(module, override_panel(module.cpanel, {"hidden_sizes": [32, 16, 8]}))
    assert [each["policy"]["hidden_sizes"] for each in tree["agents"].values() if "policy" in each] == [[32, 16, 8]]


@pytest.mark.parametrize("recipe", RECIPES)
def test_a_copy_of_a_recipe_elsewhere_makes_the_same_tree(recipe, tmp_path, monkeypatch):
    monkeypatch.syspath_prepend(tmp_path)
    copy = tmp_path / f"copy_of_{recipe}.py"
    copy.write_bytes(Path(ROOT, f"params/{recipe}.py").read_bytes())
    module, original = load_params(str(copy)), load_params(f"params.{recipe}")
    assert module is not original
    ours, theirs = (json.dumps(to_plain(generate(each, each.cpanel))) for each in (module, original))
    assert ours.replace(f'"copy_of_{recipe}.', f'"params.{recipe}.') == theirs  # classes of its own are the copy's


def test_a_recipe_that_is_built_upon_another_leaves_that_one_as_it_is():
    before = to_plain(panel("ppo_classic"))
    module = load_params("params.ppo_atari")
    generate(module, override_panel(module.cpanel, {"gae_lambda": 0.5}))
    assert to_plain(panel("ppo_classic")) == before
    assert module.cpanel["n_steps"] == before["n_steps"]


def test_a_parameter_that_a_recipe_does_not_name_can_stand_in_a_panel_built_upon_it():
    module = load_params("params.ppo_classic")
    tree = generate(module, module.cpanel | {"target_kl": 0.02, "activation": "relu"})
    agent = tree["agents"]["agent"]
    assert (agent["target_kl"], agent["policy"]["activation"]) == (0.02, "relu")


@pytest.mark.parametrize(
    ("changes", "lr", "clip_param"),
    [
        ({"anneal_lr": False}, 5e-4, {"start": 0.2, "end": 0.0}),
        ({"anneal_clip_param": False}, {"start": 5e-4, "end": 0.0}, 0.2),
    ],
)
def test_a_value_falls_to_0_where_the_panel_says_so(changes, lr, clip_param):
    module = load_params("params.ppo_classic")
    agent = to_plain(generate(module, override_panel(module.cpanel, changes)))["agents"]["agent"]
    linear = {"class": "digideep.parameters.schedule.Linear"}
    assert agent["lr"] == (linear | lr if isinstance(lr, dict) else lr)
    assert agent["clip_param"] == (linear | clip_param if isinstance(clip_param, dict) else clip_param)


def test_an_encoder_that_is_not_there_is_refused():
    module = load_params("params.dqn_atari")
    with pytest.raises(UsageError, match="encoder must be nature, impala or drq, got 'vit'"):
        generate(module, override_panel(module.cpanel, {"encoder": "vit"}))


def module_with(gen_params, **cpanel):
    return SimpleNamespace(__name__="mine", cpanel=cpanel, gen_params=gen_params)


@pytest.mark.parametrize(("key", "today"), [("tau", "gae_lambda"), ("actor_feature_size", "hidden_sizes"),
                                            ("use_gae", "gae_lambda"), ("add_time_step", "TimeAware")])  # fmt: skip
def test_a_key_of_2019_that_a_parameter_file_of_ones_own_gives_its_parent_is_refused(key, today):
    parent = load_params("params.ppo_classic")
    mine = module_with(lambda panel: parent.gen_params(panel), **parent.cpanel | {key: 1})
    with pytest.raises(UsageError, match=f"Nothing in mine reads '{key}' of its control panel. .*{today}"):
        generate(mine, mine.cpanel)


def test_a_key_that_nothing_reads_is_told_with_what_it_may_have_meant(caplog, monkeypatch):
    monkeypatch.setattr(logging.getLogger("digideep"), "propagate", True)
    parent = load_params("params.sac_classic")
    mine = module_with(lambda panel: parent.gen_params(panel | {"seed": 3}), **parent.cpanel | {"lr_atcor": 1.0})
    generate(mine, mine.cpanel)
    assert caplog.messages[:1] == ["Nothing in mine reads 'lr_atcor' of its control panel. Did you mean 'lr_actor'?"]


@pytest.mark.parametrize(
    "read",
    [
        lambda panel: {**panel}, dict, lambda panel: panel["mine"], lambda panel: panel.get("mine"),
        lambda panel: list(panel.items()), lambda panel: list(panel.values()), copy.deepcopy,
        lambda panel: "mine" in panel, lambda panel: {"other": 1} | panel, lambda panel: (panel | {})["mine"],
        lambda panel: panel.copy()["mine"], json.dumps, lambda panel: panel.pop("mine"),
        lambda panel: [panel[key] for key in panel], lambda panel: {"panel": panel},
    ],
)  # fmt: skip
def test_whoever_goes_through_a_panel_reads_all_of_it(read, caplog, monkeypatch):
    monkeypatch.setattr(logging.getLogger("digideep"), "propagate", True)
    assert generate(module_with(lambda panel: {"found": read(panel)}, mine=1), {"mine": 1})
    assert caplog.messages == []


def test_the_recipes_read_all_of_their_panels(caplog, monkeypatch):
    monkeypatch.setattr(logging.getLogger("digideep"), "propagate", True)
    for recipe in RECIPES:
        generate(load_params(f"params.{recipe}"), panel(recipe))
    assert caplog.messages == []


@pytest.mark.parametrize("recipe", ["ppo_classic", "sac_classic"])
def test_a_key_that_has_the_name_of_an_agents_parameter_is_that_parameter(recipe):
    optimizer = describe(RMSprop, eps=1e-6)
    cpanel = panel(recipe) | {"optimizer": optimizer}
    assert generate(load_params(f"params.{recipe}"), cpanel)["agents"]["agent"]["optimizer"] == to_plain(optimizer)


@pytest.mark.parametrize("recipe", RECIPES)
@pytest.mark.parametrize("key", ["num_workers", "n_steps"])
def test_a_run_of_no_steps_is_refused_by_its_key(recipe, key):
    module = load_params(f"params.{recipe}")
    with pytest.raises(UsageError, match=f"{key} must be an integer of at least 1, got 0"):
        check_tree(from_plain(generate(module, module.cpanel | {key: 0})), Runner)


def test_a_schedule_is_not_annealed_once_more():
    module = load_params("params.ppo_classic")
    lr = describe(Linear, start=1e-3, end=1e-4)
    with pytest.raises(UsageError, match="lr is a schedule already"):
        generate(module, module.cpanel | {"lr": lr})
    assert generate(module, module.cpanel | {"lr": lr, "anneal_lr": False})["agents"]["agent"]["lr"] == to_plain(lr)


def test_an_import_that_is_missing_in_a_parameter_file_is_told_with_its_line(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.syspath_prepend(str(tmp_path))
    Path("importing_params.py").write_text("import json\nfrom digideep.learning.courses import Linear\n")
    with pytest.raises(UsageError, match=r"'digideep.learning.courses' \(importing_params.py, line 2\). Correct"):
        load_params("importing_params.py")
    with pytest.raises(UsageError, match=r"No module named 'no'. Give a path ending in .py, or a module"):
        load_params("no.such.module")


def test_every_parameter_that_a_recipe_would_read_can_be_named_by_cpanel():
    module = load_params("params.ppo_classic")
    tree = generate(module, override_panel(module.cpanel, {"target_kl": 0.02, "activation": "relu"}))
    agent = tree["agents"]["agent"]
    assert (agent["target_kl"], agent["policy"]["activation"]) == (0.02, "relu")
    with pytest.raises(UsageError, match="PPO: target_kl must be a number or null, got 'x'"):
        generate(module, override_panel(module.cpanel, {"target_kl": "x"}))
    with pytest.raises(UsageError, match=r"unknown key 'target_lk'. Did you mean 'target_kl'\?"):
        generate(module, override_panel(module.cpanel, {"target_lk": 0.02}))


def test_who_names_a_parameter_that_no_part_of_a_recipe_reads_is_led_to_the_tree():
    module = load_params("params.ppo_classic")
    with pytest.raises(UsageError, match=r"unknown key 'zeal'. Known are .* What else the tree has is set by --repeal"):
        generate(module, override_panel(module.cpanel, {"zeal": 0.02}))


@pytest.mark.parametrize(("recipe", "key"), [("dqn_classic", "goal_strategy"), ("ppo_classic", "hindsight")])
def test_a_key_of_hindsight_alone_is_refused_with_what_it_belongs_to(recipe, key):
    module = load_params(f"params.{recipe}")
    with pytest.raises(UsageError, match=f"unknown key '{key}'. It belongs to hindsight=true of replay methods"):
        generate(module, override_panel(module.cpanel, {key: "final"}))
