"""Bad input by the thousand, drawn from a seed. `python -m tests.bad_input --all` tries one of everything.

Each input goes to `main` in a forked child, in an empty directory, up to the first checkpoint. It may be refused, with
exit code 2 or 3, one line, and nothing created; or be accepted, if it is not bad after all. All else is a fault.
"""

import argparse
import collections
import json
import os
import random
import resource
import shutil
import signal
import sys
import tempfile
import time
import traceback
from collections.abc import Callable, Iterator
from concurrent.futures import ProcessPoolExecutor
from functools import partial
from multiprocessing import get_context
from pathlib import Path
from typing import Any, NamedTuple

from digideep.pipeline.flags import flags_among
from digideep.pipeline.tools import TOOLS
from digideep.pipeline.verbs import VERBS

ROOT = Path(__file__).parents[1]
SMALL = {"num_workers": 2, "test_win_size": 1, "compile": "off", "num_threads": 1, "number_epochs": 1}
SLOW = (
    "ppo_atari",
    "dqn_atari",
    "ppo_dmc",
    "sac_dmc",
    "sac_fetch",
    "sac_drq",
    "ddpg_drqv2",
    "dqn_drq",
)  # a second and more to build
WALL_S, EXTRA_BYTES = 60, 4 << 30  # what an input may take beyond what the imports have


class Raw(str):
    """A value that json.dumps would not write."""


class Input(NamedTuple):
    """One thing to try: its kind and recipe, what of it is bad, the command line, and files to be there before it."""

    label: str
    subject: str
    argv: list[str]
    files: dict[str, str] = {}  # noqa: RUF012  # never changed


VALUES: list[Any] = [
    None, True, False, 0, 1, -1, -7, 3, 2.5, -0.001, 1e-30, 1e20, 1e38, 1e308, -1e308, 10**9, 2**31, 2**40, 2**62,
    2**63, 2**70, -(2**70), 10**400, "", "x", "5", "null", "../x", "a\x00b", "\x1b[31mred", "two\nlines", "\ud800",
    "ä" * 300,
    "digideep.agent.ppo.PPO", "os.system", "auto", [], [None], [[]], [1], [-1], [0.5, "x"], ["x"], [{}], [10**9] * 2,
    [2**70], {}, {"a": 1}, {"class": None}, {"class": "x"}, {"class": "digideep.parameters.schedule.Constant"},
    {"class": "digideep.parameters.schedule.Constant", "value": 0.1}, {"class": "digideep.learning.optimizers.Adam"},
    {"class": "digideep.learning.optimizers.Adam", "eps": None}, {"a": {"b": [None]}}, {"": ""}, {"agent": [None]},
    {"agent": "*"}, Raw("NaN"), Raw("-Infinity"), Raw("1e999"), Raw('{"a": 1, "a": 2}'), Raw("[" * 30 + "]" * 30),
    Raw("[" * 500 + "]" * 500), Raw("9" * 5000),
]  # fmt: skip

NUMBERS = [value for value in VALUES if type(value) in (int, float)]  # of the right type more often than not

# What a parameter file can hold in its panel, and a command line cannot.
EXPRESSIONS = [
    "np.float64(0.98)", "np.float32(0.5)", "np.int64(2)", "np.uint8(1)", "np.bool_(True)", "np.str_('x')",
    "np.array([1.0])", "np.array(1)", "np.datetime64('2020-01-01')", "np.float64('nan')", "np.longdouble(1)",
    "float('nan')", "float('inf')", "10**400", "(1, 2)", "((1,), [2])", "{1, 2}", "frozenset()", "b'x'", "1j",
    "pathlib.Path('x')", "Enum('E', 'a').a", "IntEnum('I', 'a').a", "datetime.date(2020, 1, 1)", "Decimal(1)",
    "object()", "object", "int", "lambda: 1", "print", "range(3)", "iter([])", "(i for i in [])", "round_and_round",
    "{1: 2}", "{None: 1}", "{'a': {2: 3}}", "[np.int64(3)]", "{'a': np.float32(1)}", "os", "Fraction(1, 2)",
    "bytearray(2)", "collections.OrderedDict(a=1)", "type('S', (str,), {})('x')", "type('I', (int,), {})(3)",
]  # fmt: skip
_IMPORTS = """import collections, datetime, os, pathlib
from decimal import Decimal
from enum import Enum, IntEnum
from fractions import Fraction
import numpy as np
from params import {recipe} as recipe
gen_params = recipe.gen_params
round_and_round = []
round_and_round.append(round_and_round)
cpanel = {{**recipe.cpanel, **{small!r}, {key!r}: {expression}}}
"""

