"""Names from files: what is imported, and what is refused because it lies in a session."""

import importlib
import os
import sys
import zipfile

import pytest

from digideep.utility.errors import UsageError
from digideep.utility.importing import find_in_working_directory, import_named, import_outside_sessions, session_of

CODE = "import pathlib\npathlib.Path(r'{ran}').write_text('ran')\n"


@pytest.fixture
def here(tmp_path, monkeypatch):
    """The working directory, on the path of modules, with the session `runs/evil`; modules are forgotten afterwards."""
    session = tmp_path / "runs/evil"
    (session / "checkpoints/checkpoint-1").mkdir(parents=True)
    (session / "checkpoints/checkpoint-1/manifest.json").write_text("{}")
    (session / "params.yaml").write_text("env: {}\n")
    code = CODE.format(ran=tmp_path / "ran")
    for file in ("x.py", "__init__.py", "modules/y.py", "deep/er/z.py"):
        (session / file).parent.mkdir(parents=True, exist_ok=True)
        (session / file).write_text(code)
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "path", [str(tmp_path), *sys.path])
    before = set(sys.modules)
    importlib.invalidate_caches()
    yield tmp_path
    for name in set(sys.modules) - before:
        del sys.modules[name]
    importlib.invalidate_caches()


def refuse(here, name):
    """Nothing of the session has run, and the message is one line."""
    importlib.invalidate_caches()
    with pytest.raises(UsageError, match="lies in the session") as caught:
        import_named(name, f"from_module '{name}'")
    assert "\n" not in str(caught.value)
    assert not (here / "ran").exists()


@pytest.mark.parametrize("name", ["runs.evil.x", "runs.evil", "runs.evil.modules.y", "runs.evil.deep.er.z",
                                  "runs.evil.checkpoints"])  # fmt: skip
def test_nothing_in_a_session_is_imported(here, name):
    refuse(here, name)


@pytest.mark.parametrize("missing", ["params.yaml", "checkpoints/checkpoint-1/manifest.json"])
def test_a_copy_of_half_a_session_is_still_one(here, missing):
    (here / "runs/evil" / missing).unlink()
    refuse(here, "runs.evil.x")


def test_a_session_that_was_just_begun_is_one(here):
    (here / "young/checkpoints").mkdir(parents=True)
    (here / "young/params.yaml").touch()
    (here / "young/x.py").write_text(CODE.format(ran=here / "ran"))
    refuse(here, "young.x")


def test_checkpoints_that_cannot_be_listed_may_be_those_of_a_session(here, monkeypatch):
    def denied(path):
        raise PermissionError(path)

    monkeypatch.setattr("os.listdir", denied)
    assert session_of(here / "runs/evil/x.py") == here / "runs/evil"


def test_links_into_a_session_are_followed(here):
    (here / "link").symlink_to("runs/evil")
    (here / "innocent").mkdir()
    (here / "innocent/x.py").symlink_to(here / "runs/evil/x.py")
    (here / "single.py").symlink_to(here / "runs/evil/x.py")
    for name in ("link.x", "innocent.x", "single"):
        refuse(here, name)


def test_a_link_out_of_a_session_counts_as_lying_in_it(here):
    (here / "elsewhere.py").write_text(CODE.format(ran=here / "ran"))
    (here / "runs/evil/out.py").symlink_to(here / "elsewhere.py")
    refuse(here, "runs.evil.out")


@pytest.mark.parametrize("place", ["runs/evil", "runs/evil/modules", "runs/evil/../evil", "link"])
def test_a_path_that_leads_into_a_session_changes_nothing(here, place):
    (here / "link").symlink_to("runs/evil/modules")
    sys.path.insert(0, str(here / place))
    refuse(here, "x" if place.endswith("evil") else "y")


def test_an_archive_in_a_session_is_a_part_of_it(here):
    with zipfile.ZipFile(here / "runs/evil/packed.zip", "w") as archive:
        archive.writestr("of_an_archive.py", CODE.format(ran=here / "ran"))
    sys.path.insert(0, str(here / "runs/evil/packed.zip"))
    refuse(here, "of_an_archive")


def test_a_namespace_with_a_part_in_a_session_is_refused(here):
    (here / "parted").mkdir()
    (here / "runs/evil/parted").mkdir()
    (here / "runs/evil/parted/x.py").write_text(CODE.format(ran=here / "ran"))
    sys.path.append(str(here / "runs/evil"))
    refuse(here, "parted.x")


def test_the_directory_of_sessions_is_no_package(here):
    (here / "digideep_sessions").mkdir()
    (here / "digideep_sessions/__init__.py").write_text(CODE.format(ran=here / "ran"))
    (here / "digideep_sessions/beside.py").write_text(CODE.format(ran=here / "ran"))
    refuse(here, "digideep_sessions")
    refuse(here, "digideep_sessions.beside")


def test_what_somebody_else_has_imported_from_a_session_is_refused_too(here):
    importlib.import_module("runs.evil.x")
    (here / "ran").unlink()
    refuse(here, "runs.evil.x")
    sys.modules["alias_of_x"] = sys.modules["runs.evil.x"]
    refuse(here, "alias_of_x")


@pytest.mark.parametrize("name", ["", ".x", "...x", "runs..x", "runs/evil/x.py", "runs.evil:x", "x-1", None, 7, ["x"]])
def test_what_is_no_dotted_name_is_refused(here, name):
    with pytest.raises(UsageError, match="cannot be imported"):
        import_named(name, "The component")
    assert not (here / "ran").exists()


def test_what_lies_beside_sessions_is_imported(here):
    (here / "beside_sessions").mkdir()
    (here / "beside_sessions/__init__.py").touch()
    (here / "beside_sessions/envs.py").write_text("value = 7\n")
    (here / "beside_sessions/digideep_sessions").mkdir()
    (here / "runs/tools.py").write_text("value = 8\n")
    importlib.invalidate_caches()
    assert import_outside_sessions("beside_sessions.envs").value == 7
    assert import_outside_sessions("runs.tools").value == 8


def test_another_programs_parameters_and_checkpoints_make_no_session(here):
    (here / "params.yaml").touch()
    (here / "checkpoints").mkdir()
    (here / "checkpoints/model.pt").touch()
    (here / "of_the_project.py").write_text("value = 9\n")
    importlib.invalidate_caches()
    assert import_outside_sessions("of_the_project").value == 9


def test_a_module_that_fails_is_said_in_one_line(here):
    (here / "broken.py").write_text("1 / 0\n")
    (here / "torn.py").write_text("def f(:\n")
    importlib.invalidate_caches()
    with pytest.raises(UsageError, match=r"fails while it is imported: ZeroDivisionError: .*\(broken.py, line 1\)"):
        import_named("broken", "The component 'broken.X'")
    with pytest.raises(UsageError, match="fails while it is imported: SyntaxError"):
        import_named("torn", "The component 'torn.X'")


@pytest.mark.parametrize(("place", "is_found"), [(".", True), ("runs", True), ("runs/evil", False),
                                                 ("runs/evil/modules", False)])  # fmt: skip
def test_modules_are_looked_for_in_the_working_directory_unless_it_is_of_a_session(here, monkeypatch, place, is_found):
    monkeypatch.chdir(here / place)
    monkeypatch.setenv("PYTHONSAFEPATH", "")
    sys.path.remove(str(here))
    find_in_working_directory()
    assert (sys.path[0] == str((here / place).resolve())) is is_found
    assert (os.environ["PYTHONSAFEPATH"] == "") is is_found
