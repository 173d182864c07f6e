"""Compiled steps of earlier runs are called without the compiler, as long as nothing has changed."""

import json
import os
import random
import subprocess
import sys
from pathlib import Path
from types import ModuleType

import pytest
import torch

from digideep.learning import kept_steps
from digideep.learning.compiling import compiled
from digideep.learning.gradient_step import Metrics, pack
from digideep.learning.kept_steps import cache_directory, find
from digideep.learning.traced_values import fact, modules_at
from digideep.parameters.schedule import Course
from digideep.policy.cell_passes import take_rows
from digideep.utility.errors import UsageError
from tests.support.helpers import ROOT

FACTOR = 3.0
ERRORS = {"squared": lambda error: error.square(), "absolute": lambda error: error.abs()}
CPU = torch.device("cpu")


class Learner:
    """What an agent is to the compiler: tensors in places, and values that stay."""

    scale = 2

    def __init__(self, rate=0.5):
        self.rate, self.names, self.error, self.calls = rate, ("mean", "largest"), ERRORS["squared"], 0
        self.state = {"total": torch.zeros(4), "offset": torch.zeros(4)}

    def step(self, data: torch.Tensor, *flags: bool) -> tuple[Metrics, torch.Tensor]:
        noise = torch.rand(4)
        factor = self.rate * FACTOR * getattr(self, "bonus", 1.0)
        self.state["total"].add_(factor * self.error(data) + noise + self.state["offset"])
        result = self.state["total"] * self.scale if flags[0] else self.state["total"] + 1
        return pack({name: result.mean() if name == "mean" else result.max() for name in self.names}), result

    def counted(self, data: torch.Tensor) -> tuple[Metrics, torch.Tensor]:
        self.calls += 1
        return pack({"sum": data.sum()}), self.state["total"] + data


ARGS = (torch.arange(4.0), True)


