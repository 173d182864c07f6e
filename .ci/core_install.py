"""What the core install promises, where nothing else is installed: `python -I .ci/core_install.py docs/extending.md`.

Every module can be imported. From an empty directory, recipes whose environments are core train, play, film and resume,
and the method of the page trains. What needs an extra says which one, in one line, with exit code 2.
"""

import importlib
import json
import os
import pkgutil
import re
import subprocess
import sys
import tempfile
from pathlib import Path

SMALL = {
    "number_epochs": 1,
    "epoch_size": 2,
    "num_workers": 2,
    "test_interval": 1,
    "test_win_size": 1,
    "compile": "off",
}
EXTRAS = {
    "ppo_atari": "atari", "dqn_atari": "atari", "qr_dqn_atari": "atari", "pqn_atari": "atari", "dqn_drq": "atari",
    "ppo_dmc": "dmc", "sac_dmc": "dmc", "ddpg_drqv2": "dmc", "sac_drq": "dmc", "ppo_mpe": "multiagent",
    "sac_fetch": "robotics", "td3_bc": "minari",
}  # fmt: skip


PYTHON = Path(sys.executable)
DIGIDEEP = (PYTHON.with_name("digideep"),)


def tool(name: str) -> tuple[str | Path, ...]:
    """A module of digideep as a command."""
    return PYTHON, "-m", f"digideep.{name}"


def expect(name: str, code: int, words: str, *command: str | Path) -> None:
    """Run a command and compare its exit code and a part of what it prints."""
    done = subprocess.run(
        [*map(str, command)], stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True,
        env={**os.environ, "MUJOCO_GL": "egl"}, check=False,
    )  # fmt: skip
    found, output = done.returncode, done.stdout
    assert found == code, f"{name}: exit code {found}, expected {code}:\n{output}"
    assert words in output, f"{name}: '{words}' is not in\n{output}"
    assert code != 2 or len(output.strip().splitlines()) == 1, f"{name}: more than one line:\n{output}"
    print(f"core install: {name}", flush=True)


def main(page: str) -> None:
    """Try everything, in the present directory. Args: page: docs/extending.md."""
    params, digideep = importlib.import_module("params"), importlib.import_module("digideep")
    for package in (digideep, params):
        for module in pkgutil.walk_packages(package.__path__, package.__name__ + "."):
            importlib.import_module(module.name)
    print("core install: every module is imported", flush=True)

    modules = {
        each.name: importlib.import_module(f"params.{each.name}") for each in pkgutil.iter_modules(params.__path__)
    }
    recipes = sorted(name for name, module in modules.items() if hasattr(module, "cpanel"))
    for recipe in recipes:
        panel = modules[recipe].cpanel
        small = SMALL | {"num_mini_batches": 2} if "num_mini_batches" in panel else SMALL
        small |= {"n_steps": min(panel["n_steps"], 8)}
        train = (*DIGIDEEP, "--params", f"params.{recipe}", "--cpanel", json.dumps(small))
        if recipe in EXTRAS:
            expect(f"{recipe} names its extra", 2, f"pip install 'digideep[{EXTRAS[recipe]}]'", *train)
        else:
            expect(f"{recipe} trains", 0, "Finished after", *train, "--session-name", recipe)

    sessions = Path("digideep_sessions")
    for recipe in ("ppo_classic", "ppo_mujoco"):
        session = sessions / recipe
        expect(f"{recipe} plays", 0, "return", *DIGIDEEP, "--play", "--load-checkpoint", session, "--episodes", "1")
        assert list(session.rglob("*.mp4")), f"{recipe}: no film"
    classic = (*DIGIDEEP, "--params", "params.ppo_classic", "--cpanel", json.dumps(SMALL | {"n_steps": 32}))
    expect("a run resumes exactly", 0, "resume is exact", *classic, "--verify-resume", "2")
    expect("TensorBoard is there", 0, "TensorBoard: http", *classic, "--tensorboard")
    expect("visdom says what is missing", 2, "make visdom", *classic, "--visdom")
    for name in ("wandb", "mlflow"):
        expect(f"{name} names its extra", 2, f"digideep[{name}]", *classic, f"--{name}")
    (code,) = re.findall(r"<!-- file: reinforce.py -->\n+```python\n(.*?)```", page, re.DOTALL)
    Path("reinforce.py").write_text(code)
    method = (*DIGIDEEP, "--params", "reinforce.py", "--cpanel", json.dumps(SMALL | {"n_steps": 32}))
    expect("a method of one's own trains", 0, "Finished after", *method)
    expect("sessions are listed", 0, "ppo_classic", *tool("post.sessions"))
    expect("a policy is exported", 0, ".pt", *tool("post.export"), sessions / "ppo_classic", "--format", "torchscript")
    expect(
        "ONNX names its extra",
        2,
        "digideep[export]",
        *tool("post.export"),
        sessions / "ppo_classic",
        "--format",
        "onnx",
    )
    expect("reports name their extra", 2, "digideep[plot]", *tool("post.report"), sessions / "ppo_classic")
    plot = ("--root-dir", sessions, "-i", "ppo_classic", "--keyx", "frame", "--keyy", "/return/train")
    expect("plots name their extra", 2, "digideep[plot]", *tool("post.plotter"), *plot)
    expect("an environment is checked", 0, "", *tool("environment.play"), "--check", "--model", "CartPole-v1")


if __name__ == "__main__":
    extending = Path(sys.argv[1]).read_text()
    with tempfile.TemporaryDirectory() as empty:
        os.chdir(empty)
        main(extending)
