"""Remote tools in the commands that ask models, and with replies as other projects' servers give them."""

from pathlib import Path

import pytest
from PIL import Image
from remote_server import DETECT, in_json, serving, tool_of
from support.called import virc
from support.servers import images_of, serve
from support.solving import answer, call, picture

from virc.reasoning.calls import Call
from virc.tools import registry as tools

RESULT = "  result: {text: '{found.*.label}', images: mask}\n"
FOUND = {"found": [{"label": "cat"}], "mask": None}
TURN = call("detect", words="cat", image_index=0, bbox_2d=[0, 0, 56, 56])


@pytest.fixture(autouse=True)
def _forgotten(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tools, "_CUSTOM", {})
    monkeypatch.setattr(tools, "_FILES", {})


def write(folder: Path, url: str, more: str = RESULT) -> None:
    (folder / "detect.yaml").write_text(DETECT.format(url=url) + more)
    (folder / "mine.yaml").write_text("name: mine\ntools: [crop_image, detect]\n")


def solved(folder: Path, endpoint: str) -> tuple[int, str]:
    image = picture(folder / "a.png", 112, 56)
    words = ("solve", image, "What is it?", "--endpoint", endpoint, "--system", folder / "mine.yaml")
    done = virc(*words)
    return done.code, done.out or done.err


def test_solve_sends_the_call_and_the_model_gets_its_text(tmp_path: Path) -> None:
    with serving(lambda _: in_json(FOUND)) as remote, serve([TURN, answer("7")]) as server:
        write(tmp_path, remote.address)
        assert solved(tmp_path, server.url) == (0, "7\n")
        first, second = server.chats()
    assert remote.requests[0].json["bbox_2d"] == [0, 0, 56, 56]
    assert "{unit}" not in str(first["messages"][0])
    assert "cat" in str(second["messages"][-1]["content"])
    assert len(images_of(second)) == 1


def test_a_failing_server_costs_the_problem_a_sentence(tmp_path: Path) -> None:
    with serving(lambda _: in_json("broken", 500)) as remote, serve([TURN, answer("7")]) as server:
        write(tmp_path, remote.address)
        assert solved(tmp_path, server.url) == (0, "7\n")
        _, second = server.chats()
    assert "The tool failed: it answers 500" in str(second["messages"][-1]["content"])


def test_no_model_is_asked_where_the_server_is_not_there(tmp_path: Path) -> None:
    with serving(lambda _: in_json(FOUND)) as remote:
        write(tmp_path, remote.address)
    with serve([TURN, answer("7")]) as server:
        code, said = solved(tmp_path, server.url)
        assert not server.chats()
    assert code == 4
    assert "cannot be reached" in said


def test_a_tool_server_of_open_think_img_is_reached(tmp_path: Path) -> None:
    # zhaochen0110/OpenThinkIMG at 45d295f, tool_server/tool_workers/online_workers/grounding_dino_worker.py:
    # generate_stream_func reads these four, and answers so.
    found = {"boxes": [[0.1, 0.2, 0.5, 0.6]], "logits": [0.81], "phrases": ["cat"], "size": [40, 60]}
    body = """\
  body: {image: "{image}", param: "{words}", box_threshold: 0.3, text_threshold: 0.25}
  result: {text: "{text.phrases} at {text.boxes} of {text.size}"}
"""
    with serving(lambda _: in_json({"text": found, "error_code": 0})) as server:
        made = tool_of(tmp_path, server.address, body).apply(
            Call("detect", 0, arguments={"words": "cat"}), Image.new("RGB", (60, 40))
        )
    assert server.requests[0].json.keys() == {"image", "param", "box_threshold", "text_threshold"}
    assert made.text == "cat at [[0.1,0.2,0.5,0.6]] of [40,60]"


def test_a_check_of_a_system_says_which_server_fails(tmp_path: Path) -> None:
    pytest.importorskip("virc_extras")  # virc systems check
    with serving(lambda _: in_json({"error": "no weights"}, 500)) as remote:
        write(tmp_path, remote.address)
        done = virc("systems", "check", tmp_path / "mine.yaml")
    assert (done.code, "the server of the tool detect fails: it answers 500" in done.out) == (3, True), done.err
    with serving(lambda _: in_json(FOUND)) as remote:
        write(tmp_path, remote.address)
        tools._CUSTOM.clear()
        done = virc("systems", "check", tmp_path / "mine.yaml")
    assert (done.code, "warning" in done.err) == (0, False), done.err
