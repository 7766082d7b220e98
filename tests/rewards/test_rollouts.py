"""Whole rollouts under reward: their units as a total scores them, and what is made of those."""

import asyncio
import json
import os
import shutil
import subprocess
import sys
from collections.abc import Sequence
from functools import partial
from importlib import import_module
from pathlib import Path
from typing import Any

import msgspec
import pytest
from PIL import Image
from rewards.prompts import answer, crop, scale, tool
from support.scripted_judge import by_pictures
from support.servers import serve

import virc
from virc.data.rows.record import Picture, Record
from virc.models.chat_protocol import read_protocol
from virc.models.registry import EMBEDDED_FOLDER
from virc.reasoning.protocol import FILE_NAME
from virc.reasoning.resize import QWEN2
from virc.reasoning.session import Done, Rejected, Reply, Session
from virc.rewards import registry as rewards
from virc.rewards import rollouts
from virc.rewards.context import RewardContext
from virc.rewards.user_code import copy, moved, own_files
from virc.rewards.verl import Settings
from virc.systems.registry import Judging, Reward
from virc.tools import crop as crop_image
from virc.tools.registry import known

TEMPLATE = read_protocol(EMBEDDED_FOLDER / FILE_NAME)
QUESTION = "How long is AB?"
RIGHT = answer("5")
LOOK = tool(crop(0, 0, 56, 56))


@pytest.fixture
def picture(tmp_path: Path) -> Path:
    file = tmp_path / "picture.png"
    Image.effect_noise((280, 196), 60).convert("RGB").save(file)
    return file


def trace_of(replies: Sequence[str], picture: Path, most: int = 16) -> str:
    """What a rollout of these replies leaves, as the agent loop hands it over."""
    with Image.open(picture) as image:
        session = Session(TEMPLATE, QUESTION, [image.convert("RGB")], tolerate=(), max_turns=most, tools=known())
    for reply in replies:
        if isinstance(session.feed(Reply(reply)), Rejected) or isinstance(session.next(), Done):
            break
    return msgspec.json.encode(session.trace()).decode()


def scored(
    replies: Sequence[str], picture: Path, total: str = "outcome", context: RewardContext | None = None, **columns: Any
) -> rollouts.Rollout:
    record = Record((), (Picture(picture.name, picture.parent),), question=QUESTION, answer="5", extra=columns)
    trace = msgspec.json.decode(trace_of(replies, picture), type=rollouts.Trace)
    samples, ended = rollouts.samples_of(record, trace, TEMPLATE, QWEN2, 16)
    assert [sample.text for sample in samples] == list(replies)
    return asyncio.run(rollouts.score(samples, ended, rewards.find(total), context or RewardContext()))


BOX = [0, 0, 56, 56]


@pytest.mark.parametrize(
    ("replies", "total", "columns", "ended", "value"),
    [
        ([RIGHT], "outcome", {}, "answer", 1.0),
        ([answer("6")], "outcome", {}, "answer", 0.0),
        ([LOOK, RIGHT], "outcome", {}, "answer", 1.0),
        (["no tags"], "outcome", {}, "format", 0.0),
        ([LOOK, "no tags"], "outcome", {}, "format", 0.0),
        ([LOOK, tool(crop(0, 0, 9, 9, index=7))], "outcome", {}, "format", 0.0),
        ([LOOK, LOOK], "outcome", {}, "length", 0.0),
        ([LOOK, RIGHT], "rules", {"box": BOX}, "answer", 0.8 + 0.4),
        ([LOOK, tool(crop(0, 0, 56, 28)), RIGHT], "rules", {"box": BOX}, "answer", 0.8 + 0.4 * 0.75),
        ([tool(crop(0, 0, 112, 112)), tool(crop(0, 0, 56, 56, index=1)), RIGHT], "rules", {"box": BOX}, "answer",
         0.8 + 0.4 * (0.25 + 1) / 2),
        ([tool(scale(1.5)), RIGHT], "rules", {"box": [0, 0, 280, 196]}, "answer", 0.8 + 0.4),
        ([LOOK, answer("6")], "rules", {"box": BOX}, "answer", 0.4),
        ([LOOK, "no tags"], "rules", {"box": BOX}, "format", -1.0),
        ([LOOK, LOOK], "rules", {"box": BOX}, "length", 0.4),
    ],
)  # fmt: skip
def test_rollouts_by_hand(
    replies: list[str], total: str, columns: dict[str, Any], ended: str, value: float, picture: Path
) -> None:
    found = scored(replies, picture, total, **columns)
    assert found.ended == ended
    assert found.total == pytest.approx(value)
    taken = replies[:-1] if ended == "format" else replies
    assert (found.last.turns, found.last.tool_calls) == (len(replies), sum("<tool_call>" in each for each in taken))
    said = replies[-1].partition("<answer>")[2].partition("<")[0] or None
    assert (found.last.answer_text, found.last.reply_text) == (said, "\n".join(replies))


