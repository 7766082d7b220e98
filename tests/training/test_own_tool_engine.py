"""The way of a tool of one's own, as docs/rewards-and-tools.md types it: sample, train, merge, solve."""

import json
import shutil
from pathlib import Path

import pytest
from support.called import virc
from support.servers import Body, serve, turn_of
from support.solving import answer, call

from virc.models.registry import EMBEDDED_FOLDER
from virc.reasoning.protocol import FILE_NAME
from virc.tools import registry as tools

pytestmark = [pytest.mark.engine, pytest.mark.timeout(900)]

PAGE = Path(__file__).parents[2] / "docs/rewards-and-tools.md"
SMALL = {"steps": 2, "save_steps": 2, "train_batch_size": 2, "micro_batch_size_per_device": 2, "cutoff_len": 4096}


@pytest.fixture
def own(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A workspace with problems, and the tool of the page in a folder of `VIRC_PATH`."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("VIRC_CONFIG", str(tmp_path / "config.yaml"))
    monkeypatch.setattr(tools, "_CUSTOM", {})
    folder = tmp_path / "own"
    folder.mkdir()
    code = PAGE.read_text(encoding="utf-8").split("<!-- file: own/rotate_image.py -->\n```python\n")[1].split("```")[0]
    (folder / "rotate_image.py").write_text(code, encoding="utf-8")
    monkeypatch.setenv("VIRC_PATH", str(folder))
    done = virc("data", "synth", "--to", "mine", "--count", 4, "--seed", 5, "--formats", "batch")
    assert done.code == 0, done.err
    return folder


def test_a_tool_goes_from_rows_into_a_model_that_offers_it(own: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    problems = [json.loads(line) for line in Path("mine/problems.jsonl").read_text().splitlines()]

    def strong(body: Body) -> str:
        if turn_of(body) == 0:
            return call("rotate_image", degrees=90, image_index=0)
        asked = json.dumps(body["messages"], ensure_ascii=False)
        return answer(next(row["answer"] for row in problems if row["question"] in asked))

    with serve(strong) as server:
        sampled = virc(
            "data", "sample", "mine/problems.jsonl", "--endpoint", server.url, "--tools", "+rotate_image",
            "--protocol", EMBEDDED_FOLDER / FILE_NAME, "--samples", 1, "--to", "data/rotated",
        )  # fmt: skip
    assert sampled.code == 0, sampled.err
    assert virc("data", "check", "data/rotated").code == 0
    settings = [word for key, value in SMALL.items() for word in ("--set", f"{key}={value}")]
    words = ("train", "tiny", "--stage", "instruct", "--from", "tiny", "--data", "data/rotated/trajectories.jsonl")
    trained = virc(*words, "--name", "rotating", *settings)
    assert trained.code == 0, trained.err
    assert "another chat protocol" not in trained.err  # the tool is all that they add
    assert virc("runs", "show", "rotating", "--json").json["info"]["code"].keys() == {"rotate_image.py"}
    merged = virc("merge", "rotating")
    assert merged.code == 0, merged.err
    assert "code/rotate_image.py" in Path("models/rotating/README.md").read_text()
    ask = ("solve", "mine/" + problems[0]["image"], problems[0]["question"], "--model", "rotating", "--max-turns", 2)
    assert virc(*ask).code in (0, 8)  # it has learned next to nothing
    shutil.rmtree(own)
    monkeypatch.delenv("VIRC_PATH")
    tools._CUSTOM.clear()
    refused = virc(*ask)
    code = Path("models/rotating/code").absolute()
    assert (refused.code, f"hint: export VIRC_PATH={code}," in refused.err) == (3, True), refused.err
    monkeypatch.setenv("VIRC_PATH", str(code))
    assert virc(*ask).code in (0, 8)
