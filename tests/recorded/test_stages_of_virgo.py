"""The stages of Virgo in the real LLaMA-Factory, on `tiny` and rows as they are published. What ran is recorded."""

from pathlib import Path

import pytest
from recorded import recording
from support import published_rows, tested, workspaces

pytestmark = [pytest.mark.record, pytest.mark.timeout(900)]


@pytest.fixture(scope="module")
def workspace(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("workspace")
    published_rows.virgo_text(folder / "data" / "text")
    visual = published_rows.virgo_visual(folder / "published")
    words = ("--system", "virgo", "--to", "data/visual", "--format", "sft", "--name", "rows")
    done = workspaces.run(folder, "data", "convert", visual, *words)
    assert done.returncode == 0, done.stderr
    return folder


@pytest.mark.parametrize(
    ("stage", "file", "rows"),
    [("text", "data/text/numina_llava_special_prompt_5k.json", "sft"), ("visual", "data/visual/rows.json", "visual")],
)
def test_a_stage_learns(stage: str, file: str, rows: str, workspace: Path) -> None:
    words = ("--from", "tiny", "--data", file, "--with", "cpu")
    run = workspaces.trained(workspace, "virgo", stage, *words, **recording.SFT)
    recording.assert_learnt(run)
    tested.ran(run, rows)