def settings(folder: Path, reward: Reward, **more: Any) -> str:
    file = folder / "reward.json"
    chat_protocol = str(EMBEDDED_FOLDER / FILE_NAME)
    file.write_bytes(
        msgspec.json.encode(
            Settings(
                reward, str(folder), rollout="multi_turn", protocol=chat_protocol, base=str(EMBEDDED_FOLDER), **more
            )
        )
    )
    return str(file)


def given(picture: Path, trace: str) -> dict[str, Any]:
    """What verl's naive reward manager hands over for a rollout of our agent loop."""
    info = {
        "index": 0, "question": QUESTION, "images": [{"image": f"file://{picture}"}], "extra": "{}",
        "prompt": [{"role": "user", "content": f"<image>{QUESTION}"}], "num_turns": 4, "rollout": trace,
    }  # fmt: skip
    return {"data_source": "virc", "solution_str": "?", "ground_truth": "5", "extra_info": info}


def rewarded(picture: Path, replies: Sequence[str], file: str, most: int = 16) -> dict[str, float]:
    compute = partial(import_module("virc.rewards.verl").compute_score, settings=file)
    found: dict[str, float] = asyncio.run(compute(**given(picture, trace_of(replies, picture, most))))
    return found


def test_a_tool_that_fails_under_reward_ends_nothing(
    picture: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    file, trace = settings(tmp_path, Reward("outcome")), trace_of([LOOK, RIGHT], picture)
    monkeypatch.setattr(crop_image, "apply", lambda call, source: 1 / 0)
    compute = import_module("virc.rewards.verl").compute_score
    found = asyncio.run(compute(**given(picture, trace), settings=file))
    assert (found["score"], found["taken"]) == (1.0, 0.0)
    assert "virc: the tool crop_image fails" in capsys.readouterr().err


def test_a_judge_scores_every_look_and_the_answer(
    picture: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("VIRC_JUDGE_KEY", "sk-judge")
    with serve(by_pictures) as server:
        file = settings(tmp_path, Reward("virc", "own", Judging(server.url)))
        found = rewarded(picture, [LOOK, tool(crop(0, 0, 84, 84)), answer("five")], file)
        assert found["score"] == pytest.approx(0.8 + 0.5 * 0.6 + 0.4 * 0.5)
        assert (found["judge_asked"], found["judge_failed"]) == (5, 0)
        assert found["judge_score"] == pytest.approx((1 + 2 * 0.6 + 2 * 0.5) / 5)
        assert len(server.chats()) == 5
        assert {request.headers["authorization"] for request in server.requests} == {"Bearer sk-judge"}


OWN = '''"""Short solutions."""

TERMS = ("format", "short")


def short(sample, means):
    """One over the characters of the thought."""
    return 1 / len(sample.turn.think) if sample.turn else None


def total(t):
    return t.short if t.format else -1.0


def whole(units, t):
    return len(units) + t.short if t.ended == "answer" else -2.0
'''


WORKER = """
import asyncio, json, sys
from virc.tools.registry import known
from virc.rewards.verl import compute_score
found = asyncio.run(compute_score(**json.loads(sys.argv[1]), settings=sys.argv[2]))
print(json.dumps(found))
"""


@pytest.mark.integration
def test_workers_load_the_copies_of_the_users_files(picture: Path, tmp_path: Path) -> None:
    own, run = tmp_path / "own", tmp_path / "run"
    own.mkdir()
    run.mkdir()
    (own / "mine.py").write_text(OWN.replace('"short")', '"brief")').replace("t.short", "t.brief"))
    (own / "brief.py").write_text('NAME = "brief"\n\n\ndef score(sample, means):\n    return 0.5\n')
    reward = Reward(str(own / "mine.py"))
    hashes = copy(own_files(reward, own, []), run / "code")
    assert hashes.keys() == {"mine.py", "brief.py"}
    kept = moved(reward, own, run / "code")
    file = settings(run, kept, beside=str(run / "code"))
    folder = json.loads(Path(file).read_text()) | {"folder": str(tmp_path)}
    Path(file).write_text(json.dumps(folder))
    shutil.rmtree(own)
    own.mkdir()
    words = json.dumps(given(picture, trace_of([LOOK, RIGHT], picture)))
    recipes = str(Path(virc.__file__).parents[1])
    env = {**os.environ, "PYTHONPATH": recipes}
    done = subprocess.run(
        [sys.executable, "-c", WORKER, words, file], env=env, capture_output=True, text=True, check=True
    )
    assert json.loads(done.stdout)["score"] == 2.5
