"""Explains a parameter file: `digideep params FILE [KEY…]`.

Of each key of its control panel: the value, what the file's comments and the component's docstring say of it, and the
paths of the parameter tree that it decides.
"""

import argparse
import ast
import inspect
import json
import logging
import re
import textwrap
import tokenize
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType
from typing import Any

from digideep.parameters.component import parameters_of, resolve
from digideep.parameters.control_panel import generate, load_params, override_panel
from digideep.parameters.parser import Parser
from digideep.parameters.suggest import did_you_mean
from digideep.parameters.tree import Tree, leaves
from digideep.parameters.values import is_described
from digideep.pipeline.argument_types import assignment, path_name
from digideep.telemetry.output import command
from digideep.utility.errors import UsageError
from digideep.utility.importing import find_in_working_directory
from digideep.utility.user_code import in_words

_WIDTH = 100
_ENTRY = re.compile(r"""["'](\w+)["']: (.+),  # (.+)""")  # a line of a panel
_MAX_PATHS = 6  # of those that a key decides


def explain(module: ModuleType, cpanel: dict[str, Any]) -> dict[str, dict[str, Any]]:
    """Return what there is to say of each key of a control panel.

    Args:
        module: the parameter file, imported.
        cpanel: its panel, with the values that are asked about.

    Returns:
        By key: "value"; "meaning", from the docstring of the component that gets it; "note", the comment beside it in
        the file; "paths", of the tree, that change with it. What is not known is empty.
    """
    tree = generate(module, cpanel)
    notes = _notes(module)
    found = {}
    for key, value in cpanel.items():
        paths = _changed_paths(module, cpanel, tree, key) or _paths_by_name(tree, key)
        own = [path for path in paths if key in path.split("/")]
        if not own and len(paths) == 1 and key not in notes:  # under another name in the tree
            own = paths
        meaning = next(filter(None, (_meaning(tree, path, key) for path in own)), "")
        found[key] = {"value": value, "meaning": meaning, "note": notes.get(key, ""), "paths": paths}
    return found


def _sources(module: ModuleType) -> list[Path]:
    """Return the files of a parameter file and of those that it builds upon, nearest first."""
    files, waiting = [], [module]
    while waiting:
        current = waiting.pop(0)
        file = Path(getattr(current, "__file__", None) or "")
        if file in files or not file.is_file():
            continue
        files.append(file)
        others = (each for each in vars(current).values() if isinstance(each, ModuleType))
        waiting += [o for o in others if hasattr(o, "cpanel") or o.__name__.rpartition(".")[0] == "params"]
    return files


def _notes(module: ModuleType) -> dict[str, str]:
    """Return the comment beside each key: on the line that gives its value, or else where another recipe gives it one.

    `params.shared` has several panels, so that only the lines that give the value are about this one.
    """
    exact: dict[str, str] = {}
    others: dict[str, str] = {}
    for file in _sources(module):
        for key, value, note in _comments(file):
            if repr(module.cpanel.get(key)) == value:
                exact.setdefault(key, note)
            elif file.name not in ("shared.py", "demonstrations.py"):
                others.setdefault(key, note)
    return others | exact


def _comments(file: Path) -> Iterator[tuple[str, str, str]]:
    """Yield each key of a dictionary that has a comment on its line, its value as `repr` writes it, and the comment."""
    with tokenize.open(file) as stream:
        lines = list(stream)
    for line in lines:
        found = _ENTRY.fullmatch(line.strip())
        if found is not None:
            try:
                value = repr(ast.literal_eval(found[2]))
            except (ValueError, SyntaxError):
                value = found[2]
            yield found[1], value, found[3]


def _changed_paths(module: ModuleType, cpanel: dict[str, Any], tree: Tree, key: str) -> list[str]:
    """Return the paths of the tree that are others where a key has another value."""
    before = leaves(tree)
    for value in _others(cpanel[key]):
        try:
            after = leaves(generate(module, {**cpanel, key: value}))
        except UsageError:
            continue
        changed = [path for path in {**before, **after} if before.get(path, ...) != after.get(path, ...)]
        if changed:
            return changed
    return []