_TEXTS = ["", " ", "x", "-1", "0", "1", "5", "99999", "1e3", "2.5", "abc", "²", "9" * 5000, "a\x00b", "two\nlines",
          "\t", "\x1b[31mred", "x" * 300, "x" * 5000, "../x", "/proc/x", "/sys", "/dev/null", "/dev/null/x", ".", "..",
          "/", "\udcff", "ä" * 200, "-", "--", "a b", "a:b", "[red]", "~", "$(x)", "*", "{}", "[]", "null", "{",
          '{"a": 1}', "a/" * 3000, "..x", ".x", "x.", "a..b", "json", "os.path", "params",
          "params.ppo_classic"]  # fmt: skip
_TAKE_TEXT = [f"--{name}" for flags in flags_among(None).values() for name, (_, options) in flags.items()
              if options.get("action") != "store_true"]  # fmt: skip
_SWITCHES = ["--play", "--custom", "--create-session-only", "--json", "--frozen", "--dry-run", "--quiet",
             "--no-monitor-cpu", "--no-monitor-gpu", "--resume", "--verify-resume"]  # fmt: skip


def dumps(value: Any) -> str:
    """JSON, with raw parts as they are."""
    if isinstance(value, dict):
        return "{" + ", ".join(f"{json.dumps(key)}: {dumps(part)}" for key, part in value.items()) + "}"
    return str(value) if isinstance(value, Raw) else json.dumps(value)


def recipes() -> list[str]:
    """The names of all parameter files."""
    return sorted(path.stem for path in (ROOT / "params").glob("*_*.py"))


def _create(recipe: str, *arguments: str) -> list[str]:
    return ["--params", f"params.{recipe}", "--create-session-only", "--no-monitor-gpu", *arguments]


def panel_keys(recipe: str) -> list[str]:
    """The keys of a parameter file's panel, and one that there is not."""
    from digideep.parameters.control_panel import load_params

    return [*load_params(f"params.{recipe}").cpanel, "no_such_key"]


def tree_paths(recipe: str) -> list[str]:
    """Every path of a parameter file's tree, those of parameters at their defaults among them, and some that fail."""
    from digideep.parameters.component import parameters_of, resolve
    from digideep.parameters.control_panel import generate, load_params, override_panel
    from digideep.parameters.tree import to_plain

    module = load_params(f"params.{recipe}")
    paths: dict[str, None] = {}

    def walk(node: Any, path: str) -> None:
        paths[path or "/"] = None
        children = dict(node) if isinstance(node, dict) else dict(enumerate(node)) if isinstance(node, list) else {}
        if "class" in children:
            children |= {name: None for name in parameters_of(resolve(children["class"])) if name not in children}
        for key, child in children.items():
            walk(child, f"{path}/{key}")

    walk(to_plain(generate(module, override_panel(module.cpanel, SMALL))), "")
    return [*paths, "", "//", "/nothing", "/runner/n_epochs/x", "/explorer/demo", "/memory/train"]


def panel_inputs(generator: random.Random) -> Iterator[Input]:
    """Each key of each panel once, with a value of any type."""
    for recipe in recipes():
        for key in panel_keys(recipe):
            value = generator.choice(generator.choice([VALUES, NUMBERS]))
            small = {name: each for name, each in SMALL.items() if name != key}
            yield Input(f"cpanel {recipe}", key, _create(recipe, "--cpanel", dumps({**small, key: value})))


