"""Pipelines whose roles talk to each other: who is asked what, of which pictures, and what comes of the replies.

HYDRA's programs run in this process; tests/systems/test_published_pipelines.py runs them in the sandbox.
"""

import io
import json
from collections.abc import Callable, Mapping, Sequence
from contextlib import redirect_stdout
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from PIL import Image
from solving.pipeline_runs import Scripted, run

from virc.reasoning.images import OpenedImage
from virc.solving.pipelines import files, fill
from virc.systems import texts
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


@pytest.mark.parametrize(
    ("plan", "request_"),
    [
        (LOOK, ("What color?", "Vision Expert")), (THINK, ("Add 2 and 3", "Reasoning Expert")),
        (planned("Nobody", "Why?"), ("Why?", "")), ("I do not know", ("", "")),
        (f"So: {LOOK}", ("What color?", "Vision Expert")),
    ],
)  # fmt: skip
def test_a_plan_says_whom_to_ask_what(plan: str, request_: tuple[str, str]) -> None:
    assert proreason.request(plan) == request_


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


def test_eyes_answer_where_experts_do_not_suffice() -> None:
    answer, said, _ = proreasoned(["no plan"] * proreason.ROUNDS, ["red"])
    assert (answer, len(said["mind"])) == ("red", proreason.ROUNDS)
    assert (said["eyes"][0].text, len(said["eyes"][0].images)) == ("How many?", 2)


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


@pytest.mark.parametrize(("critique", "count"), [("It is incorrect.", 2), ("This is Correct", 1), ("Look again", 2)])
def test_a_reasoner_answers_again_unless_the_critic_calls_it_correct(critique: str, count: int) -> None:
    backends = {"reasoner": Scripted("two", "three"), "critic": Scripted(critique)}
    assert run(critic.solve, backends, roles=critic.ROLES)["answer"] == ("two", "three")[count - 1]
    asks = backends["reasoner"].asks
    assert len(asks) == count
    if count == 2:
        *_, answered, again = asks[1].messages
        assert (answered.text, again.text) == ("two", f"reflection on former answer:{critique}\nHow many?")
    assert "#### Answer\ntwo\n#### Task" in backends["critic"].asks[0].messages[-1].text


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


def box_of(patch: Any) -> tuple[float, ...]:
    return patch.left, patch.lower, patch.right, patch.upper


def test_patches_are_counted_from_below_and_hold_what_was_detected(names: dict[str, Any]) -> None:
    patch = names["image_patch"]
    first, second = patch.find(["cup"])["cup"]
    assert (box_of(first), box_of(second)) == ((90, 70, 150, 130), (190, 0, 250, 60))  # 10 px wider on each side
    assert first.cropped_image.tobytes() == PICTURE.crop((90, 10, 150, 70)).tobytes()
    (person,) = patch.find(["person"])["person"]
    assert (box_of(person), person.confidence) == ((10, 50, 70, 110), 0.7)
    inner = first.crop(20, 20, 30, 30, "inner")
    assert box_of(inner) == (100, 80, 130, 110)  # of the whole picture
    assert inner.cropped_image.tobytes() == PICTURE.crop((100, 30, 130, 60)).tobytes()
    assert box_of(patch.crop(250, 100, 279, 139, "corner")) == (240, 90, 280, 140)
    assert patch.find(["dog"]) == {"dog": []}
    assert names["_memory"].new[-1] == hydra.text("told").split("\n\n")[2].format(name="dog")
    with pytest.raises(ValueError, match="no area"):
        patch.crop(400, 0, 500, 20, "outside")


def test_patches_are_sorted_and_measured(names: dict[str, Any]) -> None:
    patch = names["image_patch"]
    high, low = patch.find(["cup"])["cup"]
    (person,) = patch.find(["person"])["person"]
    by = {name: names[f"get_{name}"] for name in (
        "sorted_patches_left_to_right", "sorted_patches_bottom_to_top", "sorted_patches_front_to_back", "middle_patch",
        "patch_closest_to_anchor_object", "patch_farthest_to_anchor_object",
    )}  # fmt: skip
    assert by["sorted_patches_left_to_right"]([low, high, person]) == [person, high, low]
    assert by["sorted_patches_bottom_to_top"]([high, person, low]) == [low, person, high]
    assert by["sorted_patches_front_to_back"]([person, high, low]) == [low, high, person]  # depth is one over the level
    assert by["middle_patch"]([low, person, high]) is high
    assert by["patch_closest_to_anchor_object"]([low, high], person) is high
    assert by["patch_farthest_to_anchor_object"]([low, high], person) is low
    assert names["distance"](person, high) == 20
    assert names["distance"](high, low) == pytest.approx((40**2 + 10**2) ** 0.5)
    assert names["distance"](high, high) == -1
    assert names["distance"](3, 5) == 2
    assert high.overlaps_with(high.crop(10, 10, 20, 20, "inner"))
    assert not high.overlaps_with(low)
    assert not low.overlaps_with(person)


