"""Questions without a picture: systems with a tool that finds some answer them, others refuse them in a sentence."""

import json
from pathlib import Path

import pytest
from PIL import Image
from support.called import virc
from support.servers import serve
from support.solving import answer

REPLIES = ("<think>I search.</think><search>grain</search>", "<think>So.</think><answer>12 tons</answer>")


@pytest.fixture
def workspace(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("VIRC_CONFIG", str(tmp_path / "config.yaml"))
    monkeypatch.chdir(tmp_path)
    return tmp_path


@pytest.fixture(autouse=True)
def pages(workspace: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    folder = workspace / "pages"
    folder.mkdir()
    Image.new("RGB", (560, 420), "grey").save(folder / "harbour_2.png")
    (folder / "harbour_2.txt").write_text("tons of grain")
    monkeypatch.setenv("VIRC_PAGES", str(folder))


def test_a_question_from_a_file_needs_no_picture_either(workspace: Path) -> None:
    (workspace / "q.txt").write_text("How many tons?")
    replies = iter(REPLIES)
    with serve(lambda body: next(replies)) as server:
        words = ("--system", "vrag-rl", "--endpoint", server.url, "--trace", "out")
        done = virc("solve", "--question-file", "q.txt", *words)
        asked = server.chats()[0]["messages"][-1]["content"]
    assert (done.code, done.out) == (0, "12 tons\n"), done.err
    assert json.dumps(asked).endswith('Question: How many tons?"') or "image_url" not in json.dumps(asked)
    trace = json.loads((workspace / "out" / "trace.json").read_bytes())
    assert [each["index"] for each in trace["images"]] == [0]  # the page
    assert (workspace / "out" / "index.html").is_file()


def test_rows_without_pictures_are_answered_or_fail_alone(workspace: Path) -> None:
    rows = [{"id": 1, "images": [], "question": "How many tons?", "answer": "12 tons", "boxes": [[1, 2, 3, 4]]}]
    (workspace / "rows.jsonl").write_text("".join(f"{json.dumps(row)}\n" for row in rows))
    replies = iter(REPLIES)
    with serve(lambda body: next(replies)) as server:
        done = virc("batch", "rows.jsonl", "--system", "vrag-rl", "--endpoint", server.url)
    assert done.code == 0, done.err
    assert json.loads(done.out)["answer"] == "12 tons"
    with serve([answer("1")]) as server:
        done = virc("batch", "rows.jsonl", "--family", "qwen2.5-vl", "--endpoint", server.url)
        assert not server.chats()
    told = json.loads(done.out)["error"]
    assert (done.code, told["message"]) == (1, "there is no image, and none of the model's tools finds any")
    with serve(["a"]) as server:
        done = virc("batch", "rows.jsonl", "--pipeline", "prism", "--endpoint", server.url)
    assert "a pipeline answers questions about images" in json.loads(done.out)["error"]["message"]
