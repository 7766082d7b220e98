"""The entry for verl, called as verl 0.9.1 calls it: by keywords, awaited, with what its data set holds of a row."""

import asyncio
import inspect
import json
from functools import partial
from importlib import import_module
from math import isnan
from pathlib import Path
from typing import Any

import msgspec
import pytest
from support import crux
from support.called import virc
from support.scripted_judge import by_pictures
from support.servers import serve

from virc.reasoning.protocol import Coordinates
from virc.rewards.verl import Settings
from virc.systems.registry import Judging, Reward

Row = dict[str, Any]
QUIET = Reward("rules")


@pytest.fixture(scope="module")
def polygons(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder as `virc data synth` writes it."""
    folder = tmp_path_factory.mktemp("drawn") / "polygons"
    assert virc("data", "synth", "--to", folder, "--count", 4, "--seed", 1, "--formats", "rl").code == 0
    return folder


@pytest.fixture
def drawn(polygons: Path) -> list[Row]:
    """Its rows as a run has them: images by absolute path."""
    rows = read(polygons / "rl.parquet")
    for image in (image for row in rows for image in row["extra_info"]["images"]):
        image["image"] = f"file://{polygons / image['image']}"
    return rows


def read(file: Path) -> list[Row]:
    import pyarrow.parquet as pq  # type: ignore[import-untyped]

    rows: list[Row] = pq.read_table(file).to_pylist()
    return rows


def settings(
    folder: Path, reward: Reward, images: Path | None = None, coordinates: Coordinates = "pixel", **more: Any
) -> str:
    file = folder / "reward.json"
    file.write_bytes(msgspec.json.encode(Settings(reward, str(images or folder), coordinates=coordinates, **more)))
    return str(file)


def rewarded(row: Row, reply: str, file: str) -> dict[str, float]:
    """As verl's loader and its naive reward manager do it."""
    function = import_module("virc.rewards.verl").compute_score
    assert inspect.iscoroutinefunction(function)
    info = {**row["extra_info"], "num_turns": 2, "rollout_reward_scores": {}}
    loaded = partial(function, settings=file)
    answer = row["reward_model"]["ground_truth"]
    found: dict[str, float] = asyncio.run(
        loaded(data_source=row["data_source"], solution_str=reply, ground_truth=answer, extra_info=info)
    )
    return found


def test_references_of_our_own_rows_have_the_whole_reward(drawn: list[Row], polygons: Path, tmp_path: Path) -> None:
    file = settings(tmp_path, QUIET, polygons)
    totals = [rewarded(row, row["extra_info"]["reference"], file) for row in drawn]
    assert {found["score"] for found in totals} == {1.0, 0.8}
    assert len({tuple(found) for found in totals}) == 1  # verl wants the same keys of all rows
    answered = next(found for found in totals if found["score"] == 0.8)
    assert answered["answer"] == 1.0
    assert isnan(answered["overlap"])
    json.dumps(totals)


def test_what_is_not_taken_is_minus_one(drawn: list[Row], polygons: Path, tmp_path: Path) -> None:
    file = settings(tmp_path, QUIET, polygons)
    assert rewarded(drawn[0], "no tags", file)["score"] == -1.0
    far = '<think>a</think><tool_call>{"name": "display_image", "arguments": {"image_index": 9}}</tool_call>'
    assert rewarded(drawn[0], far, file)["score"] == -1.0
    box = '{"name": "crop_image", "arguments": {"bbox_2d": [0, 0, 999, 999], "image_index": 0}}'
    whole = f"<think>a</think><tool_call>{box}</tool_call>"
    assert rewarded(drawn[0], whole, file)["format"] == 0.0
    (tmp_path / "permille").mkdir()
    permille = settings(tmp_path / "permille", QUIET, polygons, "permille")
    assert rewarded(drawn[0], whole, permille)["format"] == 1.0


@pytest.mark.integration
@pytest.mark.parametrize("strict", ["own", "published"])
@pytest.mark.parametrize("kind", ["dynamic", "fixed"])
def test_published_rows_with_a_judge(strict: Any, kind: str, tmp_path: Path) -> None:
    made = crux.build(tmp_path / "crux", rows=4)
    rows = read(made.train)
    looks = [row for row in rows if (row["extra_info"]["tool_info_gt"] or {}).get("name") == "crop_image"]
    box = '{"name": "crop_image", "arguments": {"bbox_2d": [5, 5, 100, 100], "image_index": 0}}'
    look = f"<think>A is small</think><tool_call>{box}</tool_call>"
    coordinates: Coordinates = "permille" if kind == "fixed" else "pixel"
    with serve(by_pictures) as server:
        reward = Reward("virc", strict, Judging(server.url))
        file = settings(tmp_path, reward, made.folder, coordinates, kept=str(tmp_path / "kept"))
        found = rewarded(looks[0], look, file)
        assert found["score"] == pytest.approx(0.5 * 0.6 + 0.4 * 0.5 + 0.1)
        assert rewarded(rows[0], "<think>so</think><answer>12</answer>", file)["score"] == 0.8
        assert len(server.chats()) == 3
        again = rewarded(looks[0], look, file)  # kept
        assert again | {"judge_seconds": 0} == pytest.approx(found | {"judge_seconds": 0}, nan_ok=True)
        assert found["judge_asked"] == 2
        assert 0 < found["judge_seconds"] < 60
        assert len(server.chats()) == 3


ASKED = """from pathlib import Path
from virc.rewards.question import Question, yes_no

TERMS = ("fine",)
fine = Question("Ours: {answer}?", yes_no, system="Ours.", file=Path("/some/grit/judge.yaml"))


def total(t):
    return t.fine
"""


def test_a_judge_is_asked_in_the_words_that_the_run_has_kept(drawn: list[Row], polygons: Path, tmp_path: Path) -> None:
    (tmp_path / "own.py").write_text(ASKED)
    with serve(lambda body: "yes") as server:
        reward = Reward(str(tmp_path / "own.py"), "own", Judging(server.url))
        file = settings(tmp_path, reward, polygons, said={"grit/judge.yaml": ("Theirs: {answer}?", "You judge.")})
        assert rewarded(drawn[0], "<think>a</think><answer>5</answer>", file)["score"] == 1.0
        said = json.dumps(server.chats()[0]["messages"])
    assert ("Theirs: 5?" in said, "You judge." in said, "Ours" in said) == (True, True, False)


def test_rows_of_each_source_are_compared_by_their_own_rule(drawn: list[Row], polygons: Path, tmp_path: Path) -> None:
    (tmp_path / "other").mkdir()
    other = settings(tmp_path / "other", Reward("outcome", group={"distinct": 1.0}), polygons)
    file = settings(tmp_path, Reward("outcome", group={"reward": 2.0}), polygons, sources={"other": other})
    row = next(row for row in drawn if "<answer>" in row["extra_info"]["reference"])
    replies = [row["extra_info"]["reference"], "<think>a</think><answer>no</answer>", "no tags"]
    compared = import_module("virc.rewards.verl").compared
    for source, after in (("virc", [2.0, 0.0, 0.0]), ("other", [1.0, 1.0, 0.0])):
        found = [rewarded({**row, "data_source": source}, reply, file) for reply in replies]
        assert [each["score"] for each in found] == [1.0, 0.0, 0.0]
        known = [json.loads(str(each["last"]))[1] for each in found]
        assert [each["ended"] for each in known] == ["answer", "answer", "format"]
        assert compared(file, found) == after
