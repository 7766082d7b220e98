"""What is said before a run whose tools import what the engine's environment does not have."""

import sys
from pathlib import Path
from typing import Any

import pytest
from support import preflight

from virc.core.errors import SetupError
from virc.data.formats.registry import RowsFile
from virc.envs.pins import Environment, get
from virc.models.chat_protocol import read_protocol
from virc.models.registry import EMBEDDED_FOLDER
from virc.reasoning.protocol import FILE_NAME
from virc.training.packages import check_tool_packages
from virc.training.preflight.types import RlRequest, SftRequest

TOOL = """
NAME = "far"
TEMPLATE = "after_image"
SCHEMA = {"type": "function", "function": {"name": "far", "parameters": {"type": "object", "properties": {}}}}


def apply(call, source):
    import not_installed_anywhere.inner
"""
SOURCE = RowsFile(file=Path("/rows.jsonl"), format="prompts", name="rows")
OWN = read_protocol(EMBEDDED_FOLDER / FILE_NAME)


@pytest.fixture
def environment(tmp_path: Path) -> Environment:
    return get("rl", "cpu", tmp_path / "cache")


def rl_request(**values: Any) -> Any:
    usual = {"source": SOURCE, "base": Path("/base"), "rollout": "multi_turn", "folder": Path("/new"),
             "home": Path("/new"), "chat_protocol": OWN}  # fmt: skip
    return preflight.request(RlRequest, **usual | values)


def own_tool(folder: Path) -> str:
    (folder / "far.py").write_text(TOOL)
    return str(folder / "far.py")


def refused(asked: RlRequest | SftRequest, environment: Environment) -> SetupError:
    with pytest.raises(SetupError) as error:
        check_tool_packages(asked, "mine-rl", environment, Path(sys.executable))
    return error.value


def test_a_tool_added_to_rl_is_refused_with_the_command(environment: Environment, tmp_path: Path) -> None:
    error = refused(rl_request(tools=(own_tool(tmp_path),)), environment)
    assert error.message == (
        "mine-rl offers the tool far, which imports not_installed_anywhere, and the environment rl-cpu does not have it"
    )
    assert error.hint == (
        "virc env create rl --device cpu --with not_installed_anywhere, or the name of the package that has it"
    )


def test_a_module_beside_a_tool_is_no_package_and_what_it_imports_is(environment: Environment, tmp_path: Path) -> None:
    (tmp_path / "near_words.py").write_text("import json\n")
    tool = own_tool(tmp_path)
    Path(tool).write_text(TOOL.replace("not_installed_anywhere.inner", "near_words"))
    check_tool_packages(rl_request(tools=(tool,)), "mine-rl", environment, Path(sys.executable))
    (tmp_path / "near_words.py").write_text("import not_installed_anywhere\n")
    assert "imports not_installed_anywhere" in refused(rl_request(tools=(tool,)), environment).message
