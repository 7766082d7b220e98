"""Answers that look like calls, from an endpoint to the command line: printed as they are, after one request."""

import json
from pathlib import Path

import pytest
from PIL import Image
from support.called import virc
from support.plain_answers import drawn
from support.servers import Body, serve
from support.solving import answer

from virc.families import registry as families

ANSWERS = drawn(1)
NAMED = [
    "f(2) = 7",
    "sin(30) = 0.5, so <answer>5</answer>",
    "P(3) is the largest",
    "the vertex A(3, 4)",
    "Revenue(2023)",
    'print("hello")',
    '[{"name": "ACME", "region": "EMEA"}]',
    '[{"name": "cat", "bbox_2d": [10, 20, 110, 120]}, {"name": "dog", "bbox_2d": [5, 5, 50, 60]}]',
]
LOOK = '```json\n{"name": "crop_image", "arguments": {"bbox_2d": [10, 10, 90, 80], "image_index": 0}}\n```'


@pytest.fixture
def image(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("VIRC_CONFIG", str(tmp_path / "config.yaml"))
    monkeypatch.setenv("VIRC_CACHE", str(tmp_path / "cache"))
    Image.linear_gradient("L").convert("RGB").resize((112, 84)).save(tmp_path / "p.png")
    return tmp_path / "p.png"


BY_DAY = ("qwen3-vl", "internvl3")  # the others are asked at night


@pytest.mark.parametrize(
    "family",
    [pytest.param(each, marks=() if each in BY_DAY else pytest.mark.integration) for each in families.discover()],
)
def test_a_plain_answer_is_printed_after_one_request(family: str, image: Path) -> None:
    # each family has its share of the drawn answers, and all that users have met
    share = [text for at, (text, _) in enumerate(ANSWERS) if at % len(families.discover()) == _place(family)]
    right = dict(ANSWERS) | {NAMED[1]: "5"}
    for text in (*NAMED, *share):
        with serve(lambda body: text) as server:  # noqa: B023
            done = virc("solve", "--endpoint", server.url, "--family", family, image, "What does it say?")
            assert (done.code, done.out.split()) == (0, right.get(text, text).split()), done.err
            assert len(server.chats()) == 1, text


def _place(family: str) -> int:
    return [*families.discover()].index(family)


def test_an_answer_in_the_tags_of_our_own_protocol_is_printed_after_one_request(image: Path) -> None:
    for text in NAMED:
        said = answer(text.partition("<")[0])
        with serve([said]) as server:
            done = virc("solve", "--endpoint", server.url, "--protocol", "default", image, "What does it say?")
            assert (done.code, done.out, len(server.chats())) == (0, text.partition("<")[0].strip() + "\n", 1)


def test_an_answer_in_function_notation_after_a_call_is_printed(image: Path) -> None:
    def says(body: Body) -> str:
        return LOOK if len(server.chats()) == 1 else "I used crop_image (see above): f(2) = crop(7)"

    with serve(says) as server:
        done = virc("solve", "--endpoint", server.url, "--family", "internvl3", image, "What is f(2)?", "--json")
        assert len(server.chats()) == 2
    assert (done.json["answer"], done.json["calls"]) == (
        "I used crop_image (see above): f(2) = crop(7)",
        {"crop_image": 1},
    )


def test_rows_of_a_batch_keep_their_objects(image: Path, tmp_path: Path) -> None:
    texts = [text for text, answered in ANSWERS if text == answered and text[0] in "[{"]
    rows = [{"id": at, "image": str(image), "question": f"No. {at}?"} for at in range(len(texts))]
    (tmp_path / "in.jsonl").write_text("\n".join(map(json.dumps, rows)))

    def says(body: Body) -> str:
        return next(text for at, text in enumerate(texts) if f"No. {at}?" in json.dumps(body))

    with serve(says) as server:
        done = virc("batch", tmp_path / "in.jsonl", "--endpoint", server.url, "--family", "qwen3-vl")
        assert len(server.chats()) == len(texts)
    assert {each["id"]: each["answer"] for each in done.lines} == dict(enumerate(texts))