@pytest.fixture(scope="module")
def cache(tmp_path_factory):
    """A directory of the compiler's, in which the step of a `Learner` has been kept."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("TORCHINDUCTOR_CACHE_DIR", str(tmp_path_factory.mktemp("compiler")))
        learner = Learner()
        torch.manual_seed(7)
        metrics, result = compiled(learner.step, CPU)(*ARGS)
        yield {"directory": cache_directory(), "metrics": metrics, "result": result, "total": learner.state["total"]}


def look(learner, args=ARGS):
    return find(Learner.step, (learner, *args))


def test_a_kept_step_does_what_the_compiled_one_did_to_the_bit(cache):
    learner = Learner()
    torch.manual_seed(7)
    metrics, result = look(learner)(learner, *ARGS)
    assert metrics.names == ("mean", "largest")
    for found, expected in ((metrics.values, cache["metrics"].values), (result, cache["result"]),
                            (learner.state["total"], cache["total"])):  # fmt: skip
        assert torch.equal(found, expected)
    noise = (learner.state["total"] - 1.5 * torch.arange(4.0).square()).numpy()
    assert ((noise >= 0) & (noise < 1)).all(), "one step has been taken, not the trials before it"


def test_it_reads_tensors_where_they_are_now(cache):
    learner = Learner()
    step = look(learner)
    learner.state["total"] = torch.full((4,), 100.0)
    _, result = step(learner, *ARGS)
    assert (result > 200).all()


def own_rate(learner, patch):
    learner.rate = 0.25


def an_attribute_of_the_class(learner, patch):
    patch.setattr(Learner, "scale", 3)


def an_attribute_that_hides_that_of_the_class(learner, patch):
    learner.scale = 3


def an_attribute_that_was_absent(learner, patch):
    learner.bonus = 2.0


def a_method_that_the_class_has_besides(learner, patch):
    patch.setattr(Learner, "bonus", 2.0, raising=False)


def another_lambda(learner, patch):
    learner.error = ERRORS["absolute"]


def tensors_that_are_one(learner, patch):
    learner.state["offset"] = learner.state["total"]


def another_name(learner, patch):
    learner.names = ("mean", "most")


def a_global(learner, patch):
    patch.setattr(sys.modules[__name__], "FACTOR", 2.0)


def another_dtype(learner, patch):
    learner.state["total"] = torch.zeros(4, dtype=torch.float64)


def a_source(learner, patch):
    patch.setattr(kept_steps, "_hash_of", lambda name, honest=kept_steps._hash_of: name and honest(name) + "0")


def a_source_that_is_younger_than_the_program(learner, patch):
    patch.setattr(kept_steps, "_STARTED", 0.0)


def number_of_threads(learner, patch):
    patch.setattr(torch, "get_num_threads", lambda: 64)


def torch_itself(learner, patch):
    patch.setattr(torch, "__version__", "9.9.9")


def what_compiles_and_keeps_them(learner, patch):
    patch.setattr(kept_steps, "_MAKERS", "another release")


def no_caches(learner, patch):
    patch.setenv("TORCHINDUCTOR_FORCE_DISABLE_CACHES", "1")


def an_option_of_the_compiler(learner, patch):
    patch.setenv("TORCHINDUCTOR_MAX_AUTOTUNE", "1")


def the_owner_of_the_file(learner, patch):
    patch.setattr(os, "getuid", lambda: 12345)


CHANGES = [
    own_rate, an_attribute_of_the_class, an_attribute_that_hides_that_of_the_class, an_attribute_that_was_absent,
    a_method_that_the_class_has_besides, another_lambda, tensors_that_are_one, another_name, a_global, another_dtype,
    a_source, a_source_that_is_younger_than_the_program, number_of_threads, torch_itself,
    what_compiles_and_keeps_them, no_caches, an_option_of_the_compiler, the_owner_of_the_file,
]  # fmt: skip


@pytest.mark.parametrize("change", CHANGES)
def test_nothing_is_found_once_anything_that_the_compiler_looked_at_has_changed(cache, monkeypatch, change):
    learner = Learner()
    assert look(learner) is not None
    change(learner, monkeypatch)
    assert look(learner) is None


@pytest.mark.parametrize("args", [(torch.arange(4.0), False), (torch.arange(4), True), (torch.zeros(8)[::2], True),
                                  (torch.zeros(1), True)])  # fmt: skip
def test_nor_for_another_kind_of_arguments(cache, args):
    assert look(Learner(), args) is None


def test_a_method_that_an_object_has_of_its_own_counts(cache):
    learner = Learner()
    before = fact(learner)
    learner.rates = lambda: 2
    assert fact(learner) != before


@pytest.mark.parametrize("text", ["", "[]", "{}", "null", '{"modules": {}, "read": {}}'])
def test_a_damaged_record_is_passed_over(cache, text):
    (place,) = (cache["directory"] / "digideep").iterdir()
    (record,) = place.glob("*.json")
    honest = record.read_text()
    (place / "0.json").write_text(text)  # the first in order
    try:
        assert look(Learner()) is not None
        record.write_text(text)
        assert look(Learner()) is None
    finally:
        record.write_text(honest)
        (place / "0.json").unlink()


def test_so_are_records_that_are_no_files_or_that_somebody_has_changed(cache):
    (record,) = (cache["directory"] / "digideep").glob("*/*.json")
    os.mkfifo(record.with_name("0.json"))  # which nobody writes to: reading it would hang
    deep = record.with_name("1.json")
    deep.write_text(100_000 * "[")
    honest = record.read_text()
    try:
        assert look(Learner()) is not None
        record.write_text(honest.replace('"mean"', '"most"'))
        assert look(Learner()) is None
    finally:
        record.write_text(honest)
        record.with_name("0.json").unlink()
        deep.unlink()


def test_so_is_a_record_whose_library_is_cut_off_or_another(cache):
    (library,) = (cache["directory"] / "digideep").glob("*/*.so")
    honest = library.read_bytes()
    for content in (honest[:20_000], honest + b"0"):
        library.unlink()  # it may be loaded
        library.write_bytes(content)
        assert look(Learner()) is None
    library.write_bytes(honest)
    assert look(Learner()) is not None


class Heir(Course):
    """Of another module, from which it inherits all."""


def test_a_record_names_the_sources_of_all_that_a_class_inherits():
    values = {"self": Heir(1.0, 1), "function": pack}
    modules = {"builtins", "digideep.learning.gradient_step", "digideep.parameters.schedule", __name__}
    assert modules_at(["self", "function"], values) == modules


def test_so_is_a_record_without_its_library(cache):
    (library,) = (cache["directory"] / "digideep").glob("*/*.so")
    away = library.rename(library.with_suffix(".away"))
    assert look(Learner()) is None
    away.rename(library)
    assert look(Learner()) is not None


class Shifting(torch.nn.Module):
    """With a tuple, which the compiler checks as a whole, and a step that gives back what it was given."""

    def __init__(self, line):
        super().__init__()
        self.line, self.total = line, torch.zeros(4)

    def forward(self, data: torch.Tensor) -> torch.Tensor:
        return data * self.line[0] + self.line[1]

    def step(self, data: torch.Tensor) -> tuple[Metrics, torch.Tensor]:
        self.total.add_(self(data))
        return pack({"sum": self.total.sum()}), self.total + 1

    def given_back(self, data: torch.Tensor) -> tuple[Metrics, torch.Tensor]:
        self.total.add_(1)
        return pack({"sum": self.total.sum()}), data


def test_the_items_of_a_tuple_count(cache):
    data = torch.ones(4)
    compiled(Shifting((1.0, 2.0)).step, CPU)(data)
    assert find(Shifting.step, (Shifting((1.0, 2.0)), data)) is not None
    assert find(Shifting.step, (Shifting((3.0, 2.0)), data)) is None


def test_a_step_that_cannot_be_kept_has_been_taken_once(cache):
    owner = Shifting((1.0, 2.0))
    compiled(owner.given_back, CPU)(torch.ones(4))
    assert owner.total.tolist() == [1, 1, 1, 1]
    assert find(Shifting.given_back, (owner, torch.ones(4))) is None


def test_what_does_more_than_to_compute_is_compiled_and_not_kept(cache):
    learner = Learner()
    compiled(learner.counted, CPU)(torch.ones(4))
    assert learner.calls == 1
    assert find(Learner.counted, (learner, torch.ones(4))) is None


class Taker:
    """With the gradient of an operator of ours, which the compiler's cache knows nothing of."""

    def __init__(self, factor):
        self.factor, self.weight = factor, torch.ones(2, 3)

    def loss(self, weight: torch.Tensor, rows: torch.Tensor) -> torch.Tensor:
        return take_rows(weight * self.factor, rows).sum()

    def step(self, rows: torch.Tensor) -> tuple[Metrics, torch.Tensor]:
        slope, loss = torch.func.grad_and_value(self.loss)(self.weight, rows)
        return pack({"loss": loss}), slope


