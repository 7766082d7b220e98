"""A system's file says how its models are spoken to, how they answer and how they are sampled."""

import json
from pathlib import Path
from typing import Any

import pytest
from support.called import virc
from support.servers import Exchange, error, serve
from support.tables import each_case

MINE = """\
name: mine
coordinates: thousand
tools: [zoom_image]
models: {m: {folder: ./m}}
chat_protocol:
  system: "Look well.\\n<tools>\\n{tools}\\n</tools>"
  first: "{question}"
  image_line: ""
  after_image: ""
  box: center
  grammar:
    think: null
    calls:
      - {body: arguments, tool: zoom_image, given: {image_index: 0}}
    stop: ["]}"]
sampling: {temperature: 0.3, repetition_penalty: 1.05, top_p: 0.9, top_k: 0, min_p: 0.2}
"""
BOX = 'Closer.\n{"bbox_2d": [250, 500, 500, 1000]}'  # the left half, by its centre
SEEN = "It reads 97.\n<answer>97</answer>"


@pytest.fixture
def mine(tmp_path: Path) -> Path:
    file = tmp_path / "mine.yaml"
    file.write_text(MINE)
    return file


def test_solve_speaks_reads_and_samples_as_the_system_says(mine: Path, image: Path, tmp_path: Path) -> None:
    with serve([f"{BOX} and on", SEEN]) as server:
        words = ("--endpoint", server.url, "--system", mine, "--json", "--trace", tmp_path / "trace")
        done = virc("solve", image, "What does it read?", *words)
        found = done.json
        assert (found["answer"], found["protocol"], found["calls"]) == ("97", "system", {"zoom_image": 1})
        chosen = {"temperature": 0.3, "repetition_penalty": 1.05, "top_p": 0.9, "top_k": 0, "min_p": 0.2}
        assert chosen.items() <= found["settings"].items()
        first, second = server.chats()
    assert "warning" not in done.err
    assert '{"bbox_2d"' not in done.err
    assert "-> zoom 0,0–56,84 of image 0: image 1" in done.err
    assert (chosen | {"top_k": -1}).items() <= first.items()  # as servers write all tokens
    assert (first["stop"], first["include_stop_str_in_output"]) == (["]}"], True)
    assert first["messages"][1]["content"][-1]["text"] == "What does it read?"
    assert second["messages"][2]["content"] == BOX  # what came after it was cut off
    trace = json.loads((tmp_path / "trace" / "trace.json").read_text())
    assert [each["temperature"] for each in trace["sampling"]["tries"]] == [0.3, 0.5, 0.8, 1.0]
    assert {(each["repetition_penalty"], each["top_p"], each["top_k"]) for each in trace["sampling"]["tries"]} == {
        (1.05, 0.9, None)
    }
    page = (tmp_path / "trace" / "index.html").read_text()
    assert "Zoom 0,0–56,84 of image 0" in page
    assert "It reads 97." in page


def test_settings_are_those_that_were_sent(mine: Path, image: Path) -> None:
    def picky(exchange: Exchange) -> None:
        if "repetition_penalty" in (exchange.body or {}):
            exchange.send_json(error("Unrecognized request argument supplied: repetition_penalty"), 400)
        else:
            exchange.send_events(SEEN, None)

    with serve([SEEN], fault=picky, owned_by="somebody") as server:
        done = virc("solve", image, "What does it read?", "--endpoint", server.url, "--system", mine, "--json")
    assert (done.json["answer"], done.json["settings"]["top_p"]) == ("97", 0.9), done.err
    assert "repetition_penalty" not in done.json["settings"]
    assert "repetition_penalty" in json.dumps(done.json["left"])


@each_case(
    ("system", "sent"),
    [
        ("vlm-r3", {"stop": ["]}", "]\n}", "] }", "</answer>"], "temperature": 0, "max_tokens": 2048}),
        ("mini-o3", {"stop": ["</grounding>"], "temperature": 1, "max_tokens": 8192}),
        ("chain-of-focus", {"temperature": 0, "max_tokens": 512}),
        ("virgo", {"temperature": 0, "repetition_penalty": 1.05}),
        ("ssl4rl", {"repetition_penalty": 1}),  # vLLM would take that of the model, 1.05, where it gets none
        ("visreason", {"repetition_penalty": None}),
    ],
)
def test_a_published_system_is_sampled_as_it_says(system: str, sent: dict[str, Any], image: Path) -> None:
    with serve(lambda _: "40") as server:
        virc("solve", image, "How large is A?", "--endpoint", server.url, "--system", system)
        first = server.chats()[0]
    assert {key: first.get(key) for key in sent} == sent
