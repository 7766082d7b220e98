"""Which file of a name is taken, and modules that find each other."""

import sys
from pathlib import Path

import pytest

from virc.core import plugins
from virc.core.errors import ConfigError


@pytest.fixture
def places(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> dict[str, Path]:
    """A folder beside a system, two of `VIRC_PATH`, and an installed package; the last has `spin` alone."""
    found = {name: tmp_path / name for name in ("beside", "first", "second", "package")}
    for folder in found.values():
        folder.mkdir()
    monkeypatch.setenv(plugins.SEARCH_PATH, f"{found['first']}:{found['second']}")
    (found["package"] / "spin.py").touch()
    monkeypatch.setattr(plugins, "installed", lambda group: {"spin": found["package"] / "spin.py"})
    return found


@pytest.mark.parametrize(
    ("there", "taken"),
    [
        ([], "package/spin.py"),
        (["second/spin.py", "second/spin.yaml"], "second/spin.py"),
        (["second/spin.py", "first/spin.yaml"], "first/spin.yaml"),
        (["second/spin.py", "first/spin.py", "beside/spin.yaml"], "beside/spin.yaml"),
    ],
)
def test_the_nearest_file_of_a_name_is_taken(places: dict[str, Path], there: list[str], taken: str) -> None:
    root = places["beside"].parent
    for file in there:
        (root / file).touch()
    found = plugins.file_of("spin", plugins.folders(places["beside"]), "virc.tools", (".py", ".yaml"))
    assert found == root / taken


@pytest.mark.parametrize("name", ["../beside/spin", "a.b", ""])
def test_a_name_leads_to_no_other_folder(places: dict[str, Path], name: str) -> None:
    (places["beside"] / "spin.py").touch()
    assert plugins.file_of(name, [places["first"]], "virc.tools") is None


def test_a_module_that_fails_names_its_line_and_is_loaded_anew(tmp_path: Path) -> None:
    (file := tmp_path / "mine.py").write_text("import json\nVALUE = 1\njson.loads('{')\n")
    before = set(sys.modules)
    for _ in range(2):
        with pytest.raises(ConfigError, match=r"mine\.py cannot be loaded: JSONDecodeError: .*, in line 3$"):
            plugins.loaded(file)
    assert {name for name in set(sys.modules) - before if name.startswith("virc_own")} == set()
    file.write_text("VALUE = 2\n")
    plugins.loaded.cache_clear()
    assert plugins.loaded(file).VALUE == 2


@pytest.mark.parametrize(
    ("named", "why"), [("gone_pack", "there is no such module"), ("failing_pack.inner", "RuntimeError: broken")]
)
def test_a_package_that_names_what_cannot_be_found_is_named(
    named: str, why: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "failing_pack").mkdir()
    (tmp_path / "failing_pack" / "__init__.py").write_text("raise RuntimeError('broken')\n")
    (info := tmp_path / "my_pack-1.dist-info").mkdir()
    (info / "entry_points.txt").write_text(f"[virc.operators]\nspin = {named}\n")
    monkeypatch.setattr(sys, "path", [str(tmp_path)])
    plugins.installed.cache_clear()
    assert plugins.installed("virc.operators") == {}
    said = f"the installed package my-pack names {named}, which cannot be found: {why}"
    assert capsys.readouterr().err.splitlines() == [said]
