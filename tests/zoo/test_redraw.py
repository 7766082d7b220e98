"""The files of docs/extras/sandbox.md that redraw a picture: a teacher compares, a judge says how alike both are."""

import asyncio
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from rewards.prompts import answer, prompt
from support.called import virc
from support.scripted_judge import judged
from support.servers import image_bytes, images_of, serve
from support.solving import answer as answered
from support.solving import call, picture
from support.tables import each_case

from virc.reasoning.images import open_image
from virc.rewards import registry as rewards
from virc.rewards.sample import sample
from virc.systems.registry import Reward
from virc_extras.sandbox import pool

PAGE = Path(__file__).parents[2] / "docs/extras/sandbox.md"
DRAW = "from PIL import Image\nImage.new('RGB', (168, 112), 'red').show()"
TOLD = "The second is red, the first is blue."


@pytest.fixture(autouse=True, scope="module")
def _closed() -> Iterator[None]:
    yield
    pool.shared().close()


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """The files as the page has them."""
    for piece in PAGE.read_text().split("<!-- file: ")[1:]:
        name, rest = piece.split(" -->\n", 1)
        (tmp_path / name).write_text(rest.split("\n", 1)[1].split("\n```\n", 1)[0] + "\n")
    picture(tmp_path / "a.png", 224, 112)
    return tmp_path


def sizes(asked: Any) -> list[tuple[int, int]]:
    """Of the images in a request."""
    return [open_image(image_bytes(part), "it").size for part in images_of(asked)]


def solved(folder: Path, code: str, teacher: str, monkeypatch: pytest.MonkeyPatch) -> tuple[Any, Any]:
    """The last request to the model, and those to the teacher."""
    with serve((call("draw_again", code=code), answered("7"))) as model, serve((teacher,)) as taught:
        monkeypatch.setenv("TEACHER_ENDPOINT", taught.url)
        words = ("solve", folder / "a.png", "Which code draws this?", "--system", folder / "drawing.yaml")
        done = virc(*words, "--endpoint", model.url)
        assert done.code == 0, done.err
        return model.chats()[-1]["messages"], taught.chats()


def test_the_model_sees_its_drawing_and_what_the_teacher_says(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    messages, taught = solved(folder, DRAW, TOLD, monkeypatch)
    assert TOLD in json.dumps(messages[-1])
    assert sizes({"messages": messages[-1:]}) == [(168, 112)]
    (asked,) = taught
    assert sizes(asked) == [(224, 112), (168, 112)]


@each_case(
    ("code", "says", "value", "drawn"),
    [
        (DRAW, "8", 0.8, [(168, 112)]), (f"```python\n{DRAW}\n```", "10", 1.0, [(168, 112)]),
        (DRAW, "0", 0.0, [(168, 112)]), ("image_0.show()", "10", 0.0, None), ("print(1)", "10", 0.0, None),
    ],
)  # fmt: skip
def test_a_judge_compares_what_the_answer_draws(
    code: str, says: str, value: float, drawn: list[tuple[int, int]] | None, folder: Path
) -> None:
    total, means = rewards.of(Reward(total=str(folder / "likeness.py"))), judged(says)
    found = asyncio.run(rewards.score(sample(answer(code, "I draw it"), prompt(strict="own")), total, means))
    assert found.terms["likeness"] == value
    asked = means.judge.asked  # type: ignore[union-attr]
    assert [[image.size for image in each.images][1:] for each in asked] == ([drawn] if drawn else [])
