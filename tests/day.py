"""A day's work, from an empty directory and with the installed package: `python PATH/TO/day.py`.

An environment and a wrapper of one's own, PPO and SAC on it, by command and from Python; stopped, continued with
another learning rate, fine-tuned, evaluated, reported, plotted, exported, and run from the export. It uses public names
only.
"""

import json
import signal
import subprocess
import sys
import time
from pathlib import Path

ENVIRONMENT = '''"""A point that has to reach a goal: a picture of both, and two vectors."""

import gymnasium as gym
import numpy as np

from digideep.parameters.component import Component


class Reach(gym.Env):
    metadata = {"render_modes": ["rgb_array"], "render_fps": 20}
    action_space = gym.spaces.Box(-1, 1, (2,), np.float32)
    observation_space = gym.spaces.Dict(
        image=gym.spaces.Box(0, 255, (36, 36, 1), np.uint8), state=gym.spaces.Box(-2, 2, (4,), np.float32)
    )

    def __init__(self, render_mode=None):
        self.render_mode = render_mode

    def reset(self, *, seed=None, options=None):
        super().reset(seed=seed)
        self.place, self.goal = self.np_random.uniform(-1, 1, (2, 2)).astype(np.float32)
        return self.see(), {}

    def step(self, action):
        self.place = np.clip(self.place + 0.2 * action, -1, 1).astype(np.float32)
        distance, effort = float(np.linalg.norm(self.place - self.goal)), 0.01 * float(np.square(action).sum())
        info = {"reward_distance": -distance, "reward_effort": -effort, "is_success": distance < 0.2}
        return self.see(), -distance - effort, distance < 0.2, False, info

    def see(self):
        image = np.zeros((36, 36, 1), np.uint8)
        for brightness, point in ((120, self.goal), (255, self.place)):
            row, column = ((point + 1) * 17).astype(int)
            image[row : row + 2, column : column + 2] = brightness
        return {"image": image, "state": np.concatenate([self.place, self.goal])}

    def render(self):
        return np.repeat(self.see()["image"], 3, 2).repeat(4, 0).repeat(4, 1)


class Bonus(gym.Wrapper, Component):
    """Adds to the reward where the goal is reached."""

    def __init__(self, env, *, size: float = 1.0):
        super().__init__(env)
        self.size = size

    def step(self, action):
        observation, reward, terminated, truncated, info = self.env.step(action)
        return observation, reward + self.size * terminated, terminated, truncated, info


gym.register("Reach-v0", Reach, max_episode_steps=30)
'''
RECIPE = '''"""{method} on Reach-v0."""

from params import {recipe}, shared

from digideep.environment.making.wrappers import describe_wrapper
from reach import Bonus

cpanel = {recipe}.cpanel | {{
    "model_name": "Reach-v0",
    "from_module": "reach.py",
    "episode_infos": {{"reward_distance": "sum", "reward_effort": "mean"}},
    "test_win_size": 2,
    "save_interval": 1,
    "compile": "off",
    "hidden_sizes": [16],
    "bonus": 2.0,
    **{changes},
}}


def gen_params(cpanel):
    wrapper = describe_wrapper(Bonus, size=cpanel["bonus"])
    return {recipe}.gen_params(cpanel) | {{"env": shared.environment_tree(cpanel, norm_wrappers=[wrapper])}}
'''
PPO = {"total_frames": 1024, "epoch_frames": 256, "num_workers": 4, "n_steps": 32, "n_update": 2}
SAC = {"total_frames": 120, "epoch_frames": 30, "warm_start": 20, "batch_size": 8, "memory_size": 500}
DIGIDEEP = Path(sys.executable).with_name("digideep")
_began = time.perf_counter()


def say(what):
    print(f"{time.perf_counter() - _began:5.1f} s  {what}", flush=True)


def digideep(*words, code=0):
    """Run the command. Returns: what it printed."""
    done = subprocess.run([DIGIDEEP, *map(str, words)], capture_output=True, text=True, check=False)
    assert done.returncode == code, f"digideep {words}: exit code {done.returncode}\n{done.stdout}{done.stderr}"
    say(f"digideep {' '.join(map(str, words))}"[:100])
    return done.stdout


