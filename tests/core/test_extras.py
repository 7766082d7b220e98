"""Which extras lack which packages, and the line that installs them."""

import json
from collections.abc import Mapping
from email.message import Message
from importlib import metadata
from pathlib import Path
from types import SimpleNamespace
from urllib.parse import quote

import pytest

from virc.core import extras
from virc.core.errors import SetupError

REQUIRED = (
    "msgspec>=0.18", 'torch>=2.4; extra == "local"', "flash-attn[all]>=2; extra == 'local'",
    "transformers>=4.49; extra == 'local'", 'mcp>=2; extra == "mcp"',
    'pytest; extra == "dev"',
)  # fmt: skip


@pytest.fixture
def described(monkeypatch: pytest.MonkeyPatch) -> None:
    """A package with extras, of whose packages transformers and mcp are installed."""
    found = Message()
    for name in ("mcp", "local", "dev", "all"):
        found["Provides-Extra"] = name
    for line in REQUIRED:
        found["Requires-Dist"] = line
    monkeypatch.setattr(metadata, "metadata", lambda name: found)
    monkeypatch.setattr(extras, "_installed", lambda package: package in ("transformers", "mcp", "msgspec"))


@pytest.mark.usefixtures("described")
def test_an_extra_lacks_what_it_alone_requires_and_is_not_there() -> None:
    assert {each.name: each.missing for each in extras.discover()} == {"local": ("torch", "flash-attn"), "mcp": ()}


@pytest.mark.parametrize(
    ("source", "line"),
    [
        (None, "pip install 'virc[local,mcp]'"),
        ({"url": "https://example.org/virc.whl"}, "pip install 'virc[local,mcp]'"),
        ({"dir_info": {}}, "pip install '{there}[local,mcp]'"),
        ({"dir_info": {"editable": True}}, "pip install -e '{there}[local,mcp]'"),
        ({"dir_info": {"editable": True}, "here": True}, "pip install -e '.[local,mcp]'"),
    ],
)
def test_extras_are_installed_the_way_that_virc_is(
    source: Mapping[str, object] | None, line: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (there := tmp_path / "a checkout").mkdir()
    monkeypatch.chdir(there if source and "here" in source else tmp_path)
    text = source and json.dumps({"url": f"file://{quote(str(there))}", **source})
    monkeypatch.setattr(metadata, "distribution", lambda name: SimpleNamespace(read_text=lambda file: text))
    assert extras.install("local", "mcp") == line.format(there=there)


@pytest.mark.parametrize("is_there", [True, False])
def test_extras_of_a_wheel_come_with_it_while_it_is_there(
    is_there: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    wheel = tmp_path / "my virc-0.2.0-py3-none-any.whl"
    wheel.touch() if is_there else None
    text = json.dumps({"url": wheel.as_uri(), "archive_info": {}})
    monkeypatch.setattr(metadata, "distribution", lambda name: SimpleNamespace(read_text=lambda file: text))
    assert extras.install("serve") == f"pip install 'virc[serve]{f' @ {wheel.as_uri()}' * is_there}'"


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
