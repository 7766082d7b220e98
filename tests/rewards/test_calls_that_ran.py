"""The term `ran`: the share of a rollout's tool calls that were carried out."""

import json
from pathlib import Path
from typing import Any

import msgspec
import pytest
from PIL import Image
from rewards.prompts import answer, call, crop, prompt, tool

from virc.data.rows.record import Picture, Record
from virc.models.chat_protocol import read_protocol
from virc.models.registry import EMBEDDED_FOLDER
from virc.reasoning.messages import ToolText
from virc.reasoning.protocol import FILE_NAME
from virc.reasoning.resize import QWEN2
from virc.reasoning.session import Reply, Session
from virc.rewards import rollouts
from virc.rewards.means import Means
from virc.rewards.sample import Action, sample
from virc.rewards.terms.tools import ran
from virc.tools.registry import known

PUBLISHED = json.loads(Path(__file__).with_name("ran.json").read_text())
SHOWN = msgspec.structs.replace(read_protocol(EMBEDDED_FOLDER / FILE_NAME), errors="show", after_error="No: {error}")


def test_the_share_as_thyme_and_v_thinker_have_it() -> None:
    read, written = sample(answer("5"), prompt(strict="own")), ToolText("code", {})
    assert len(PUBLISHED["cases"]) == 420
    for fine, value in PUBLISHED["cases"]:
        actions = [Action(written, fault=None if each else "it fails") for each in fine]
        found = ran(msgspec.structs.replace(read, done=tuple(actions)), Means())
        assert found == pytest.approx(value)


def test_calls_of_a_rollout_count_by_their_results(tmp_path: Path) -> None:
    """Two calls are carried out, a tool that is not there is one more: 1, 1/2, 2/3, and 2/3 at the answer."""
    Image.effect_noise((280, 196), 60).convert("RGB").save(tmp_path / "picture.png")
    record = Record((), (Picture("picture.png", tmp_path),), question="How long is AB?", answer="5")
    with Image.open(tmp_path / "picture.png") as image:
        session = Session(SHOWN, "How long is AB?", [image.convert("RGB")], tolerate=(), tools=known())
    look = tool(crop(0, 0, 56, 56))
    for reply in (look, tool(call("paint", image_index=0)), look, answer("5")):
        session.feed(Reply(reply))
    samples, ended = rollouts.samples_of(record, session.trace(), SHOWN, QWEN2, 16)
    assert ended == "answer"
    assert [ran(each, Means()) for each in samples] == pytest.approx([1, 1 / 2, 2 / 3, 2 / 3])
    assert "paint" in samples[-1].why["ran"]


@pytest.mark.parametrize(("errors", "fault"), [("show", None), ("end", "the call is not exact: box_clamped")])
def test_a_call_that_a_model_is_told_of_is_forgiven_what_solve_forgives(errors: Any, fault: str | None) -> None:
    spoken = msgspec.structs.replace(SHOWN, errors=errors)
    read = sample(tool(crop(0, 0, 300, 196)), msgspec.structs.replace(prompt(strict="own"), protocol=spoken))
    assert [action.fault for action in read.done] == [fault]
