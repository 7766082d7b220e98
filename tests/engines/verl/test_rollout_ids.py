"""The ids of a rollout in verl are those that `virc solve` feeds for the same replies."""

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

import msgspec
import pytest
from rl_engine import TINY, child
from scripted_backend import Scripted, scripted, spelt
from support.called import virc

from virc.backends.interface import Sampling
from virc.models.chat_protocol import read_protocol, written
from virc.reasoning.images import open_image
from virc.reasoning.protocol import FILE_NAME, Drawing
from virc.reasoning.session import Ask, Reply, Session, Unit
from virc.solving.one import SolveConfig, solve
from virc.tools.registry import known

pytestmark = [pytest.mark.engine, pytest.mark.timeout(600)]

PICTURE = Path(__file__).parents[2] / "pictures" / "triangle.png"
PROTOCOL = TINY / FILE_NAME
QUESTION = "In triangle BLA, find m∠L. What do <|image_pad|> and <|im_end|> say?"


def call(name: str, **arguments: object) -> str:
    said = json.dumps({"name": name, "arguments": arguments})
    return f"<think>I look closer at it.</think>\n<tool_call>\n{said}\n</tool_call>"


CROP = call("crop_image", bbox_2d=[13, 7, 118, 95], image_index=0)  # 105 x 88, shown at 112 x 84
SCALE = call("scale_image", scale_factor=1.5, image_index=1)
SHOW = call("display_image", image_index=0)
ANSWER = "<think>It is read.</think>\n<answer>42</answer>"
REPLIES = (CROP, SCALE, SHOW, ANSWER)


@pytest.fixture(scope="module")
def backend() -> Scripted:
    return scripted(TINY)


def solved(backend: Scripted, replies: Sequence[str]) -> list[list[int]]:
    """The ids of the replies; `backend` keeps what `virc solve` fed before each."""
    ids = [spelt(backend, reply) for reply in replies]
    backend.script(ids)
    solve(SolveConfig(tries=1), backend, read_protocol(PROTOCOL), [open_image(PICTURE, "it")], QUESTION)
    return ids


class Scene(NamedTuple):
    """What `virc solve` fed for REPLIES, and what became of the same and other replies in verl."""

    fed: list[list[int]]
    sizes: list[list[tuple[int, int]]]
    ids: list[list[int]]
    done: dict[str, Any]
    end: int
    other: int


def row(question: str, images: Sequence[Path], prompt: Sequence[dict[str, str]]) -> dict[str, Any]:
    shown = [{"image": f"file://{image.resolve()}"} for image in images]
    info = {"index": 0, "question": question, "images": shown, "prompt": list(prompt)}
    return {"extra_info": info, "reward_model": {"ground_truth": "42"}, "index": 0}


