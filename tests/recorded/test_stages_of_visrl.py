"""The stages of VisRL in the real LLaMA-Factory, on `tiny` and rows as they are published. What ran is recorded."""

import json
import math
from pathlib import Path

import pytest
from recorded import recording
from support import published_pairs, tested, workspaces

from virc.systems import registry as systems
from virc.systems import texts

pytestmark = [pytest.mark.record, pytest.mark.timeout(900)]

ASKED = texts.text(systems.get("visrl").file.parent, "look").strip()
COLUMNS = {"messages": "conversations", "images": "image"}


@pytest.fixture(scope="module")
def workspace(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Both files, and their entries as in the published `data/dataset_info.json`."""
    folder = tmp_path_factory.mktemp("workspace")
    data = folder / "data" / "visrl"
    pairs = json.loads(published_pairs.visrl(data).read_text())
    rows = [  # preprocess/sft_format_round1.py: the first turn and its box
        {
            "image": row["images"],
            "conversations": [
                {"from": "human", "value": f"<image>\n{published_pairs.QUESTION} {ASKED}"},
                {"from": "gpt", "value": row["chosen_step"]["value"]},
            ],
        }
        for row in pairs
    ]
    (data / "demo_sft_data_30k.json").write_text(json.dumps(rows))
    entries = json.loads((data / "dataset_info.json").read_text())
    supervised = {"file_name": "demo_sft_data_30k.json", "formatting": "sharegpt", "columns": COLUMNS}
    (data / "dataset_info.json").write_text(json.dumps({"demo_sft_data": supervised, **entries}))
    return folder


def test_it_learns_boxes(workspace: Path) -> None:
    run = workspaces.trained(workspace, "visrl", "boxes", "--from", "tiny", "--with", "cpu", **recording.SFT)
    recording.assert_learnt(run)
    tested.ran(run, "supervised")


def test_it_learns_which_box_is_better(workspace: Path) -> None:
    run = workspaces.trained(workspace, "visrl", "box-pairs", "--from", "tiny", "--with", "cpu", **recording.SFT)
    assert workspaces.losses(run, "margin")[1] == 0
    recording.assert_learnt(run)
    tested.ran(run, "boxes")


def test_it_learns_boxes_and_answers(workspace: Path) -> None:
    data = workspace / "data" / "visrl"
    words = ("--system", "visrl", "--format", "pairs", "--to", "data/both", "--name", "demo_rl_data_stage2")
    done = workspaces.run(workspace, "data", "convert", str(data / "demo_rl_data.json"), *words)
    assert done.returncode == 0, done.stderr
    words = ("--from", "tiny", "--with", "cpu", "--set", "data=both/demo_rl_data_stage2")
    run = workspaces.trained(workspace, "visrl", "both-pairs", *words, **recording.SFT)
    assert workspaces.losses(run)[1] == pytest.approx(math.log(2), abs=1e-4)
    recording.assert_learnt(run)
    tested.ran(run, "pairs")
