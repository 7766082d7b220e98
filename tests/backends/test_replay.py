"""Recorded conversations, played again."""

import json
from pathlib import Path

import pytest
from asks import ANSWER, LOOK, ask, further
from support.replay import ReplayBackend, read_conversation, replay_file

from virc.backends.interface import Sampling
from virc.core.errors import DataError, EngineError

GREEDY = Sampling()


def test_turns_are_played_in_order_and_a_try_of_the_same_turn_is_the_same() -> None:
    backend = ReplayBackend([LOOK, ANSWER])
    heard: list[str] = []
    second = further(ask(), LOOK)
    replies = [backend.reply(step, GREEDY, heard.append).text for step in (ask(), ask(), second)]
    assert replies == heard == [LOOK, LOOK, ANSWER]


def test_a_recording_that_is_over_is_an_engine_error() -> None:
    backend = ReplayBackend([LOOK])
    with pytest.raises(EngineError, match="1 assistant turns"):
        backend.reply(further(ask(), LOOK), GREEDY)


def test_the_published_sample_is_read_whole(sample: Path) -> None:
    messages = read_conversation(sample / "conversation.json")
    assert [(m.role, m.image is not None) for m in messages] == [("user", True), ("assistant", False)] * 3
    backend = replay_file(sample / "conversation.json")
    assert backend.reply(ask(), GREEDY).text == messages[1].content


@pytest.mark.parametrize(
    "text",
    [
        "",
        "{}",
        "[1]",
        "null",
        "[" * 100_000,
        '[{"role": "assistant"}]',
        '[{"role": "tool", "content": ""}]',
        '[{"role": "assistant", "content": 7}]',
        '[{"role": "assistant", "content": "\\ud800"}]',
    ],
)
def test_a_file_of_another_layout_is_a_data_error(text: str, tmp_path: Path) -> None:
    path = tmp_path / "conversation.json"
    path.write_text(text, encoding="utf-8")
    with pytest.raises(DataError, match="no recorded conversation"):
        replay_file(path)


def test_a_file_without_assistant_turns_is_a_data_error(tmp_path: Path) -> None:
    path = tmp_path / "conversation.json"
    path.write_text(json.dumps([{"role": "user", "content": "hello"}]), encoding="utf-8")
    with pytest.raises(DataError, match="no assistant turn"):
        replay_file(path)


def test_a_file_that_cannot_be_read_is_a_data_error(tmp_path: Path) -> None:
    for path in (tmp_path / "missing.json", tmp_path, Path("nul\0name")):
        with pytest.raises(DataError, match="cannot be read"):
            replay_file(path)


def test_a_file_that_is_too_large_is_a_data_error(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("support.replay._MOST_BYTES", 100)
    path = tmp_path / "conversation.json"
    path.write_text(json.dumps([{"role": "assistant", "content": "x" * 200}]), encoding="utf-8")
    with pytest.raises(DataError, match="over"):
        replay_file(path)