def write_project():
    Path("reach.py").write_text(ENVIRONMENT)
    Path("my_ppo.py").write_text(RECIPE.format(method="PPO", recipe="ppo_classic", changes=PPO))
    Path("my_sac.py").write_text(RECIPE.format(method="SAC", recipe="sac_classic", changes=SAC))
    assert "Exact resume will hold." in digideep("env", "--check", "--model", "Reach-v0", "--module", "reach.py")
    assert "weight of the value loss" in digideep("params", "my_ppo.py", "value_loss_coef")


def train_by_command():
    digideep("train", "my_ppo.py", "--session-name", "ppo", "--tensorboard", "--quiet")
    digideep("train", "my_ppo.py", "--session-name", "ppo_fast", "--set", "lr=2e-3", "seed=1", "--quiet")
    run = subprocess.Popen(
        [DIGIDEEP, "train", "my_sac.py", "--session-name", "sac", "--set", "total_frames=100_000", "--quiet"]
    )
    while run.poll() is None and not Path("digideep_sessions/sac/checkpoints/checkpoint-1").exists():
        time.sleep(0.05)
    run.send_signal(signal.SIGINT)
    assert run.wait() == 75
    say("digideep train my_sac.py, stopped by Ctrl-C")
    digideep("resume", "sac", "--total-frames", 300, "--set", "/agents/agent/lr_actor=1e-4", "--quiet")
    digideep("train", "my_sac.py", "--session-name", "tuned", "--load-checkpoint", "sac", "--set", "bonus=5", "--quiet")
    digideep("resume", "tuned", code=3)


def train_from_python():
    import digideep as dd

    told = []
    ppo = dd.train(
        "my_ppo.py", session_name="from_python", quiet=True, on_epoch=lambda figures: told.append(figures.means)
    )
    assert ppo.status == "done"
    table = ppo.varlog.to_pandas()
    assert table["/info/train/reward_distance"].tolist() == [means["/info/train/reward_distance"] for means in told]
    assert table["/success/train"].between(0, 1).all()
    sac = dd.train(
        "my_sac.py", session_name="sac_from_python", quiet=True, on_epoch=lambda figures: figures.meta["epoch"] < 2
    )
    assert sac.status == "stopped"
    assert dd.resume(sac, repeal={"/agents/agent/lr_critic": 3e-4}, quiet=True).status == "done"
    found = dd.evaluate("sac", episodes=3, seed=1)
    assert len(found["infos"]["reward_effort"]["values"]) == 3
    policy, environment = dd.load("sac").policy(), dd.load("sac").environment()
    observation, _ = environment.reset(seed=1)
    assert policy(observation).shape == (2,)
    assert isinstance(policy.value(observation), float)
    say("the same from Python")


def look_at_results():
    said = json.loads(digideep("evaluate", "ppo/checkpoints/best", "--episodes", 3, "--seed", 1, "--json"))
    assert {"mean", "success", "infos"} <= said.keys()
    assert "videos:" in digideep("play", "ppo", "--episodes", 1)
    assert digideep("sessions").count("Reach-v0") == 6
    digideep("report", "digideep_sessions", "-o", "report.html", "--title", "A day")
    assert "A day" in Path("report.html").read_text()
    digideep(
        *(
            "plot",
            "-i",
            "ppo",
            "-i",
            "ppo_fast",
            "--keyy",
            "/success/test",
            "-o",
            "plots",
            "--opts",
            '{"ext": ["pdf", "svg"]}',
        )
    )
    assert len(list(Path("digideep_sessions/plots").iterdir())) == 2
    digideep("export-logs", "ppo", "--to", "tensorboard", "-o", "elsewhere")


def deploy():
    import numpy as np
    import onnxruntime

    import digideep as dd

    digideep("export", "sac", "--format", "onnx", "--output", "policy.onnx")
    session = dd.load("sac")
    policy, environment = session.policy(), session.environment()
    file = onnxruntime.InferenceSession("policy.onnx")
    observation, _ = environment.reset(seed=2)
    is_over, steps = False, 0
    while not is_over:
        (actions,) = file.run(["actions"], {f"observations/{name}": each[None] for name, each in observation.items()})
        assert np.allclose(actions[0], policy(observation), atol=1e-4)
        observation, _, terminated, truncated, _ = environment.step(actions[0])
        is_over, steps = terminated or truncated, steps + 1
    say(f"an episode of {steps} steps by the export")


if __name__ == "__main__":
    assert not list(Path.cwd().iterdir()), "start this in an empty directory"
    sys.path.insert(0, "")
    write_project()
    train_by_command()
    train_from_python()
    look_at_results()
    deploy()
    say("the day is over")
