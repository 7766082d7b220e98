"""What the function of a pipeline can use: roles, votes, boxes, and steps at the same time."""

import threading
from contextlib import suppress
from types import SimpleNamespace
from typing import Any

import pytest
from PIL import Image
from pipeline_runs import Scripted, run

from virc.core.errors import NetworkError
from virc.reasoning.images import OpenedImage
from virc_extras.pipelines import Interpreter, Problem, Reply, Role, Roles, boxes, together
from virc_extras.pipelines.speaking import ShownPicture
from virc_extras.pipelines.steps import Branch, Run, running
from virc_extras.sandbox import pool, python
from virc_extras.sandbox.calls import Answer, Around, Asked


def sent(backend: Scripted) -> list[list[str]]:
    return [[message.text for message in ask.messages] for ask in backend.asks]


def test_a_role_is_sent_texts_and_pictures_in_their_order() -> None:
    def look(problem: Problem, roles: Roles) -> str:
        return roles.eyes.ask("See ", problem.images[0], " and ", problem.images[1:], " here: ", problem.question)

    eyes = Scripted("four")
    fields = run(look, {"eyes": eyes}, roles={"eyes": Role(system="You see.", temperature=0.5, max_tokens=9)})
    assert [(each.temperature, each.max_tokens) for each in eyes.sampling] == [(0.5, 9)]
    assert fields["answer"] == "four"
    assert sent(eyes) == [["You see.", "See  and  here: How many?"]]
    assert list(eyes.asks[0].messages[1].parts()) == ["See ", 0, " and ", 1, " here: How many?"]
    (step,) = fields["steps"]
    assert (step["name"], step["kind"], step["role"], step["output"]) == ("eyes", "ask", "eyes", ("four",))
    assert step["shown"] == ((56, 28), (28, 56))
    assert fields["tokens"] == {"prompt": 5, "completion": 2}


def test_a_conversation_goes_on_behind_its_reply() -> None:
    def talk(problem: Problem, roles: Roles) -> str:
        first = roles.eyes.ask(problem.images, "Look.")
        second = roles.eyes.ask(f"Not {first}.", after=first)
        return roles.eyes.ask(problem.images[0], "Again.", after=second)

    eyes = Scripted("a", "b", "c")
    assert run(talk, {"eyes": eyes})["answer"] == "c"
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


def test_a_failing_role_is_named_and_keeps_its_kind_and_hint() -> None:
    with pytest.raises(NetworkError) as caught:
        run(lambda _, roles: roles.eyes.ask("x", step="seen"), {"eyes": Scripted()})
    assert caught.value.message == "role 'eyes', step 'seen': connection refused"
    assert caught.value.hint == "start the server"

    def go_on(_: Problem, roles: Roles) -> str:
        with suppress(NetworkError):
            roles.eyes.ask("x")
        return roles.mind.ask("y")

    fields = run(go_on, {"eyes": Scripted(), "mind": Scripted("four")})
    assert (fields["tokens"], fields["turns"], fields["replies"]) == ({"prompt": 5, "completion": 2}, 1, 1)
    assert [step["error"] for step in fields["steps"]] == ["role 'eyes', step 'eyes': connection refused", None]


def test_boxes_are_counted_in_the_picture_as_it_was_shown() -> None:
    """Of 300 x 200 px, 294 x 196 are shown; the other picture is shown as it is."""
    images = [OpenedImage(Image.new("RGB", size)) for size in ((280, 140), (300, 200))]
    eyes = Scripted("[147, 98, 294, 196]")

    def look(problem: Problem, roles: Roles) -> str:
        return str(boxes(roles.eyes.ask(problem.images), "pixel", image=1))

    found = run(look, {"eyes": eyes}, images=images)
    assert [each.size for each in eyes.asks[0].images] == [(280, 140), (294, 196)]
    assert [step["boxes"] for step in found["steps"]] == [(), ((150, 100, 300, 200),)]


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


@pytest.mark.parametrize("value", [{"object": [1]}, {"image": "a"}, {}])
def test_a_forged_argument_is_an_error_of_the_code(value: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    given = list[Answer]()

    def run(*arguments: Any) -> None:
        around: Around = arguments[-1]
        assert around.answer
        given.append(around.answer(Asked(1, "look", {"what": value}), []))
        raise pool.DiedError("ended")

    monkeypatch.setattr(pool, "shared", lambda: SimpleNamespace(run=run))
    monkeypatch.setattr(python, "ready", lambda: None)
    with running(Branch(Run(1))):
        Interpreter().run("1", functions={"look": lambda what: 1}, calls=1)
    assert given == [Answer(error="look() was called with what is no argument")]