def test_what_is_beside_a_patch_is_a_part_of_its_picture(names: dict[str, Any]) -> None:
    (person,) = names["image_patch"].find(["person"])["person"]
    assert {where: box_of(names[f"get_patch_{where}_of"](person)) for where in ("left", "right", "above", "below")} == {
        "left": (0, 0, 50, 140),
        "right": (30, 0, 280, 140),
        "above": (0, 70, 280, 140),
        "below": (0, 0, 280, 90),
    }


def test_what_is_seen_is_asked_of_its_own_patch(names: dict[str, Any]) -> None:
    patch = names["image_patch"]
    assert patch.simple_query("What? It *is*!") == "yes: what? it is"
    assert patch.exists("cup") is True
    with pytest.raises(KeyError):  # as published
        patch.exists("dog")
    assert patch.exists("5") is False
    before, between, behind = hydra.text("asked").split("\n\n")
    told = [part.format(context="a cup", question="why") for part in (before, between, behind)]
    assert names["llm_query"]("why", "a cup", False) == "".join(told)
    assert names["llm_query"]("why") == told[1]
    assert names["bool_to_yesno"](False) == "no"


@pytest.mark.parametrize(
    ("program", "outcome"),
    [("final_answer = 'a'", "final"), ("x = 5", "continue"), ("final_answer = 5", "continue"), ("1 / 0", "error")],
)
def test_a_program_that_gives_a_text_is_the_last(names: dict[str, Any], program: str, outcome: str) -> None:
    memory = names["_memory"]
    memory.feedbacks, memory.variables = [], []
    lab = Here()
    lab.names = names
    lab.run(f"_memory.finished = False\n{program}\n_memory.finished = True" if program != "1 / 0" else program)
    memory.finished = outcome != "error"
    assert names["_outcome"](program) == outcome
    assert memory.variables == ([] if outcome == "error" else [program.replace("'", "").replace(" =", ":")])


def listed(**instructions: float) -> str:
    """A plan with the probability of each instruction."""
    return json.dumps([{"instruction": name, "probability": each} for name, each in instructions.items()])


@pytest.mark.parametrize(
    ("plan", "found"),
    [
        (f"```json\n{listed(a=0.2, b=1)}\n```", [("a", 0.2), ("b", 1.0)]),
        ('So: [{"instruction": "a", "probability": "high"}, {"probability": 1}, 7]', []),
        (listed(**{"find cups[0]": 1}), [("find cups[0]", 1.0)]), ("none", []), ("[{]", []),
    ],
)  # fmt: skip
def test_a_plan_of_hydra_is_read(plan: str, found: list[tuple[str, float]]) -> None:
    assert hydra.read(plan) == found


def test_each_function_of_a_program_asks_its_own_model() -> None:
    mind, eyes = Role(to=lambda text: f"mind: {text}"), Role(to=lambda image, text: f"eyes: {text}")
    tools = SimpleNamespace(
        detect=lambda image, words: SimpleNamespace(json=[words]), depth=lambda image: SimpleNamespace(images=[image])
    )
    roles: Any = SimpleNamespace(mind=mind, eyes=eyes)
    functions = hydra.eyes_and_tools(SimpleNamespace(tools=tools), roles)  # type: ignore[arg-type]
    assert functions["mind_answer"](7) == "mind: 7"
    assert functions["eyes_answer"](PICTURE, "What?") == "eyes: Question: What? Short answer:"
    assert functions["eyes_caption"](PICTURE) == "eyes: Generate a caption of the image."
    assert (functions["detected"](PICTURE, ["cup"]), functions["depth_shown"](PICTURE)) == ([["cup"]], [PICTURE])


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


@pytest.mark.parametrize(("plan", "asked"), [("none", hydra.TRIES), ('[{"instruction": "a", "probability": 1}]', 5)])
def test_nothing_comes_of_plans_or_programs_that_fail(plan: str, asked: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(hydra, "Interpreter", Here)
    mind, coder = Role(to=lambda _: plan), Role(to=lambda _: "1 / 0")
    eyes = Role(to=lambda *_: "a table")
    problem = SimpleNamespace(question="q", images=[PICTURE], tools=None)
    assert hydra.solve(problem, SimpleNamespace(mind=mind, coder=coder, eyes=eyes)) == ""
    assert (len(mind.asked), len(coder.asked)) == (asked, 0 if plan == "none" else hydra.TRIES)
