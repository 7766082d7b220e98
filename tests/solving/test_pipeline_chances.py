"""How likely a role is to begin its reply with each of some answers, and searches that are led by it."""

import math
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from docs.code_blocks import blocks
from PIL import Image, ImageDraw
from pipeline_runs import IMAGES, Scripted, run

from virc.backends.interface import Likeliest, OnText, Sampling, ScoredReply
from virc.core.errors import NoAnswerError, VircError
from virc.reasoning.images import OpenedImage
from virc.reasoning.session import Ask
from virc.solving.pipelines import Problem, Role, Roles
from virc.solving.pipelines.asking import chances
from virc.solving.pipelines.files import load


class Sure(Scripted):
    """Begins each reply with tokens of known probability; in other steps it says what it was shown last."""

    def __init__(self, likeliest: Any) -> None:
        super().__init__()
        self.likeliest = likeliest if callable(likeliest) else lambda _: likeliest

    def reply(
        self, ask: Ask, sampling: Sampling, on_text: OnText | None = None, seconds: float | None = None
    ) -> ScoredReply:
        with self.lock:
            self.asks.append(ask)
            self.sampling.append(sampling)
        shown = f"{len(ask.images)}: {ask.images[-1].original or ask.images[-1].size}" if ask.images else "red dot"
        return ScoredReply(shown, likeliest=self.likeliest(ask) if sampling.likeliest else None)


def likely(**tokens: float) -> Likeliest:
    return tuple((token.replace("_", " "), math.log(share)) for token, share in tokens.items())


@pytest.mark.parametrize(
    ("tokens", "yes"),
    [
        (likely(Yes=0.6, No=0.2, Maybe=0.2), 0.75),
        (likely(_yes=0.3, YES=0.3, n=0.2), 0.75),
        (likely(No=0.5), 0.0),
        ((("Yes", math.log(0.3)), ("Yes", math.log(0.3)), ("No", math.log(0.2))), 0.75),
        (likely(Yesterday=0.5, Yes=0.2, No=0.2), 0.5),
    ],
    ids=["others do not count", "case and space", "one alone", "two tokens of one text", "a longer word"],
)
def test_answers_are_as_likely_as_the_tokens_that_begin_them(tokens: Likeliest, yes: float) -> None:
    found = chances(["Yes", "No"], tokens)
    assert found["Yes"] == pytest.approx(yes)
    assert sum(found.values()) == pytest.approx(1)


def test_a_token_that_begins_two_answers_counts_for_neither() -> None:
    assert chances(["red", "round"], likely(r=0.9, red=0.05, ro=0.05)) == pytest.approx({"red": 0.5, "round": 0.5})


def asked(problem: Problem, roles: Roles) -> str:
    return f"{roles.mind.probabilities(['Yes', 'No'], problem.images, 'Is it red?', step='sure')['Yes']:.2f}"


def test_a_role_says_how_likely_its_answers_are_by_one_token() -> None:
    mind = Sure(likely(Yes=0.6, No=0.2))
    fields = run(asked, {"mind": mind})
    assert fields["answer"] == "0.75"
    assert [(each.max_tokens, each.likeliest) for each in mind.sampling] == [(1, 20)]
    (step,) = fields["steps"]
    assert (step["name"], step["output"], step["replies"]) == ("sure", ("Yes 0.750, No 0.250",), 1)


@pytest.mark.parametrize(
    ("likeliest", "says"),
    [
        (None, "step 'sure': role 'mind' was asked for probabilities, and its server sends no `logprobs`"),
        (likely(**{"<think>": 0.9, "I": 0.1}), "step 'sure': role 'mind' begins its reply with '<think>', 'I', none"),
    ],
)
def test_a_role_that_says_no_probabilities_ends_the_problem(likeliest: Likeliest | None, says: str) -> None:
    with pytest.raises(NoAnswerError, match=says):
        run(asked, {"mind": Sure(likeliest)})


@pytest.mark.parametrize("answers", ["Yes", ["Yes"], [], ["Yes", "yes please"], ["Yes", "Yes"]])
def test_answers_that_cannot_be_told_apart_are_refused(answers: Any) -> None:
    with pytest.raises(VircError, match="are not two or more answers of which none begins another"):
        run(lambda problem, roles: str(roles.mind.probabilities(answers, "Is it?")), {"mind": Sure(None)})


def test_a_role_of_a_chat_protocol_has_no_probabilities() -> None:
    with pytest.raises(VircError, match="role 'mind' has its own chat protocol"):
        run(asked, {"mind": Sure(None)}, roles={"mind": Role(own_protocol=True)})


def test_the_search_of_the_page_finds_a_part_that_shows_enough(tmp_path: Path) -> None:
    """A dot of 24 px in a picture of 512 x 512: the model is sure where it is an eighth of the width at least."""
    (text,) = [each.text for each in blocks("docs/pipelines.md") if each.marks.get("file") == "zoom_eye.py"]
    (tmp_path / "zoom_eye.py").write_text(text)
    picture = Image.new("RGB", (512, 512), "white")
    ImageDraw.Draw(picture).ellipse((400, 150, 423, 173), fill="red")

    def eyes(ask: Ask) -> Likeliest:
        part = ask.images[-1].pixels
        red = part.convert("RGB").resize((64, 64), Image.Resampling.BOX).getcolors(4096) or []
        there = any(color[1] < 200 for _, color in red)
        width = (ask.images[-1].original or part.size)[0]
        wanted = "enough" in ask.messages[-1].text
        sure = there and (width <= 24 * 8 or not wanted)
        return likely(Yes=0.97 if sure else 0.04, No=0.03 if sure else 0.96)

    backend = Sure(eyes)
    pipeline = load(str(tmp_path / "zoom_eye.py"))
    images = [OpenedImage(picture)]
    fields = run(pipeline.solve, {"eyes": backend}, roles=pipeline.roles, images=images)
    assert fields["answer"].startswith("2: (128, 128)")
    assert len([step for step in fields["steps"] if step["name"] == "answerable"]) == 3


def test_the_search_by_visits_of_the_page_has_agreed_regions_vote(tmp_path: Path) -> None:
    """A region counts where the detector finds what the model names; the whole picture does not."""
    (text,) = [each.text for each in blocks("docs/pipelines.md") if each.marks.get("file") == "dyfo.py"]
    (tmp_path / "dyfo.py").write_text(text)
    sizes: list[tuple[int, int]] = []

    def ask(*parts: Any, step: str = "") -> str:
        sizes.append(parts[-2].size)
        return {"focus": "dot", "scatter": "wall"}.get(step) or ("red" if parts[-2].size == (24, 24) else "white")

    def detect(picture: Image.Image, words: list[str]) -> SimpleNamespace:
        return SimpleNamespace(json=[{"label": "dot", "box": [400.2, 150, 424, 174]}] if words == ["dot"] else [])

    problem = SimpleNamespace(images=IMAGES[:1], question="What colour?", tools=SimpleNamespace(detect=detect))
    pipeline = load(str(tmp_path / "dyfo.py"))
    assert pipeline.solve(problem, SimpleNamespace(eyes=SimpleNamespace(ask=ask))) == "red"  # type: ignore[arg-type]
    assert (24, 24) in sizes[4:]  # what was found is looked at further
