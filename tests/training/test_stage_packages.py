"""Packages that tools and settings need and the engine's environment lacks, and trackers without their key."""

import os
import sys
from pathlib import Path
from typing import Any

import pytest
from support import preflight

from virc.core.errors import ConfigError, SetupError
from virc.data.formats.registry import RowsFile
from virc.envs import making
from virc.envs.pins import Environment, get
from virc.models.chat_protocol import read_protocol
from virc.models.registry import EMBEDDED_FOLDER
from virc.reasoning.protocol import FILE_NAME
from virc.stages.resolve import Resolved
from virc.training import packages
from virc.training.preflight.types import RlRequest, SftRequest
from virc.training.request import TrainRequest

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
        packages.check_tool_packages(asked, "mine-rl", environment, Path(sys.executable))
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
    packages.check_tool_packages(rl_request(tools=(tool,)), "mine-rl", environment, Path(sys.executable))
    (tmp_path / "near_words.py").write_text("import not_installed_anywhere\n")
    assert "imports not_installed_anywhere" in refused(rl_request(tools=(tool,)), environment).message


PLAIN = """
from typing import TYPE_CHECKING

import loaded

if TYPE_CHECKING:
    import checked
try:
    import optional
except ImportError:
    optional = None


def apply(call, source):
    from carried import out
"""


def test_what_may_be_missing_is_not_needed_and_what_calls_import_is_where_they_are_carried_out(tmp_path: Path) -> None:
    (tmp_path / "far.py").write_text(PLAIN)
    assert packages.needed(tmp_path / "far.py") == ["typing", "loaded", "carried"]
    assert packages.needed(tmp_path / "far.py", carried_out=False) == ["typing", "loaded"]


def reporting_to(trackers: str) -> Resolved:
    return TrainRequest(system="tiny", stage="instruct", assignments=(f"trackers={trackers}",)).resolve()


@pytest.mark.parametrize(
    ("trackers", "environment", "netrc", "refused"),
    [
        ("[wandb]", {}, {}, "no WANDB_API_KEY here"),
        ("[wandb]", {"WANDB_API_KEY": "k"}, {}, None),
        ("[wandb]", {"WANDB_MODE": "offline"}, {}, None),
        ("[wandb]", {}, {".netrc": "machine api.wandb.ai login u password p\n"}, None),
        ("[swanlab]", {}, {".swanlab/.netrc": "machine anywhere login u password p\n"}, None),
        ("[tensorboard, wandb]", {}, {}, "no WANDB_API_KEY here"),
        ("[mlflow, trackio]", {}, {}, None),
    ],
)
def test_a_tracker_needs_its_key(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, trackers: str, environment: dict[str, str],
    netrc: dict[str, str], refused: str | None,
) -> None:  # fmt: skip
    for name in [name for name in os.environ if name.startswith(("WANDB", "SWANLAB"))]:
        monkeypatch.delenv(name)
    for name, value in {"HOME": str(tmp_path), **environment}.items():
        monkeypatch.setenv(name, value)
    for name, text in netrc.items():
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_text(text)
        (tmp_path / name).chmod(0o600)
    resolved = reporting_to(trackers)
    if refused is None:
        packages.check_trackers(resolved)
        return
    with pytest.raises(ConfigError, match=refused) as error:
        packages.check_trackers(resolved)
    assert "--set trackers=[]" in str(error.value.hint)


def test_a_tracker_that_the_environment_lacks_can_be_added(monkeypatch: pytest.MonkeyPatch) -> None:
    resolved = reporting_to("[trackio]")
    environment = making.find("sft", "cpu")
    monkeypatch.setattr(packages, "installed", lambda *given: {})
    with pytest.raises(SetupError, match="needs trackio") as error:
        packages.check_packages(resolved, environment, environment.python)
    assert str(error.value.hint).startswith("virc env create sft --with trackio, --set trackers=[]")
