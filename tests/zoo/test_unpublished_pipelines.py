"""Parts of pipelines whose programs are not published: what is read in replies, and what is drawn and cut, by hand."""

from functools import partial
from types import SimpleNamespace
from typing import Any

import pytest
from PIL import Image

from virc.core.errors import NoAnswerError
from virc_zoo.rsvp import pipeline as rsvp
from virc_zoo.vicor import pipeline as vicor
from virc_zoo.zero_shot_study import pipeline as study


@pytest.mark.parametrize(
    ("regions", "mask", "answer", "box"),
    [
        ("0, 6, 17", (10, 20, 30, 40), "[10, 20, 30, 40]", [70, 35, 140, 70]), ("6", None, "none", [70, 35, 140, 70]),
        ("6", (), "none", [70, 35, 140, 70]), ("None of them", None, "none", None), ("99", None, NoAnswerError, None),
    ],
)  # fmt: skip
def test_the_mask_of_what_is_meant_is_looked_for_in_its_regions(
    regions: str, mask: tuple[int, ...] | None, answer: Any, box: list[int] | None
) -> None:
    page, found, cuts = Image.new("RGB", (280, 140)), Image.new("1", (280, 140)), list[Any]()
    if mask:
        found.paste(1, mask)  # type: ignore[arg-type]

    def segment(picture: Image.Image, box: list[int], text: str) -> Any:
        cuts.append((picture is page, box, text))
        return SimpleNamespace(images=[] if mask == () else [SimpleNamespace(pixels=found)])

    def ask(plain: Image.Image, numbered: Image.Image, text: str, step: str) -> str:
        assert (plain is page, numbered.size, "Which cup?" in text) == (True, page.size, True)
        return f"Object: a cup\nRegions: {regions}"

    tools = SimpleNamespace(segment=segment)
    problem: Any = SimpleNamespace(images=[SimpleNamespace(pixels=page)], question="Which cup?", tools=tools)
    roles: Any = SimpleNamespace(eyes=SimpleNamespace(ask=ask))
    if isinstance(answer, str):
        assert rsvp.solve(problem, roles) == answer
    else:
        with pytest.raises(answer, match="the reply names no region"):
            rsvp.solve(problem, roles)
    assert cuts == ([] if box is None else [(True, box, "a cup")])


FACTORS = "- Is it red?\n\n* Is it big?\n\u2022 Is it old?\nIs it wet?"
SHOWN = "Answer by what the picture shows"


@pytest.mark.parametrize(
    ("question", "thoughts", "looks", "answer"),
    [
        ("Which?\nA. a cup\nB. a pot", ["Answer: B"], [vicor.CAPTION], "B"),
        (
            "Which?\nA. a cup\nB. a pot", ["Answer: unsure", " u, seen"],
            [vicor.CAPTION, f"Which?\nA. a cup\nB. a pot\n\n{SHOWN} with the letter of one choice alone."], "look 1",
        ),
        ("Is A. it?", ["Who knows", "U"], [vicor.CAPTION, f"Is A. it?\n\n{SHOWN} in a few words."], "look 1"),
        *(
            ("Why?", ["Answer: unsure", "I", FACTORS, last],
             [vicor.CAPTION, *(f"Is it {each}? Answer in a few words." for each in ("red", "big", "old"))], answer)
            for last, answer in (("So.\nAnswer: rain", "rain"), ("It rains", "It rains"))
        ),
    ],
)  # fmt: skip
def test_vicor_looks_again_where_its_first_thought_is_unsure(
    question: str, thoughts: list[str], looks: list[str], answer: str
) -> None:
    seen, said = list[str](), list[str]()

    def look(images: Any, text: str, step: str) -> str:
        assert images == ["picture"]
        seen.append(text)
        return f"look {len(seen) - 1}"

    def think(text: str, step: str) -> str:
        said.append(text)
        return thoughts[len(said) - 1]

    roles: Any = SimpleNamespace(eyes=SimpleNamespace(ask=look), mind=SimpleNamespace(ask=think))
    problem: Any = SimpleNamespace(question=question, images=["picture"])
    assert vicor.solve(problem, roles) == answer
    assert (seen, len(said)) == (looks, len(thoughts))
    assert all(f"Question: {question}\n" in each or f"picture: {question}\n" in each for each in said)
    assert ["unsure" in each for each in said] == [True, False, False, False][: len(said)]
    if len(said) == 4:
        clues = "\nIs it red? look 1\nIs it big? look 2\nIs it old? look 3\n"
        assert f"A picture is described so: look 0{clues}" in said[3]


@pytest.mark.parametrize("told", ["", f"{study.SCENE}Objects: 0\n\n"])
@pytest.mark.parametrize("thought", ["", f" {study.THINK}"])
def test_the_mind_is_told_a_scene_and_a_thought_is_asked_for_at_the_end(told: str, thought: str) -> None:
    asked, replies = [], ["So: 3 or 4", "it is: Red"][not thought :]

    def ask(name: str, *parts: object, step: str, after: str = "") -> str:
        asked.append((name, *parts, after))
        return replies.pop(0)

    problem: Any = SimpleNamespace(question=f"{told}Which?{thought}", images=("picture",))
    roles: Any = SimpleNamespace(**{name: SimpleNamespace(ask=partial(ask, name)) for name in study.ROLES})
    assert study.solve(problem, roles) == "red"
    name, seen = ("mind", ()) if told else ("eyes", ("picture",))
    first = (name, seen, f"{told}{study.SETUP.replace('{question}', 'Which?')}{thought}", "")
    assert asked == [first, *[(name, study.CONCLUDE, "So: 3 or 4")] * bool(thought)]
