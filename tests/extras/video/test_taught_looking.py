"""The commands of docs/extras/video.md that teach `tiny` to look into clips and documents."""

import json
from pathlib import Path
from typing import Any

import pytest
from docs.code_blocks import run_page
from support.engine_python import interpreter

pytestmark = [pytest.mark.slow, pytest.mark.timeout(1800)]

PAGE, THIS = "docs/extras/video.md", "tests/extras/video/test_taught_looking.py"
POINTS, PROBLEMS = 50, 60
"""What looking is worth at least, of that many problems."""


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Where the commands of the page were run."""
    interpreter("sft")
    folder = tmp_path_factory.mktemp("looking")
    run_page(PAGE, THIS, folder)
    return folder


@pytest.mark.parametrize("kind", ["clips", "pages"])
def test_tiny_is_fifty_points_better_with_looking(folder: Path, kind: str) -> None:
    summary: dict[str, Any] = json.loads((folder / "evals" / kind / "summary.json").read_text())
    right = {each["name"].partition("@")[0]: each["score"]["right"] for each in summary["models"]}
    assert 100 * (right["looks"] - right["guesses"]) >= POINTS * PROBLEMS, right