def tree_inputs(generator: random.Random) -> Iterator[Input]:
    """Each path of each tree once, with a value of any type."""
    for recipe in recipes():
        for path in tree_paths(recipe):
            overrides = dumps({path: generator.choice(generator.choice([VALUES, NUMBERS]))})
            yield Input(f"repeal {recipe}", path, _create(recipe, "--cpanel", dumps(SMALL), "--repeal", overrides))


def file_inputs(generator: random.Random) -> Iterator[Input]:
    """Parameter files with each of the expressions under some key."""
    for number, expression in enumerate(EXPRESSIONS):
        recipe = generator.choice([each for each in recipes() if each not in SLOW])
        key = generator.choice(panel_keys(recipe)[:-1])
        text = _IMPORTS.format(recipe=recipe, small=SMALL, key=key, expression=expression)
        argv = ["--params", f"own_{number}.py", "--create-session-only", "--no-monitor-gpu"]
        yield Input(f"file {recipe}", expression, argv, {f"own_{number}.py": text})


def flag_inputs(generator: random.Random, session: Path | None) -> Iterator[Input]:
    """Each flag with each text, beside what it usually stands with; and flags that come together by chance."""
    base = _create("ppo_classic", "--cpanel", dumps(SMALL))
    played = ["--play", "--load-checkpoint", str(session), "--dry-run", "--render", "none", "--episodes", "1"]
    for flag in _TAKE_TEXT:
        for text in _TEXTS:
            if flag == "--params":
                yield Input("flag", flag, [flag, text, "--create-session-only"])
            elif flag in ("--load-checkpoint", "--resume") or (flag == "--verify-resume" and text != "99999"):
                yield Input("flag", flag, [flag, text])
            elif flag in ("--episodes", "--render", "--seed") and text != "99999":  # which would take its time
                yield Input("flag", flag, [*played[:4], *([] if flag == "--render" else played[4:6]), flag, text])
            else:
                yield Input("flag", flag, [*base, flag, text])
    for _ in range(60):
        switches = generator.sample(_SWITCHES, generator.randint(1, 4))
        flag, text = generator.choice(_TAKE_TEXT), generator.choice(_TEXTS)
        yield Input("flags", text, [*generator.choice([["--params", "nowhere.py"], []]), *switches, flag, text])
    for path in tree_paths("ppo_classic"):
        overrides = dumps({path: generator.choice(generator.choice([VALUES, NUMBERS]))})
        yield Input("play", path, [*played, "--repeal", overrides])
        if path != "/runner/n_epochs":  # with more of them there is something to do
            yield Input("resume", path, ["--resume", str(session), "--repeal", overrides])


def verb_inputs(generator: random.Random) -> Iterator[Input]:
    """Each verb with each text as what it is about, and --set with each text."""
    for text in _TEXTS:
        for verb in (*VERBS, *TOOLS):
            is_long = verb == "verify" or text == "params.ppo_classic" or text in ("/", "/sys", "/proc/x")
            if not is_long:  # training, or looking for sessions everywhere
                yield Input("verb", verb, [verb, text])
        recipe = generator.choice([each for each in recipes() if each not in SLOW])
        key = generator.choice(panel_keys(recipe))
        target = ["train", f"params.{recipe}", "--create-session-only", "--cpanel", dumps(SMALL)]
        yield Input("set", key, [*target, "--set", f"{key}={text}"])
        yield Input("set", text, [*target, "--set", f"/agents/agent/{key}={text}", f"{text}=1"])


def all_inputs(seed: int, number: int, session: Path) -> list[Input]:
    """At least `number` inputs: each kind in turn, then the panels and trees again, with other values."""
    generator = random.Random(seed)
    inputs = [*file_inputs(generator), *flag_inputs(generator, session), *verb_inputs(generator)]
    while True:
        inputs += [*panel_inputs(generator), *tree_inputs(generator)]
        if len(inputs) >= number:
            return inputs


