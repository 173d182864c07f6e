"""Names of sessions, drawn by hand: `python -m digideep.utility.name_generator`."""

import re

import pytest

from digideep.utility import name_generator


def test_a_directory_of_a_new_name_is_made_and_named(tmp_path, capsys):
    for _ in range(2):
        name_generator.main(["--base", str(tmp_path / "mine"), "--pre", "run_"])
    names = capsys.readouterr().out.split()
    assert all(re.fullmatch(r"run_\d{14}_[a-z]+_[a-z]+", name) for name in names)
    assert sorted(path.name for path in (tmp_path / "mine").iterdir()) == sorted(names)
    assert len(set(names)) == 2


@pytest.mark.parametrize(
    ("arguments", "message"),
    [(["--pre", "a/b"], "--pre must be the beginning of a name"), (["--base", "file"], "Choose another --base")],
)
def test_a_place_where_none_can_be_made_is_refused(tmp_path, monkeypatch, capsys, arguments, message):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "file").touch()
    with pytest.raises(SystemExit) as caught:
        name_generator.main(arguments)
    assert caught.value.code == 2
    assert message in capsys.readouterr().err
    assert [path.name for path in tmp_path.iterdir()] == ["file"]
