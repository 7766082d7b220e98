"""Which extras lack which packages, and the line that installs them."""

import json
from collections.abc import Mapping
from importlib import metadata
from pathlib import Path
from types import SimpleNamespace
from urllib.parse import quote

import pytest

from virc.core import extras
from virc.core.errors import SetupError


@pytest.mark.parametrize(
    ("source", "line"),
    [
        (None, "pip install 'virc[local,mcp]'"),
        ({"url": "https://example.org/virc.whl"}, "pip install 'virc[local,mcp]'"),
        ({"dir_info": {"editable": True}}, "pip install -e '{there}[local,mcp]'"),
    ],
)
def test_extras_are_installed_the_way_that_virc_is(
    source: Mapping[str, object] | None, line: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (there := tmp_path / "a checkout").mkdir()
    monkeypatch.chdir(tmp_path)
    text = source and json.dumps({"url": f"file://{quote(str(there))}", **source})
    monkeypatch.setattr(metadata, "distribution", lambda name: SimpleNamespace(read_text=lambda file: text))
    assert extras.install("local", "mcp") == line.format(there=there)


def test_an_extra_lacks_no_package_of_another_system(monkeypatch: pytest.MonkeyPatch) -> None:
    needed = [
        "of-all",
        "of-here; extra == 'a'",
        "of-nowhere; sys_platform == 'nowhere' and extra == 'a'",
        "of-b; extra == 'b'",
    ]
    described = {"Provides-Extra": ["a"], "Requires-Dist": needed}
    monkeypatch.setattr(metadata, "metadata", lambda package: SimpleNamespace(get_all=described.get))
    (found,) = extras.discover()
    assert (found.name, found.missing) == ("a", ("of-here",))


def test_what_is_missing_is_named_with_what_installs_it(monkeypatch: pytest.MonkeyPatch) -> None:
    extras.require("json", "reading", "none")
    with pytest.raises(SetupError, match="reading needs no_such_module, of the extra data"):
        extras.require("no_such_module", "reading", "data")

    def missing(name: str) -> None:
        raise metadata.PackageNotFoundError

    monkeypatch.setattr(metadata, "distribution", missing)  # in the interpreter of an engine
    with pytest.raises(SetupError) as raised:
        extras.require("no_such_module", "reading", "data")
    assert raised.value.hint == "virc env create ENGINE --with no_such_module"