def spread(inputs: list[Input], number: int, seed: int) -> list[Input]:
    """So many of them, of each kind its share; within a kind no subject twice before each has come once."""
    kinds: dict[str, list[tuple[int, Input]]] = collections.defaultdict(list)
    times = collections.Counter[tuple[str, str]]()
    for each in random.Random(seed).sample(inputs, len(inputs)):
        kind = each.label.partition(" ")[0]
        times[kind, each.subject] += 1
        kinds[kind].append((times[kind, each.subject], each))
    ranked = []
    for members in kinds.values():
        members.sort(key=lambda member: member[0])
        ranked += [(rank / len(members), each) for rank, (_, each) in enumerate(members)]
    return [each for _, each in sorted(ranked, key=lambda pair: pair[0])[:number]]


class Outcome(NamedTuple):
    """What became of an input; `fault` is None if all is well."""

    code: int
    fault: str | None
    error: str
    cpu_s: float


def try_input(given: Input, session: Path) -> Outcome:
    """Run one input in a child."""
    with tempfile.TemporaryDirectory() as path:
        here, output = Path(path) / "here", Path(path) / "output"
        here.mkdir()
        for name, text in given.files.items():
            (here / name).write_text(text)
        before = _listing(here, session)
        child = os.fork()
        if child == 0:
            _run(given.argv, here, output)
        _, status, usage = os.wait4(child, 0)
        code = os.waitstatus_to_exitcode(status)
        error = output.with_suffix(".err").read_text(errors="replace").strip()
        return Outcome(
            code, _fault(code, error, _listing(here, session) != before), error, usage.ru_utime + usage.ru_stime
        )


def _run(argv: list[str], here: Path, output: Path) -> None:
    """In the child: the program, then the end of the process."""
    code = 70
    try:
        os.chdir(here)
        os.setsid()
        for number, suffix in ((1, ".out"), (2, ".err")):
            os.dup2(os.open(output.with_suffix(suffix), os.O_WRONLY | os.O_CREAT), number)
        pages = int(Path("/proc/self/statm").read_text().split()[0]) * resource.getpagesize()
        resource.setrlimit(resource.RLIMIT_AS, (pages + EXTRA_BYTES, pages + EXTRA_BYTES))
        signal.alarm(WALL_S)  # ends the process
        from digideep.main import main

        sys.path.insert(0, str(here))
        code = main(argv)
    except SystemExit as err:
        code = err.code if isinstance(err.code, int) else 71
    except BaseException:
        traceback.print_exc()
    finally:
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(code)


def _listing(*directories: Path) -> list[tuple[str, int]]:
    files = [file for directory in directories for file in sorted(directory.rglob("*"))]
    return [(str(file), file.stat().st_size) for file in files if "evaluations" not in str(file)]


def _fault(code: int, error: str, has_changed: bool) -> str | None:
    if code == -signal.SIGALRM:
        return f"took more than {WALL_S} s"
    if code not in (0, 2, 3):
        return f"exit code {code}"
    if "Traceback" in error:
        return "a traceback"
    lines = error.splitlines()
    if code and (len(lines) != 1 or not error.startswith("digideep: ") or not error.isprintable()):
        return f"{len(lines)} lines, or other than plain text, for a refusal"
    if code and len(error) > 2500:
        return "an endless message"
    return "created or changed something, though refused" if code and has_changed else None


def make_session(directory: Path) -> Path:
    """A finished session, to be resumed and played."""
    argv = ["--params", "params.ppo_classic", "--cpanel", json.dumps({**SMALL, "epoch_size": 1, "n_steps": 16}),
            "--session-path", str(directory), "--session-name", "done", "--quiet"]  # fmt: skip
    if try_in_child(lambda: _main(argv)) != 0:
        raise RuntimeError("the session to resume could not be made")
    return directory / "done"


def _main(argv: list[str]) -> int:
    from digideep.main import main

    return main(argv)


