"""The published systems on a scripted endpoint: each is spoken to in its words, sampled as it says, and read so."""

import json
from pathlib import Path
from typing import Any, NamedTuple

import pytest
from PIL import Image
from support.called import virc
from support.servers import serve

from virc.models.chat_protocol import of_system
from virc.systems import registry as systems

QUESTION = "How large is A?"
THOUGHT = "Wait, A is read again. It is 40."


class Case(NamedTuple):
    """What a model of the system says, its answer, how many images it then has seen, and what is sent beside."""

    replies: tuple[str, ...]
    answer: str
    images: int
    sent: dict[str, Any]


CASES = {
    "vlm-r3": Case(
        ('A is small.\n{"bbox_2d": [0, 0, 56, 56]}', "It reads 40.\n<answer>40</answer>"),
        "40",
        2,
        {"stop": ["]}", "]\n}", "] }", "</answer>"], "temperature": 0, "max_tokens": 2048},
    ),
    "mini-o3": Case(
        (
            '<think>A.</think>\n<grounding>{"bbox_2d": [0, 0, 0.5, 0.5], "source": "original_image"}</grounding>',
            '<think>Still.</think>\n<grounding>{"bbox_2d": [0.5, 0, 1, 1], "source": "observation_1"}</grounding>',
            "<think>It reads 40.</think>\n<answer>40</answer>",
        ),
        "40",
        3,
        {"stop": ["</grounding>"], "temperature": 1, "max_tokens": 8192},
    ),
    "chain-of-focus": Case(
        (
            "<think>Both are small.</think>\n"
            '<tool_call>\n{"name": "image_zoom_in_tool", "arguments": {"bbox_2d": [0, 0, 56, 56]}}\n</tool_call>\n'
            '<tool_call>\n{"name": "image_zoom_in_tool", "arguments": {"bbox_2d": [56, 28, 112, 84]}}\n</tool_call>',
            "<think>It reads 40.</think>\n<answer>40</answer>",
        ),
        "40",
        3,
        {"temperature": 0, "max_tokens": 512},
    ),
    "virgo": Case(
        (
            f"<|begin_of_thought|>{THOUGHT}<|end_of_thought|>\n<|begin_of_solution|>So $m∠A$ is "
            r"\boxed{40}.<|end_of_solution|>",
        ),
        r"So $m∠A$ is \boxed{40}.",
        1,
        {"temperature": 0, "repetition_penalty": 1.05},
    ),
}


ROLES = {
    "vlm-r3": ["user", "assistant"],  # the crop stands in the model's own turn, which goes on
    "mini-o3": ["user", "assistant", "user", "assistant", "user"],
    "chain-of-focus": ["user", "assistant", "assistant", "assistant"],  # a turn for each crop
}
BOXES = {
    "vlm-r3": [[0, 0, 56, 56]],
    "mini-o3": [[0, 0, 126, 98], [126, 0, 252, 196]],
    "chain-of-focus": [[0, 0, 56, 56], [56, 28, 112, 84]],
}
"""Of each crop the box in pixels of what it is cut out of, as shown."""


@pytest.fixture
def image(tmp_path: Path) -> Path:
    Image.new("RGB", (112, 84), "white").save(tmp_path / "picture.png")
    return tmp_path / "picture.png"


@pytest.mark.parametrize("name", CASES)
def test_a_system_is_spoken_to_and_read_in_its_own_way(name: str, image: Path, tmp_path: Path) -> None:
    case, protocol = CASES[name], of_system(systems.get(name)).protocol
    left = iter(case.replies)  # results may be turns of the assistant too
    with serve(lambda body: next(left)) as server:
        words = ("--endpoint", server.url, "--system", name, "--json", "--trace", tmp_path / "trace")
        done = virc("solve", image, QUESTION, *words)
        asked = server.chats()
    assert done.code == 0, done.err
    assert done.json["answer"] == case.answer
    assert len(asked) == len(case.replies)
    assert asked[0]["messages"][0] == {"role": "system", "content": protocol.system}
    said = [part["text"] for part in asked[0]["messages"][1]["content"] if part["type"] == "text"]
    assert "".join(said) == protocol.first.replace("{images}", "").replace("{question}", QUESTION)
    assert {key: asked[0].get(key) for key in case.sent} == case.sent
    trace = json.loads((tmp_path / "trace" / "trace.json").read_bytes())
    assert len(trace["images"]) == case.images
    roles = [message["role"] for message in asked[-1]["messages"][1:]]
    assert roles == ROLES.get(name, ["user"])
    assert [image["box"] for image in trace["images"][1:]] == BOXES.get(name, [])