def test_a_step_that_the_compiler_cannot_tell_from_another_is_not_taken_for_it(cache):
    slopes, draws = [], []
    for factor in (2.0, 5.0):
        random.seed(7)
        slopes.append(compiled(Taker(factor).step, CPU)(torch.tensor([1]))[1][1, 0].item())
        draws.append(random.random())
    assert slopes == [2, 5]
    assert draws == [random.Random(7).random()] * 2


CELL = """
from digideep.learning.gradient_step import pack

class Learner:
    def loss(self, data):
        return 2 * data.sum()

    def step(self, data):
        return pack({"loss": self.loss(data)}), data + 1
"""


def test_nor_is_what_was_written_without_a_file_as_in_a_notebook(cache, monkeypatch):
    cell = ModuleType("cell")
    monkeypatch.setitem(sys.modules, "cell", cell)
    exec(CELL, vars(cell))
    learner = cell.Learner()
    metrics, _ = compiled(learner.step, CPU)(torch.ones(4))
    assert metrics.values.tolist() == [8.0]
    assert find(cell.Learner.step, (learner, torch.ones(4))) is None


def test_a_directory_that_cannot_be_made_is_refused_before_anything_is_learned(tmp_path, monkeypatch):
    (tmp_path / "file").touch()
    monkeypatch.setenv("TORCHINDUCTOR_CACHE_DIR", str(tmp_path / "file"))
    with pytest.raises(UsageError, match=r"cannot make the directory .*file.*Let TORCHINDUCTOR_CACHE_DIR name one"):
        compiled(Learner().step, CPU)


PROGRAM = """
import hashlib, json, sys
from digideep.main import main
from digideep.pipeline.runner import Runner

def train(runner):
    for _ in range(2):
        runner.train_cycle()
    flat = runner.agents["agent"].step.flat
    print(json.dumps([hashlib.sha256(flat.numpy().tobytes()).hexdigest(), "torch._dynamo" in sys.modules]))
    return 0

Runner.train = train
main()
"""


def test_a_second_run_learns_the_same_without_importing_the_compiler(tmp_path):
    panel = {"compile": "on", "num_workers": 2, "n_steps": 16, "num_mini_batches": 4, "hidden_sizes": [8]}
    flags = ["--params", "params/ppo_classic.py", "--cpanel", json.dumps(panel), "--session-path", str(tmp_path)]
    command = [sys.executable, "-c", PROGRAM, *flags, "--quiet"]
    variables = os.environ | {"TORCHINDUCTOR_CACHE_DIR": str(tmp_path / "compiler")}
    said = []
    for _ in range(2):
        done = subprocess.run(command, cwd=ROOT, env=variables, capture_output=True, text=True, timeout=300)
        assert done.returncode == 0, done.stderr
        said.append(json.loads(done.stdout.splitlines()[-1]))
    (first, compiles), (second, compiles_again) = said
    assert (first, compiles, compiles_again) == (second, True, False)
    assert list(Path(tmp_path, "compiler").glob("*/digideep/*/*.json"))
