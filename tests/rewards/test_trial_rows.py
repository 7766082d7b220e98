"""Which reply of a file a reward is tried on, which judge it asks, and what workers know of the model."""

import asyncio
import json
from pathlib import Path
from typing import Any

import msgspec
import pytest
from rewards.prompts import answer, tool
from tokenizers import Tokenizer

from virc.data.rows.record import MARK, Message, Record
from virc.models.registry import EMBEDDED_FOLDER
from virc.rewards import trial
from virc.rewards.trial import judged_reward
from virc.rewards.verl import Settings, compute_score
from virc.systems.registry import Reward

ASKED = (Message("system", "Look."), Message("user", f"{MARK}How long is AB?"))
OTHER = (Message("system", "Look."), Message("user", f"{MARK}How long is CD?"))
LOOK, ANSWER = Message("assistant", tool("{}")), Message("assistant", answer("5"))
GO_ON = Message("user", f"{MARK}Go on.")


@pytest.mark.parametrize(
    ("row", "following", "reference"),
    [
        (ASKED, (*ASKED, LOOK, GO_ON), LOOK),  # the next row of the same solution has the reply to this one
        ((*ASKED, LOOK, GO_ON), (*ASKED, LOOK, GO_ON, ANSWER), ANSWER),
        ((*ASKED, ANSWER), (*OTHER, LOOK), ANSWER),
        (ASKED, (*OTHER, LOOK), None),
        (ASKED, (*OTHER, LOOK, GO_ON), None),
        (ASKED, ASKED, None),
        (ASKED, (*ASKED, GO_ON), None),
        (ASKED, None, None),
    ],
)
def test_the_reference_of_a_row_is_of_its_own_problem(
    row: tuple[Message, ...], following: tuple[Message, ...] | None, reference: Message | None
) -> None:
    found = trial._with_reference(Record(row), None if following is None else Record(following)).messages
    assert (found[-1] if found[-1].role == "assistant" else None) == reference


@pytest.mark.parametrize(
    ("endpoint", "model", "asked"),
    [
        (None, None, ("http://own:1/v1", "own")),
        ("http://here:2/v1", None, ("http://here:2/v1", "own")),
        (None, "another", ("http://own:1/v1", "another")),
        ("http://here:2/v1", "another", ("http://here:2/v1", "another")),
    ],
)
def test_a_judge_keeps_what_no_option_changes(
    endpoint: str | None, model: str | None, asked: tuple[str, str], tmp_path: Path
) -> None:
    file = tmp_path / "mine.yaml"
    file.write_text("name: mine\nreward: {total: virc, judge: {endpoint: 'http://own:1/v1', model: own}}\n")
    _, reward, _ = judged_reward(str(file), endpoint, model, {})
    assert (reward.judge.endpoint, reward.judge.model) == asked


@pytest.mark.parametrize("base", [EMBEDDED_FOLDER, None])
def test_workers_of_a_run_count_tokens_by_its_base(base: Path | None, tmp_path: Path) -> None:
    """Where the base is not known, the terms of tokens cannot be had, and that is said."""
    reward = Reward(total="weighted", weights={"length": 1.0})
    file = tmp_path / "reward.json"
    file.write_bytes(msgspec.json.encode(Settings(reward, str(tmp_path), base=str(base) if base else None)))
    info: dict[str, Any] = {"prompt": [{"role": "user", "content": "q"}], "question": "q"}
    reply = answer("5", "so it is " * 300)  # a token for each letter
    scoring = compute_score("rows", reply, "5", info, settings=str(file))
    if base:
        assert asyncio.run(scoring)["length"] == 512 / len(
            Tokenizer.from_file(f"{base}/tokenizer.json").encode(reply).ids
        )
    else:
        with pytest.raises(Exception, match="needs the model's tokenizer"):
            asyncio.run(scoring)


OWN = """TERMS = ("right",)
def right(sample, means):
    return float(sample.answer == "5")
def total(t):
    return t.right
"""


def test_a_reward_is_tried_from_python(tmp_path: Path) -> None:
    (tmp_path / "mine.py").write_text(OWN)
    (tmp_path / "mine.yaml").write_text("name: mine\nreward: {total: mine}\n")
    turns = [{"role": "user", "content": "How long is AB?"}, {"role": "assistant", "content": ""}]
    rows = [
        {"messages": [turns[0], {**turns[1], "content": answer(said)}], "question": "How long?", "answer": "5"}
        for said in "546"
    ]
    (tmp_path / "rows.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    facts: list[dict[str, Any]] = []
    found = trial.try_reward(str(tmp_path / "mine.yaml"), tmp_path / "rows.jsonl", rows=2, on_facts=facts.append)
    assert [each.scored.total for each in found.tried] == [1.0, 0.0]
    assert len(facts) == 1
