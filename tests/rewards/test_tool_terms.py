"""What looks are worth: calls that showed something, that failed, that show another picture, before each answer."""

import asyncio
from collections.abc import Sequence

import pytest
from rewards.prompts import answer, crop, display, prompt, tool

from virc.reasoning.calls import Call
from virc.reasoning.messages import ToolText
from virc.rewards import registry as rewards
from virc.rewards.context import RewardContext
from virc.rewards.registry import Total
from virc.rewards.sample import CallResult, Prompt, sample

RIGHT, WRONG = answer("5"), answer("6")
TERMS = ("tool_bonus", "shown", "looked", "ran")


def carried(kind: str, image: int) -> CallResult:
    """A call of the rollout: what came of it."""
    name = "display_image" if kind == "display" else "crop_image"
    text = ToolText(name, {})
    box = None if kind == "display" else (0, 0, 84, 84)
    match kind:
        case "failed":
            return CallResult(text, fault="it leaves the image")
        case "text":
            return CallResult(text, Call(name, 0, box))
    return CallResult(text, Call(name, 0, box), shown=(84, 84), images=(image,))


@pytest.mark.parametrize(
    ("calls", "reply", "values"),
    [
        ([], RIGHT, (0, 0, 0, 0)),
        (["crop"], RIGHT, (1, 1, 1, 1)),
        (["crop"], WRONG, (0, 1, 1, 1)),
        (["crop", "crop"], RIGHT, (1, 2, 1, 1)),
        (["display"], RIGHT, (1, 1, 0, 1)),
        (["text"], RIGHT, (0, 0, 1, 1)),
        (["failed"], RIGHT, (0, 0, 0, 0)),
        (["failed", "failed"], WRONG, (0, 0, 0, 0)),
        (["failed", "crop"], RIGHT, (1, 1, 0, 0.5)),
        (["crop", "failed", "failed", "crop"], RIGHT, (1, 2, 0, 0.5)),
        ([], tool(crop(0, 0, 84, 84)), (None, 0, 1, 1)),
        ([], tool(display()), (None, 0, 0, 1)),
        ([], tool(crop(0, 0, 84, 84, index=7)), (None, 0, 0, 0)),
        (["crop"], tool(crop(0, 0, 84, 84, index=7)), (None, 1, 0, 0.5)),
        (["crop"], "no marks", (None, 1, 0, 1)),
    ],
)
def test_looks_count_by_what_they_showed(
    calls: Sequence[str], reply: str, values: tuple[float | None, float, float, float]
) -> None:
    known = prompt(strict="own")
    log = tuple(carried(kind, at + 1) for at, kind in enumerate(calls))
    found = scored(reply, Prompt(known.record, strict="own", carried=log), TERMS)
    assert tuple(found[name] for name in TERMS) == pytest.approx(values)


def scored(reply: str, known: Prompt, names: Sequence[str]) -> dict[str, float | None]:
    terms = [each for each in rewards.discover()[0] if each.name in names]
    total = Total("own", terms, lambda t: 0.0, "", terms[0].file)
    return dict(asyncio.run(rewards.score(sample(reply, known), total, RewardContext())).terms)


LEFT, OTHER = crop(0, 0, 140, 196), crop(0, 0, 84, 84, index=1)


def test_an_annotated_box_is_in_pixels_of_the_file() -> None:
    known = prompt([(300, 200)], strict="own", box=[150, 100, 300, 200])  # shown at 308 x 196
    assert scored(tool(crop(154, 98, 308, 196)), known, ["overlap"])["overlap"] == pytest.approx(1)