@pytest.fixture(scope="module")
def stored(backend: Scripted, tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    """The third unit of a drawn trajectory, as the format `rl` has it; and `fed`, `sizes` of `virc solve` there."""
    folder = tmp_path_factory.mktemp("stored") / "data"
    made = virc("data", "synth", "--to", folder, "--count", 1, "--formats", "rl")
    assert made.code == 0, made.err
    given = child("rows_child.py", folder / "rl.parquet")[2]
    info = given["extra_info"]
    picture = folder / info["images"][0]["image"]
    session = Session(read_protocol(PROTOCOL), info["question"], [open_image(picture, "it")], tools=known())
    for message in info["prompt"]:
        if message["role"] == "assistant":
            assert isinstance(session.feed(Reply(message["content"])), Unit)
    ask = session.next()
    assert isinstance(ask, Ask)
    backend.script([[0]])
    backend.reply(ask, Sampling())
    return {"row": given, "folder": str(folder), "fed": backend.fed[0], "sizes": backend.sizes[0]}


@pytest.fixture(scope="module")
def scene(backend: Scripted, stored: dict[str, Any], tmp_path_factory: pytest.TempPathFactory) -> Scene:
    folder = tmp_path_factory.mktemp("rows")
    (folder / "picture.png").write_bytes(PICTURE.read_bytes())
    prompt = [{"role": "system", "content": ""}, {"role": "user", "content": f"<image>{QUESTION}"}]
    problem = row(QUESTION, [folder / "picture.png"], prompt)
    ids = solved(backend, REPLIES)
    end, other = backend._tokenizer.convert_tokens_to_ids(["<|im_end|>", "<|endoftext|>"])
    ended = [[*reply, end] for reply in ids]

    def case(replies: Sequence[Sequence[int]], room: int = 4096, **loop: object) -> dict[str, Any]:
        arguments = {"protocol": str(PROTOCOL), "folder": str(folder), **loop}
        return {"room": room, "row": problem, "replies": replies, "loop": arguments}

    second = len(backend.fed[1]) - len(backend.fed[0])
    brief = msgspec.structs.replace(read_protocol(PROTOCOL), sampling=Drawing(max_tokens=7))
    (folder / "brief.json").write_bytes(written(brief))
    cases = {
        "whole": case(ended),
        "other ends": case([ids[0], [*ids[1], other], ended[2], [*ids[3], other]]),
        "no room for a turn": case(ended, room=second),
        "room for five": case([ended[0], ids[1][:5]], room=second + 5, max_tokens=4000),
        "as long as the chat protocol says": case(ended, protocol=str(folder / "brief.json"), max_tokens=4000),
        "one unit": {**case([ended[3]], rollout="per_cru", folder=stored["folder"]), "row": stored["row"]},
    }
    (folder / "cases.json").write_text(json.dumps(cases))
    done = child("loop_child.py", folder / "cases.json", TINY)
    return Scene(backend.fed, backend.sizes, ids, done, end, other)


def test_whole_problems(scene: Scene) -> None:
    done = scene.done["whole"]
    assert [each["ids"] for each in done["asked"]] == scene.fed
    assert [[tuple(size) for size in each["images"]] for each in done["asked"]] == scene.sizes
    assert done["prompt"] == scene.fed[0]
    assert done["prompt"] + done["response"] == [*scene.fed[-1], *scene.ids[-1], scene.end]
    sampled = [token for token, learnt in zip(done["response"], done["mask"], strict=True) if learnt]
    assert sampled == [token for reply in scene.ids for token in (*reply, scene.end)]
    assert [chance == -0.5 for chance in done["chances"]] == [bool(learnt) for learnt in done["mask"]]
    assert done["extra"]["ended"] == "answer"
    assert done["extra"]["replies"] == list(REPLIES)
    assert json.loads(done["extra"]["rollout"])["answer"] == "42"


def test_crops_are_of_other_sizes_than_their_boxes(scene: Scene) -> None:
    assert scene.sizes[-1][1] == (112, 84)


@pytest.mark.parametrize("name", ["whole", "one unit", "no room for a turn"])
def test_the_processor_changes_no_image(scene: Scene, name: str, backend: Scripted) -> None:
    done = scene.done[name]
    assert done["grids"] == [[1, height // 14, width // 14] for width, height in done["sizes"]]
    pads = (done["prompt"] + done["response"]).count(backend._tokenizer.convert_tokens_to_ids("<|image_pad|>"))
    assert pads == sum(rows * columns // 4 for _, rows, columns in done["grids"])


def test_an_end_that_was_not_drawn_is_fed_and_not_learnt(scene: Scene) -> None:
    """One reply is cut after its last tag, the next ends with another id; the conversation goes on with <|im_end|>."""
    done = scene.done["other ends"]
    assert [each["ids"] for each in done["asked"]] == scene.fed
    whole, start = done["prompt"] + done["response"], len(done["prompt"])
    for turn in (0, 1):
        place = len(scene.fed[turn]) + len(scene.ids[turn])
        assert (whole[place], done["mask"][place - start], done["chances"][place - start]) == (scene.end, 0, 0)
    assert (whole[-1], done["mask"][-1]) == (scene.other, 1)


def test_a_reply_is_as_long_as_the_chat_protocol_says(scene: Scene) -> None:
    assert {each["most"] for each in scene.done["as long as the chat protocol says"]["asked"]} == {7}


def test_a_rollout_stays_within_its_tokens(scene: Scene) -> None:
    done = scene.done["no room for a turn"]
    assert (len(done["asked"]), done["extra"]["ended"]) == (1, "length")
    assert done["response"] == [*scene.ids[0], scene.end]  # a tool result that nothing follows is no part of it
    assert len(done["sizes"]) == 1
    done = scene.done["room for five"]
    room = len(scene.fed[1]) - len(scene.fed[0]) + 5
    assert [each["most"] for each in done["asked"]] == [room, 5]
    assert (len(done["response"]), done["extra"]["ended"]) == (room, "length")


def test_single_units(scene: Scene, stored: dict[str, Any]) -> None:
    """A stored conversation becomes the ids that `virc solve` would feed at that point."""
    done = scene.done["one unit"]
    assert done["prompt"] == stored["fed"]
    assert [tuple(size) for size in done["sizes"]] == stored["sizes"]
    assert len(stored["sizes"]) == 3
    assert done["mask"] == [1] * len(done["response"])
    assert json.loads(done["extra"]["rollout"])["messages"][-1]["text"] == ANSWER