def try_in_child(function: Callable[[], int]) -> int:
    """Run a function in a child: this process starts no threads. Returns: its result as an exit code."""
    child = os.fork()
    if child == 0:
        code = 1
        try:
            code = function()
        finally:
            os._exit(code)
    return os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])


def import_all() -> None:
    """What the children need, once; left alone by their garbage collectors, which would copy its memory."""
    import gc
    import importlib

    import digideep.main
    import digideep.pipeline.frozen
    import digideep.pipeline.runner
    import digideep.pipeline.verify  # noqa: F401

    for name in ("ale_py", "cv2", "scipy.spatial.transform", *(f"params.{recipe}" for recipe in recipes())):
        importlib.import_module(name)
    gc.freeze()


class Share(NamedTuple):
    """What became of a share of the inputs: how often each exit code, seconds of CPU, faults."""

    codes: collections.Counter[int]
    cpu_s: float
    faults: int


def try_share(args: argparse.Namespace, index: int) -> Share:
    """Try every input whose number is `index` modulo `args.jobs`, with a session of its own; print the faults."""
    codes, cpu_s, faults = collections.Counter[int](), 0.0, 0
    directory = Path(tempfile.mkdtemp())
    try:
        session = make_session(directory)
        inputs = [each for each in all_inputs(args.seed, args.number, session) if args.only in each.label]
        if args.quick:
            inputs = [each for each in inputs if not each.label.endswith(SLOW)]
        for number, given in enumerate(inputs if args.all else spread(inputs, args.number, args.seed)):
            if number % args.jobs != index:
                continue
            outcome = try_input(given, session)
            codes[outcome.code] += 1
            cpu_s += outcome.cpu_s
            faults += outcome.fault is not None
            if outcome.fault or args.verbose:
                text = " ".join(argument if len(argument) < 300 else argument[:300] + "..." for argument in given.argv)
                last = outcome.error.splitlines()[-1][:400] if outcome.error else ""
                print(f"{'FAULT' if outcome.fault else 'ok'} {number} {given.label}: {outcome.fault or outcome.code}, "
                      f"{outcome.cpu_s:.1f} s\n  {text!r}\n  {last!r}", flush=True)  # fmt: skip
    finally:
        shutil.rmtree(directory)
    return Share(codes, cpu_s, faults)


def main(argv: list[str] | None = None) -> int:
    """Try the inputs, print faults and counts. Returns: 1 if there was a fault."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("-n", "--number", type=int, default=1600, help="inputs, of each kind its share (1600)")
    parser.add_argument(
        "--all", action="store_true", help="every flag with every text, every key and path of every file"
    )
    parser.add_argument("--quick", action="store_true", help="only those that take little time")
    parser.add_argument("--only", default="", help="those whose kind holds this, such as 'flag' or 'repeal dqn'")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--verbose", action="store_true", help="print every input and what became of it")
    parser.add_argument("--jobs", type=int, default=2, help="inputs at once (2)")
    args = parser.parse_args(argv)
    sys.dont_write_bytecode = True
    os.environ |= {"OMP_NUM_THREADS": "1", "PYTHONDONTWRITEBYTECODE": "1"}
    sys.path.insert(0, str(ROOT))
    import_all()
    started = time.perf_counter()
    with ProcessPoolExecutor(args.jobs, get_context("fork")) as pool:
        shares = list(pool.map(partial(try_share, args), range(args.jobs)))
    codes = sum((share.codes for share in shares), collections.Counter())
    cpu_s, faults = sum(share.cpu_s for share in shares), sum(share.faults for share in shares)
    kinds = ", ".join(f"{count} with exit code {code}" for code, count in sorted(codes.items()))
    took = f"{time.perf_counter() - started:.0f} s, {cpu_s:.0f} s of CPU"
    print(f"{sum(codes.values())} inputs: {kinds}. {faults} faults. {took}.")
    return int(faults > 0)


if __name__ == "__main__":
    sys.exit(main())
