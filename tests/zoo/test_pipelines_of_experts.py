"""Pipelines whose roles talk to each other: who is asked what, of which pictures, and what comes of the replies.

HYDRA's programs run in this process; tests/zoo/test_published_pipelines.py runs them in the sandbox.
"""

import io
import json
from collections.abc import Callable, Mapping, Sequence
from contextlib import redirect_stdout
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from extras.pipelines.pipeline_runs import Scripted, run
from PIL import Image

from virc.reasoning.images import OpenedImage
from virc.systems import texts
from virc_extras.pipelines import files, fill
from virc_zoo.critic_v import pipeline as critic
from virc_zoo.hydra import pipeline as hydra
from virc_zoo.proreason import pipeline as proreason
from virc_zoo.reagent_v import pipeline as reagent
from virc_zoo.visrl import pipeline as visrl

# ProReason


def planned(expert: str, asked: str) -> str:
    return f"{{\n'Thought':'t',\n'EXPERT name':'{expert}',\n'Question':'{asked}'\n}}"


LOOK, THINK = planned("Vision Expert", "What color?"), planned("Reasoning Expert", "Add 2 and 3")
CAN, CANNOT = "Thought: ok\nAnswer: CAN_SOLVE", "Answer: UNSOLVABLE"


def proreasoned(mind: Sequence[str], eyes: Sequence[str] = (), professor: Sequence[str] = ()) -> tuple[Any, ...]:
    backends = {"mind": Scripted(*mind), "eyes": Scripted(*eyes), "professor": Scripted(*professor)}
    fields = run(proreason.solve, backends, roles=files.load("proreason").roles)
    said = {name: [each.messages[-1] for each in backend.asks] for name, backend in backends.items()}
    return fields["answer"], said, backends


def test_experts_are_asked_until_what_is_known_is_enough() -> None:
    answer, said, backends = proreasoned(
        [LOOK, CANNOT, "no plan", THINK, CAN, "It is 5."], ["It is red."], ["Reasoning: so.\nFinal Answer: five"]
    )
    assert answer == "It is 5."
    (looked,), (thought,) = said["eyes"], said["professor"]
    assert looked.text.endswith("step by step:\nWhat color?")
    assert len(looked.images) == 2  # the eyes see all pictures
    assert not any(each.images for each in [*said["mind"], thought])  # nobody else does
    assert thought.text == fill(proreason.text("think"), memory="It is red.\n", asked="Add 2 and 3")
    assert [each.messages[0].text for each in backends["professor"].asks] == [proreason.text("professor")]
    first, judged, again, second, _, summary = (each.text for each in said["mind"])
    told = fill(proreason.text("asked"), last="Vision Expert")
    assert told not in first
    assert "information I know is: It is red.\n" in judged
    assert again == second  # a plan that cannot be read changes nothing
    assert f"{told}It is red.\n" in second
    assert f"{proreason.text('known')}It is red.\nfive\n{CAN}" in summary


# Critic-V


@pytest.mark.parametrize(
    ("question", "asked"),
    [
        ("How many?", f"How many?{critic.text('short')}"), ("Is B. it?", f"Is B. it?{critic.text('short')}"),
        *((f"What?\n{choices}", f"Question: What?\nOptions:\n{choices}\nPlease select the correct answer from the "
           f"options above. Eg. {letters}") for choices, letters in
          (("A. a\nB. b", "A, B"), ("A. a\nB. b\nC. c\nD. d\nE. e", "A, B, C, D, E"))),
    ],
)  # fmt: skip
def test_choices_are_asked_of_critic_v_as_published(question: str, asked: str) -> None:
    assert critic.as_asked(question) == asked


# ReAgent-V


def revised(answer: str, confidence: float | str) -> str:
    return f'```json\n{{"final_answer": "{answer}", "confidence": {confidence}}}\n```'


def test_three_revisions_are_joined_each_with_its_own_confidence() -> None:
    first, known = {"question": "How many?"}, {"first": "first words", "report": "a report"}
    revisions = {
        "answer_conservative": "one", "conf_conservative": "0.6", "answer_neutral": "two", "conf_neutral": "0.75",
        "answer_aggressive": "", "conf_aggressive": "",
    }  # fmt: skip
    replies = {
        "first": (first, "first words"), "report": (first | known | {"context": reagent.CONTEXT}, "a report"),
        "conservative": (first | known, revised("one", 0.6)), "neutral": (first | known, revised("two", 0.75)),
        "aggressive": (first | known, "none of it"),
        "meta": (first | known | revisions, '{"final_answer": "He says \\"two\\"."}'),
    }  # fmt: skip
    said = {fill(reagent.text(name), **slots): reply for name, (slots, reply) in replies.items()}

    backend = Scripted(to=said.pop)
    assert run(reagent.solve, {"model": backend}, roles=reagent.ROLES)["answer"] == 'He says \\"two\\".'
    assert all(len(each.messages[-1].images) == 2 for each in backend.asks)
    assert not said


