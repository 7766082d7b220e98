"""What the function of a pipeline can use: roles, votes, boxes, and steps at the same time."""

import threading
from typing import Any

import pytest
from PIL import Image
from pipeline_runs import Scripted, run

from virc.reasoning.images import OpenedImage
from virc_extras.pipelines import Problem, Reply, Role, Roles, boxes, together
from virc_extras.pipelines.speaking import ShownPicture
from virc_extras.pipelines.steps import Branch, Run, running


def sent(backend: Scripted) -> list[list[str]]:
    return [[message.text for message in ask.messages] for ask in backend.asks]


def test_a_conversation_goes_on_behind_its_reply() -> None:
    def talk(problem: Problem, roles: Roles) -> str:
        first = roles.eyes.ask(problem.images, "Look.")
        second = roles.eyes.ask(f"Not {first}.", after=first)
        return roles.eyes.ask(problem.images[0], "Again.", after=second)

    eyes = Scripted("a", "b", "c")
    role = Role(system="You see.", temperature=0.5, max_tokens=9)
    assert run(talk, {"eyes": eyes}, roles={"eyes": role})["answer"] == "c"
    assert [(each.temperature, each.max_tokens) for each in eyes.sampling] == [(0.5, 9)] * 3
    assert sent(eyes)[2] == ["You see.", "Look.", "a", "Not a.", "b", "Again."]
    assert [message.images for message in eyes.asks[2].messages] == [(), (0, 1), (), (), (), (2,)]
    assert [len(ask.images) for ask in eyes.asks] == [2, 2, 3]


def test_what_runs_together_keeps_its_order_and_its_seeds() -> None:
    both = threading.Barrier(2, timeout=60)

    def wait(prompt: str) -> str:
        both.wait()  # breaks where the second request waits for the first
        return prompt

    def solved(problem: Problem, roles: Roles) -> str:
        texts = together(lambda: roles.eyes.ask("a", step="one"), lambda: roles.mind.ask("b", step="two"))
        return roles.mind.ask("".join(texts)) if not both.broken else ""

    mind = Scripted(to=lambda prompt: wait(prompt) if prompt == "b" else prompt)
    fields = run(solved, {"eyes": Scripted(to=wait), "mind": mind})
    assert fields["answer"] == "ab"
    assert [step["name"] for step in fields["steps"]] == ["one", "two", "mind"]


def reply(text: str, file: tuple[int, int] = (400, 200), shown: tuple[int, int] = (392, 196)) -> Reply:
    return Reply(text, seen=(ShownPicture(OpenedImage(Image.new("RGB", file)), shown),))


@pytest.mark.parametrize(
    ("text", "unit", "found"),
    [
        ("[98, 49, 196, 98]", "pixel", [(100, 50, 200, 100)]),
        ('{"bbox_2d": [250, 250, 500, 500], "label": "a"}', "thousand", [(100, 50, 200, 100)]),
        ("[0.25, 0.25, 0.5, 0.5] and [0, 0, 1, 1]", "unit", [(100, 50, 200, 100), (0, 0, 400, 200)]),
        ("[-2, 0, 100, 203]", "original", [(0, 0, 100, 200)]),
    ],
)
def test_boxes_are_read_in_their_unit(text: str, unit: Any, found: list[tuple[int, ...]]) -> None:
    with running(Branch(run := Run(1))):
        assert [each.box for each in boxes(reply(text), unit)] == found
    assert [list(step.boxes) for step in run.steps] == [found]
