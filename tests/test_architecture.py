"""The house stays in order: who may import whom, and what may not stand anywhere."""

import ast
import subprocess
import sys

import pytest

from tests.support.helpers import ROOT

SOURCES = sorted((ROOT / "digideep").rglob("*.py"))
# Which rooms a room may import, besides itself.
ALLOWED = {
    "utility": set(),
    "telemetry": {"utility"},
    "parameters": {"utility"},
    "policy": {"parameters", "telemetry", "utility"},
    "learning": {"parameters", "telemetry", "utility"},
    "environment": {"parameters", "telemetry", "utility"},
    "memory": {"parameters", "telemetry", "utility"},
    "agent": {"learning", "parameters", "policy", "telemetry", "utility"},
}
ALLOWED["pipeline"] = set(ALLOWED)
ALLOWED["post"] = set(ALLOWED)
# A launched process is the program itself, `digideep.main`, which knows the verbs of this room by their names.
ALLOWED["launch"] = {"main", "parameters", "pipeline", "telemetry", "utility"}
# Within the environment: what stands in a line may import that line and the ones above it.
LAYERS = [
    {
        "closing",
        "contract",
        "datasets",
        "episode_infos",
        "hidden_states",
        "infos",
        "joint_actions",
        "reach",
        "running_statistics",
        "scaling",
        "spaces",
    },
    {"making"},
    {"stepping"},
    {"dataset_rows", "explorer", "explorer_base", "explorer_limits", "normalizers", "novelty", "seats", "senses"},
    {"tools"},
    {"play"},
]


def imports_of(path):
    tree = ast.parse(path.read_text())
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{path}: imports are absolute"
            yield node.module
            yield from (f"{node.module}.{alias.name}" for alias in node.names)  # which may be a module, too


@pytest.mark.parametrize(
    "path", [path for path in SOURCES if len(path.relative_to(ROOT).parts) > 2], ids=lambda p: p.stem
)
def test_arrows_point_one_way(path):
    room = path.relative_to(ROOT).parts[1]
    for name in imports_of(path):
        if name.startswith("digideep."):
            inner = name.removeprefix("digideep.")
            other = inner.split(".")[0]
            assert other == room or any((inner + ".").startswith(a + ".") for a in ALLOWED[room]), (
                f"{path} imports {name}"
            )
        assert name.split(".")[0] not in ("params", "tests")
        if room == "environment":
            assert name.split(".")[0] != "torch", f"{path}: the environment knows no torch"


def test_nothing_imports_in_a_circle():
    """Neither at the top of a module, nor within a function, nor for types alone."""
    names = {".".join(path.relative_to(ROOT).with_suffix("").parts).removesuffix(".__init__"): path for path in SOURCES}
    imported = {name: {other for other in imports_of(path) if other in names} for name, path in names.items()}
    done = set()

    def visit(name, way):
        assert name not in way, " -> ".join([*way[way.index(name) :], name])
        if name not in done:
            for other in sorted(imported[name]):
                visit(other, [*way, name])
            done.add(name)

    for name in names:
        visit(name, [])


def test_arrows_within_the_environment_point_one_way():
    layer = {name: number for number, names in enumerate(LAYERS) for name in names}
    for path in (ROOT / "digideep/environment").rglob("*.py"):
        own = path.relative_to(ROOT / "digideep/environment").with_suffix("").parts[0]
        others = [n.split(".")[2] for n in imports_of(path) if n.startswith("digideep.environment.")]
        assert all(layer[other] <= layer[own] for other in others), f"{path} imports {others}"
        assert own != "tools" or not {"explorer", "seats", "senses", "normalizers"} & set(others), (
            f"{path} needs no Explorer"
        )


@pytest.mark.parametrize("path", SOURCES, ids=lambda p: p.stem)
def test_nothing_unpickles_evaluates_or_exits(path):
    forbidden = {"eval", "exec", "exit", "quit", "compile", "__import__"}
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Call):
            name = ast.unparse(node.func)
            assert name not in forbidden, f"{path}:{node.lineno} calls {name}"
            assert name not in ("pickle.load", "pickle.loads", "torch.load", "yaml.load", "yaml.unsafe_load", "np.load")
            if name == "sys.exit":
                assert path.name == "main.py"
        if isinstance(node, ast.ExceptHandler):
            assert node.type is not None, f"{path}:{node.lineno} is a bare except"


@pytest.mark.parametrize("path", SOURCES, ids=lambda p: p.stem)
def test_text_files_are_utf_8_whatever_the_locale_is(path):
    for node in ast.walk(ast.parse(path.read_text())):
        if not isinstance(node, ast.Call):
            continue
        called, named = ast.unparse(node.func).rpartition(".")[2], {keyword.arg for keyword in node.keywords}
        modes = [a.value for a in node.args if isinstance(a, ast.Constant) and a.value in ("r", "w", "a", "x")]
        is_text = called in ("read_text", "write_text", "FileHandler") or (called in ("open", "fdopen") and bool(modes))
        is_text |= called in ("Popen", "run", "check_output") and "text" in named
        assert not is_text or "encoding" in named, f"{path}:{node.lineno} leaves the encoding to the locale"


def test_the_loop_is_three_statements():
    tree = ast.parse((ROOT / "digideep/pipeline/runner.py").read_text())
    (cycle,) = (node for node in ast.walk(tree) if isinstance(node, ast.FunctionDef) and node.name == "train_cycle")
    chunk, store, loop = cycle.body[1:]
    assert ast.unparse(chunk) == "chunk = self.explorer['train'].update()"
    assert ast.unparse(store) == "self.memory.store(chunk)"
    assert ast.unparse(loop).startswith("for agent_name in self.agents:")
    assert "self.agents[agent_name].update()" in ast.unparse(loop)


def test_worker_processes_need_no_torch():
    code = "import sys, digideep.environment.stepping.worker_process; print('torch' in sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, cwd=ROOT)
    assert done.stdout.strip() == "False"


def test_files_stay_readable():
    lengths = {path: len(path.read_text().splitlines()) for path in SOURCES}
    assert {path: n for path, n in lengths.items() if n > 350} == {}
    assert len((ROOT / "main.py").read_text().splitlines()) < 40
    for path in (ROOT / "params").glob("*_*.py"):
        own = len(path.read_text().splitlines())
        assert own <= (120 if path.name == "sac_demo.py" else 60), path  # which has an agent and a Runner of its own