def _others(value: Any) -> list[Any]:
    """Return values that may stand in the place of one."""
    if isinstance(value, bool):
        return [not value]
    if isinstance(value, int):
        return [value + 1, value * 2, value - 1, None]
    if isinstance(value, float):
        return [value * 0.9, value * 1.1, 0.5, None]
    if isinstance(value, str):
        return [f"{value}x", "lstm", "impala", "off", "bf16"]
    if isinstance(value, list):
        return [[*value, *value[-1:]] if value else [1], ["x"], []]
    return [1, 0.5, "x", "/x", ["x"], {"x": 1}, {"x": ["x"]}]


def _paths_by_name(tree: Tree, key: str) -> list[str]:
    """Return the paths of the parameters that have the name of a key."""
    found = []
    waiting: list[tuple[str, Any]] = [("", tree)]
    while waiting:
        path, node = waiting.pop(0)
        if is_described(node) and key in parameters_of(resolve(node["class"])):
            found.append(f"{path}/{key}")
        if isinstance(node, dict):
            waiting += [(f"{path}/{name}", child) for name, child in node.items()]
    return found


def _meaning(tree: Tree, path: str, key: str) -> str:
    """Return what a docstring says of the parameter that a path leads into: of the one named `key`, or of the last."""
    node: Any = tree
    meaning = ""
    for name in path.strip("/").split("/"):
        if is_described(node) and name != "class":
            found = _documented(resolve(node["class"]), name)
            if name == key:
                return found
            meaning = found or meaning
        node = node.get(name) if isinstance(node, dict) else None
    return meaning


def _documented(cls: type, name: str) -> str:
    """Return what the docstring of a class, or of one that it continues, says of a parameter."""
    for each in cls.__mro__:
        text = inspect.cleandoc(vars(each).get("__doc__") or "")
        match = re.search(rf"^ {{4}}(?:\w+, )*{name}(?:, \w+)*: (.+(?:\n {{8,}}.+)*)", text, re.MULTILINE)
        if match is not None and not match[1].startswith(("see `", "likewise")):
            return " ".join(match[1].split())
    return ""


def make_parser() -> argparse.ArgumentParser:
    """Return what reads the command line."""
    parser = Parser(
        prog="digideep params", description="Explain the control panel of a parameter file.",
        epilog="examples:\n  digideep params params.ppo_classic\n  digideep params params.sac_mujoco alpha memory_size",
    )  # fmt: skip
    parser.add_argument("params", metavar="FILE", type=path_name, help="a path ending in .py, or a dotted module")
    parser.add_argument("keys", metavar="KEY", nargs="*", help="which keys (all)")
    parser.add_argument("--set", metavar="KEY=VALUE", type=assignment, nargs="+", action="extend", default=[],
                        help="with other values of the panel")  # fmt: skip
    parser.add_argument("--json", action="store_true", help="print one object")
    return parser


@command
def main(argv: list[str] | None = None) -> None:
    """Run the command."""
    args = make_parser().parse_args(argv)
    find_in_working_directory()
    module = load_params(args.params)
    cpanel = override_panel(module.cpanel, dict(args.set))
    logging.disable()  # of values that are tried
    try:
        found = explain(module, cpanel)
    except SystemExit as err:
        raise UsageError(f"gen_params of {module.__name__} {in_words(err)}.") from err
    finally:
        logging.disable(logging.NOTSET)
    for key in args.keys:
        if key not in found:
            raise UsageError(f"The control panel of {args.params} has no '{key}'. {did_you_mean(key, found)}")
    found = {key: about for key, about in found.items() if not args.keys or key in args.keys}
    if args.json:
        print(json.dumps(found, indent=2))
        return
    if not args.keys and module.__doc__:
        print(f"{module.__doc__.strip()}\n")
    for key, about in found.items():
        print(f"{key} = {json.dumps(about['value'])}")
        texts = [about["meaning"], about["note"] and f"# {about['note']}"]
        paths = about["paths"]
        more = f" and {len(paths) - _MAX_PATHS} more" if len(paths) > _MAX_PATHS else ""
        texts.append(f"-> {', '.join(paths[:_MAX_PATHS]) or 'nothing, as the panel stands'}{more}")
        for text in filter(None, texts):
            print(textwrap.fill(text, _WIDTH, initial_indent="    ", subsequent_indent="    ", break_long_words=False))


if __name__ == "__main__":
    raise SystemExit(main())
