"""The order of rows in verl's own batches: as written, and after a run goes on."""

import json
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq  # type: ignore[import-untyped]
import pytest
from rl_engine import RECIPES, TINY, child
from support.called import virc
from support.engine_python import interpreter

from virc.data.formats.registry import only_source
from virc.data.rows import verl as verl_rows
from virc.engines.verl import plan as verl_plan
from virc.models.chat_protocol import read_protocol
from virc.reasoning.protocol import FILE_NAME
from virc.stages.context import Place
from virc.training.preflight.rl import check
from virc.training.preflight.types import RlRequest
from virc.training.request import TrainRequest

pytestmark = [pytest.mark.engine, pytest.mark.timeout(600)]
TYPES = ["hard", "easy", "middle", "even", "easy", "hard", "easy", "middle", "hard", "easy", "even", "hard"]


@pytest.fixture(scope="module")
def file(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("drawn") / "rows"
    words = ("--count", 12, "--seed", 3, "--workers", 1, "--formats", "batch")
    assert virc("data", "synth", "--to", folder, *words).code == 0
    made = folder / "problems.jsonl"
    rows = [json.loads(line) for line in made.read_text().splitlines()]
    made.write_text("".join(json.dumps(row | {"type": name}) + "\n" for row, name in zip(rows, TYPES, strict=True)))
    return made


def drawn(file: Path, folder: Path, *sets: str) -> tuple[list[str], dict[str, Any]]:
    """The types of the rows that verl reads, in their order, and what its trainer draws of them."""
    more = ("rollout=multi_turn", "response_length=768", "train_batch_size=4", "ppo_mini_batch_size=4")
    given = (*more, f"data={file}", *sets)
    config = TrainRequest(system="tiny", stage="rl", base="tiny", assignments=given).resolve().config
    found = check(RlRequest(
        source=only_source(file), base=TINY, name="tiny", folder=folder, home=folder,
        chat_protocol=read_protocol(TINY / FILE_NAME), config=config,
    ))  # fmt: skip
    place = Place(
        base=TINY, model_type="qwen2_vl", data=found.file, media=found.media, output=folder / "out", files=folder,
        python=interpreter("rl"), recipes=RECIPES, protocol=folder / FILE_NAME, reward=folder / "reward.json",
    )  # fmt: skip
    for name, text in verl_plan.plan(config, place, {}, {}).files.items():
        Path(name).write_text(text)
    rows = [verl_rows.record_of(row, found.media) for row in pq.read_table(found.file).to_pylist()]
    return [str(row.extra["type"]) for row in rows], child("order_child.py", folder / verl_plan.SETTINGS)


def test_rows_are_as_written_or_in_another_order_in_each_epoch(file: Path, tmp_path: Path) -> None:
    types, found = drawn(file, tmp_path / "written", "order=written")
    assert types == TYPES
    assert found["epochs"][0] == [[0, 1, 2, 3], [4, 5, 6, 7], [8, 9, 10, 11]]
    types, found = drawn(file, tmp_path / "shuffled")
    assert types == TYPES
    first, second = found["epochs"]
    assert first != second != [[0, 1, 2, 3], [4, 5, 6, 7], [8, 9, 10, 11]] != first
    assert found["rest"] == first[1:]
