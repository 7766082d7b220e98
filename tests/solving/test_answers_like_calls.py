"""Answers that look like calls, from an endpoint to the command line: printed as they are, after one request."""

from pathlib import Path

import pytest
from PIL import Image
from support.called import virc
from support.plain_answers import drawn
from support.servers import serve
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
