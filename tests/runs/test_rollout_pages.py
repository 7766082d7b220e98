"""Rollouts of a step: what is measured of them, and some of them as pages that can be opened."""

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import msgspec
import pytest
from PIL import Image

from virc.models.chat_protocol import offering, read_protocol
from virc.models.registry import EMBEDDED_FOLDER
from virc.reasoning.protocol import FILE_NAME, Protocol
from virc.reasoning.session import Reply, Session
from virc.reasoning.trace import Rejected, Trace
from virc.runs import rollout_stats as rollouts
from virc.runs.rollout_stats import Rollout
from virc.tools import crop
from virc.tools import registry as tools
from virc.training import rollout_pages

CROP = (
    "<think>look</think><tool_call>"
    '{"name": "crop_image", "arguments": {"image_index": 0, "bbox_2d": [0, 0, 56, 84]}}</tool_call>'
)
ANSWER = "<think>so</think><answer>7</answer>"


@pytest.fixture
def chat_protocol() -> Protocol:
    return read_protocol(EMBEDDED_FOLDER / FILE_NAME)


@pytest.fixture
def picture(tmp_path: Path) -> Path:
    path = tmp_path / "figure.png"
    Image.linear_gradient("L").resize((112, 168)).convert("RGB").save(path)
    return path


def session(chat_protocol: Protocol, picture: Path, *replies: str) -> Trace:
    with Image.open(picture) as image:
        held = Session(
            chat_protocol, "How many?", [image.convert("RGB")], tolerate=(), tools=tools.known(), on_tool_failure=print
        )
    for reply in replies:
        held.feed(Reply(reply))
    return held.trace()


def rollout(trace: Trace, group: str = "a", reward: float = 0.5, **fields: Any) -> Rollout:
    said = {"score": reward, "format": 1.0, "judge_seconds": 2.0, "units": 1.0, **fields.pop("values", {})}
    return Rollout(**{"group": group, "reward": reward, "values": said, "tokens": 20, "trace": trace, **fields})


def measures(rollouts_: Sequence[Rollout], limit: int = 100) -> dict[str, float]:
    return {name.removeprefix("virc/"): value for name, value in rollouts.measures(rollouts_, limit).items()}


def test_replies_cut_and_refused_and_calls_are_counted_from_the_traces(chat_protocol: Protocol, picture: Path) -> None:
    solved = session(chat_protocol, picture, CROP, CROP, ANSWER)
    refused = session(chat_protocol, picture, CROP, "no tags")
    cut = msgspec.structs.replace(refused, pending=(Rejected("x", "length", "cut"),))
    full = session(chat_protocol, picture, CROP)
    held = Session(chat_protocol, "How many?", [Image.new("RGB", (112, 112))], tools=tools.known())
    held.stop("turns", rollouts.OUT_OF_TOKENS)
    found = measures(
        [
            rollout(solved), rollout(refused), rollout(cut), rollout(full, tokens=100),
            rollout(msgspec.structs.replace(full, failure=held.trace().failure)),
        ],
    )  # fmt: skip
    assert found["cut"] == pytest.approx(3 / 5)
    assert found["malformed"] == pytest.approx(2 / 5)
    assert found["tool_calls"] == pytest.approx((2 + 1 + 1 + 1 + 1) / 5)
    assert found["units"] == pytest.approx((3 + 2 + 2 + 1 + 1) / 5)


def test_failed_calls_are_a_share_of_those_that_reached_a_tool(
    chat_protocol: Protocol, picture: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    shows = msgspec.structs.replace(chat_protocol, errors="show")
    wrong = CROP.replace("bbox_2d", "box")
    answered, cropped = (session(shows, picture, *replies) for replies in ([ANSWER], [CROP, wrong, CROP]))
    monkeypatch.setattr(crop, "apply", lambda call, source: 1 / 0)
    failed = session(chat_protocol, picture, CROP, ANSWER)
    assert "tool_failures" not in measures([rollout(answered)])
    assert measures([rollout(each) for each in (answered, cropped, failed)])["tool_failures"] == pytest.approx(1 / 3)


def test_a_few_groups_become_pages_with_reward_and_terms(
    chat_protocol: Protocol, picture: Path, tmp_path: Path
) -> None:
    trace = session(chat_protocol, picture, CROP, ANSWER)
    folder = tmp_path / "rollouts"
    several = [rollout(trace, group, 0.75, images=[f"file://{picture}"]) for group in "abcd" for _ in range(9)]
    rollouts.leave(folder, 10, several)
    assert [path.name for path in folder.iterdir()] == ["step_10.json"]
    assert rollout_pages.render(folder, "mine") == []
    pages = sorted(path.name for path in (folder / "step_10").iterdir())
    assert pages == [f"{group}-{reply}" for group in (1, 2) for reply in range(1, 9)]
    assert not (folder / "step_10.json").exists()
    page = folder / "step_10" / "2-8"
    assert sorted(path.name for path in page.iterdir()) == [
        "conversation.json", "image-0.png", "image-1.png", "index.html", "trace.json",
    ]  # fmt: skip
    said = json.loads((page / "trace.json").read_text())
    assert (said["reward"], said["terms"], said["answer"]) == (0.75, {"format": 1.0}, "7")
    assert said["model"] == "mine, step 10"
    text = (page / "index.html").read_text()
    assert " · reward 0.75<" in text
    assert "Crop 0,0–56,84 of image 0".casefold() in text.casefold()
    with Image.open(page / "image-1.png") as crop, Image.open(picture) as given:
        assert crop.size == (56, 84)
        assert crop.getpixel((5, 80)) == given.getpixel((5, 80))


def test_a_tool_of_ones_own_is_found_among_the_runs_copies(
    chat_protocol: Protocol, picture: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The process that goes on with a run may know nothing of where the tool came from."""
    monkeypatch.setattr(tools, "_CUSTOM", {})
    code = tmp_path / "code"
    code.mkdir()
    source = Path(tools.get("display_image").__file__ or "").read_text()
    (code / "peek.py").write_text(source.replace("display_image", "peek"))
    offered = offering(chat_protocol, ["peek"], code)
    trace = session(offered, picture, CROP.replace("crop_image", "peek").replace(', "bbox_2d": [0, 0, 56, 84]', ""))
    assert [unit.call and unit.call.name for unit in trace.units] == ["peek"]
    tools._CUSTOM.clear()
    rollouts.leave(tmp_path / "rollouts", 1, [rollout(trace, images=[str(picture)])])
    assert rollout_pages.render(tmp_path / "rollouts", "mine") == []
    assert (tmp_path / "rollouts" / "step_1" / "1-1" / "index.html").exists()


def test_one_that_cannot_be_shown_is_said_and_stops_no_other(
    chat_protocol: Protocol, picture: Path, tmp_path: Path
) -> None:
    trace = session(chat_protocol, picture, ANSWER)
    folder = tmp_path / "rollouts"
    given = [rollout(trace, images=[str(path)]) for path in (tmp_path / "gone.png", picture)]
    rollouts.leave(folder, 1, given)
    (folder / "step_2.json").write_text("{")
    first, second = rollout_pages.render(folder, "mine")
    assert first.startswith("step_1/1-1: ")
    assert second.startswith("step_2.json: ")
    assert [path.name for path in (folder / "step_1").iterdir()] == ["1-2"]
    assert list(folder.glob("*.json")) == []
