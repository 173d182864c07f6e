"""`digideep params` explains a recipe: where each key of its panel leads in the tree, and what is written about it."""

import json

import pytest

from digideep.main import main
from digideep.parameters.control_panel import load_params
from digideep.post.params import explain
from tests.support.helpers import ROOT

RECIPES = sorted(path.stem for path in (ROOT / "params").glob("*_*.py"))


def explained(recipe, **changes):
    module = load_params(f"params.{recipe}")
    return explain(module, module.cpanel | changes)


@pytest.mark.parametrize("recipe", ["ppo_mujoco", "sac_classic", "dqn_classic"])
def test_every_key_is_explained_by_a_docstring_or_a_comment(recipe):
    found = explained(recipe)
    assert list(found) == list(load_params(f"params.{recipe}").cpanel)
    silent = {key for key, about in found.items() if not about["meaning"] and not about["note"]}
    assert silent == set()


def test_a_key_is_followed_to_where_it_leads_in_the_tree():
    found = explained("ppo_classic")
    assert found["gamma"] == {
        "value": 0.98, "meaning": "discount per step, in [0, 1].", "note": "", "paths": ["/agents/agent/gamma"]
    }  # fmt: skip
    assert found["total_frames"]["paths"] == ["/runner/n_epochs", "/runner/n_cycles"]
    assert found["lr"]["meaning"].startswith("learning rate"), "not what the schedule says of its start"
    assert found["entropy_coef"]["meaning"] == "weight of the entropy bonus. Usual: 0 to 0.02."
    assert found["cell"]["paths"] == [], "nothing remembers"
    assert explained("ppo_classic", recurrent=True)["cell"]["paths"] == ["/agents/agent/policy/cell"]


def test_a_comment_is_about_the_value_of_this_panel():
    assert explained("ppo_classic")["num_threads"]["note"] == "of torch: one is fastest for small networks"
    assert explained("dqn_atari")["num_threads"]["note"] == "convolutions gain from each core"
    assert "Table 3" in explained("ppo_mujoco")["gae_lambda"]["note"]


def test_the_command_prints_some_keys_or_all_of_them_and_refuses_others(capsys):
    assert main(["params", "params.sac_mujoco", "alpha", "memory_size", "--set", "alpha=0.3"]) == 0
    assert capsys.readouterr().out.splitlines()[::4][:1] == ["memory_size = 1000000"]
    assert main(["params", "params.sac_mujoco", "alpha", "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["alpha"]["value"] == 0.2
    assert main(["params", "params.sac_mujoco", "alhpa"]) == 2
    assert capsys.readouterr().err == (
        "digideep: The control panel of params.sac_mujoco has no 'alhpa'. Did you mean 'alpha'?\n"
    )
    assert main(["params", "params.sac_mojoco"]) == 2
