"""A rollout of another system's row: in its words, stopped where its grammar stops, and learnt is what was sampled."""

import json
from typing import Any

import msgspec
import pytest
from PIL import Image
from rl_engine import TINY, child

from virc.backends.tokenizer import tokenizer
from virc.models.chat_protocol import of_system, written
from virc.reasoning.protocol import FILE_NAME
from virc.rewards.verl import Settings
from virc.systems import registry as systems
from virc.systems.registry import Reward

pytestmark = [pytest.mark.engine, pytest.mark.timeout(600)]

LOOK = 'A is small.\n{"bbox_2d": [0, 0, 56, 56]}'
ANSWER = "It reads 40.\n<answer>40</answer>"


@pytest.fixture(scope="module")
def done(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    """The row of VLM-R3, once stopped exactly and once with a line end sampled behind the box; and one of our own."""
    folder = tmp_path_factory.mktemp("rows")
    Image.new("RGB", (112, 84), "white").save(folder / "picture.png")
    chat_protocol = folder / FILE_NAME
    chat_protocol.write_bytes(written(of_system(systems.get("vlm-r3")).protocol))
    told = Settings(Reward("vlm_r3"), str(folder), protocol=str(chat_protocol), max_turns=2, rollout="multi_turn")
    (folder / "reward.json").write_bytes(msgspec.json.encode(told))
    sources = {"vlm-r3": str(folder / "reward.json")}
    loop = {"protocol": str(TINY / FILE_NAME), "folder": str(folder), "sources": sources}

    def case(source: str, *replies: str) -> dict[str, Any]:
        image = [{"image": f"file://{folder / 'picture.png'}"}]
        info = {"index": 0, "question": "How large is A?", "images": image,
                "prompt": [{"role": "user", "content": "<image>How large is A?"}]}  # fmt: skip
        row = {"extra_info": info, "reward_model": {"ground_truth": "40"}, "data_source": source}
        return {"room": 1024, "row": row, "replies": [ids(each) for each in replies], "loop": loop}

    cases = {
        "exact": case("vlm-r3", LOOK, ANSWER),
        "behind": case("vlm-r3", f"{LOOK}\n", ANSWER),
        "turns": case("vlm-r3", LOOK, LOOK),
        "own": case("virc", "<think>It is read.</think><answer>40</answer><|im_end|>"),
    }
    (folder / "cases.json").write_text(json.dumps(cases))
    found: dict[str, Any] = child("loop_child.py", folder / "cases.json", TINY)
    return found


def ids(text: str) -> list[int]:
    found: list[int] = tokenizer(TINY).encode(text, add_special_tokens=False).ids
    return found


def said(found: dict[str, Any], learnt: int) -> str:
    """The text of the ids that are learnt (1), or are not (0)."""
    chosen = [token for token, mark in zip(found["response"], found["mask"], strict=True) if mark == learnt]
    return str(tokenizer(TINY).decode(chosen, skip_special_tokens=False))


@pytest.mark.parametrize("name", ["exact", "behind"])
def test_learnt_is_what_was_sampled_and_nothing_that_was_shown(name: str, done: dict[str, Any]) -> None:
    found = done[name]
    more = "\n" if name == "behind" else ""
    assert said(found, 1) == f"{LOOK}{more}{ANSWER}"
    page, (width, height) = found["sizes"]
    assert page == [196, 140]  # of 112 x 84: it is shown with 25,088 pixels at least
    assert width * height >= 25_088
    pads = "<|image_pad|>" * (width * height // 28**2)
    # the crop stands inside the turn that goes on
    assert said(found, 0) == f"\n<|vision_start|>{pads}<|vision_end|>\n"
    assert found["extra"]["ended"] == "answer"
    trace = json.loads(found["extra"]["rollout"])
    assert trace["answer"] == "40"
    assert trace["units"][0]["results"][0]["call"]["name"] == "zoom_image"


def test_turns_are_those_of_the_source(done: dict[str, Any]) -> None:
    assert done["turns"]["extra"]["ended"] == "turns"


def test_a_row_is_spoken_to_in_its_systems_words(done: dict[str, Any]) -> None:
    prompts = {name: tokenizer(TINY).decode(found["prompt"], skip_special_tokens=False) for name, found in done.items()}
    first = of_system(systems.get("vlm-r3")).protocol.first
    wanted = first.replace("{images}", "").replace("{question}", "How large is A?")
    assert f"<|vision_end|>{wanted}<|im_end|>" in prompts["exact"]
    assert "<tools>" not in prompts["exact"]
    assert "<tools>" in prompts["own"]
    assert done["own"]["extra"]["ended"] == "answer"