# VisRL


def test_the_region_that_visrl_names_is_seen_behind_the_picture() -> None:
    model, picture = Scripted("[0.25, 0.5, 0.75, 1.0]", "red"), OpenedImage(PICTURE)
    assert run(visrl.solve, {"model": model}, roles=visrl.ROLES, images=[picture])["answer"] == "red"
    look, answer = model.asks
    asked = texts.text(Path(visrl.__file__).parent, "look")
    said = [each.messages[-1].text.removeprefix("<image>") for each in (look, answer)]
    assert said == [f"How many?{asked}", "How many?"]
    assert [[shown.size for shown in each.images] for each in (look, answer)] == [[(280, 140)], [(280, 140), (140, 70)]]


# HYDRA


class Here:
    """Runs code in this process, as an Interpreter does in the sandbox."""

    def __init__(self) -> None:
        self.names: dict[str, Any] = {}

    def run(
        self, code: str, images: Sequence[Any] = (), variables: Mapping[str, str] = {},
        functions: Mapping[str, Any] = {}, *, exact: bool = False, **_: Any,
    ) -> str:  # fmt: skip
        self.names |= {f"image_{at}": image for at, image in enumerate(images)} | dict(variables) | dict(functions)
        with redirect_stdout(io.StringIO()) as printed:
            try:
                exec(code, self.names)  # a program of this file
            except Exception as error:
                if exact:
                    raise
                print(error)
        return printed.getvalue()


class Role:
    """Replies in turn, or by a function of what it is asked."""

    def __init__(self, *replies: str, to: Callable[..., str] | None = None) -> None:
        self.replies, self.to, self.asked = list(replies), to, list[tuple[Any, ...]]()

    def ask(self, *parts: Any, step: str = "") -> str:
        self.asked.append(parts)
        return self.to(*parts) if self.to else self.replies.pop(0)


PICTURE = Image.effect_noise((280, 140), 60).convert("RGB")
BOXES = {"cup": [[100, 20, 140, 60], [200, 90, 240, 130]], "people": [{"box": [20, 40, 60, 80], "score": 0.7}]}


@pytest.fixture
def names() -> dict[str, Any]:
    """What programs have, over a picture with two cups and a person."""
    lab, depths = Here(), Image.frombytes("L", (280, 1), bytes(1 + x % 255 for x in range(280))).resize((280, 140))
    functions = {
        "detected": lambda image, words: [box for word in words for box in BOXES.get(word, [])],
        "depth_shown": lambda image: [depths], "eyes_caption": lambda image: "a table",
        "eyes_answer": lambda image, question: f"Yes: {question}".lower(), "mind_answer": lambda text: text,
    }  # fmt: skip
    lab.run(hydra.LAB, [PICTURE], hydra.given("q"), functions, exact=True)
    return lab.names


def listed(**instructions: float) -> str:
    """A plan with the probability of each instruction."""
    return json.dumps([{"instruction": name, "probability": each} for name, each in instructions.items()])


def test_programs_are_written_until_one_answers(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(hydra, "Interpreter", Here)
    plans = [listed(**{"z": 0.1, name: 0.9, "y": 0.2, "x": 0.1, "w": 0.3}) for name in ("find cups", "name them")]
    mind = Role(plans[0], "two cups", plans[1], "mugs", "mug")
    coder = Role(
        "```python\n1 / 0\n```", "image_patch = ImagePatch(image)\ncups = image_patch.find(['cup'])['cup']",
        "final_answer = cups[0].simple_query('What?')",
    )  # fmt: skip
    eyes = Role(to=lambda image, text: f"{image.size} {text}")
    tools = SimpleNamespace(detect=lambda image, words: SimpleNamespace(json=BOXES.get(words[0], [])))
    problem = SimpleNamespace(question="Which cup?", images=[PICTURE], tools=tools)
    assert hydra.solve(problem, SimpleNamespace(mind=mind, coder=coder, eyes=eyes)) == "mug"
    assert [text for _, text in eyes.asked] == ["Generate a caption of the image.", "Question: what? Short answer:"]
    assert [image.size for image, _ in eyes.asked] == [(280, 140), (60, 60)]
    plan, summary, again, second, guess = (text for (text,) in mind.asked)
    assert all("Which cup?" in each for each in (plan, summary, again, second, guess))
    step = hydra.text("plan").partition("{number}")[0][-5:]
    assert [f"{step}1" in plan, f"{step}2" in plan, f"{step}2" in again] == [True, False, True]
    assert "find cups" not in plan
    assert "find cups" in again
    assert hydra.text("told").split("\n\n")[1].format(count=2, name="cup", patch="original_image") in summary
    assert "Guess list: ['two cups', 'mugs']" in guess
    assert [("find cups" in text, "name them" in text) for (text,) in coder.asked] == [(True, False)] * 2 + [
        (True, True)
    ]
    assert "1 / 0" not in again  # a program that failed is not known
