"""The SFT of VTS-V in the real LLaMA-Factory, on `tiny` and rows as its program writes them. What ran is recorded."""

import json
from pathlib import Path

import pytest
from recorded import recording
from support import published_rows, tested, workspaces

from virc.models.chat_protocol import of_system
from virc.systems import registry as systems

pytestmark = [pytest.mark.record, pytest.mark.timeout(900)]


def step(thought: str, action: str, **arguments: object) -> dict[str, str]:
    content = {"thought": thought, "action_name": action, "action": arguments}
    return {"role": "assistant", "content": json.dumps(content, indent=4)}


def rows(folder: Path) -> Path:
    """Traces as `datagen/sft_data_gen/sft_datagen.py` writes them, of a zoom and the answer: its system message is that
    of the chat protocol, and a picture stands for its `Image Index`.
    """
    (folder / "images").mkdir(parents=True)
    traces = []
    for at, number in enumerate(published_rows.NUMBERS):
        whole = published_rows.picture(at)
        whole.save(folder / "images" / f"{at}-0.jpg")
        whole.crop((0, 0, whole.width // 2, whole.height // 2)).save(folder / "images" / f"{at}-1.jpg")
        box = {"x_min": 0, "y_min": 0, "x_max": whole.width // 2, "y_max": whole.height // 2}
        messages = [
            {"role": "system", "content": of_system(systems.get("vts-v")).protocol.system},
            {"role": "user", "content": "<image>Which number is in the square?"},
            step("It is small.", "zoomin_action", image_index=1, bounding_box=box),
            {"role": "user", "content": "Here's the zoomed in image: <image>"},
            step("Now it can be read.", "terminate_action", final_response=number),
        ]
        traces.append({"images": [f"images/{at}-0.jpg", f"images/{at}-1.jpg"], "messages": messages})
    file = folder / "llavaov_sft_train.json"
    file.write_text(json.dumps(traces))
    return file


def test_it_learns_traces_of_tools(tmp_path: Path) -> None:
    file = rows(tmp_path / "published")
    words = ("--system", "vts-v", "--format", "sft", "--to", "data/vts-v", "--name", "traces")
    done = workspaces.run(tmp_path, "data", "convert", str(file), *words)
    assert done.returncode == 0, done.stderr
    run = workspaces.trained(
        tmp_path, "vts-v", "instruct", "--from", "tiny", "--with", "cpu", **recording.SFT, cutoff_len=2304
    )
    recording.assert_learnt(run)
    tested.ran(run, "sft")
