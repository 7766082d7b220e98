"""What a run copies of a tool that an MCP server carries out."""

from pathlib import Path

import pytest

from virc.core.errors import ConfigError
from virc.tools import registry
from virc.training.rl_setup import check_copies

TOOL = """
description: Find things.
parameters: {type: object, properties: {words: {type: string}}, required: [words]}
mcp:
  tool: detect
"""


@pytest.fixture(autouse=True)
def nothing_loaded(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(registry, "_CUSTOM", {})
    monkeypatch.setattr(registry, "_FILES", {})


@pytest.mark.parametrize(
    ("words", "named"),
    [("command: [python, server.py]", "server.py"), ("command: [python, /srv/server.py]\n  cwd: models", "models")],
)
def test_paths_from_the_folder_of_the_file_are_refused(words: str, named: str, tmp_path: Path) -> None:
    (tmp_path / "server.py").touch()
    (tmp_path / "find.yaml").write_text(f"{TOOL}  {words}\n")
    names = registry.load([str(tmp_path / "find.yaml")])
    with pytest.raises(ConfigError, match=f"names {named} from its own folder") as error:
        check_copies(names)
    assert str(tmp_path / named) in (error.value.hint or "")
