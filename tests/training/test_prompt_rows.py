"""The rows of a stage of RL before verl reads them: what is counted, written, left out and refused."""

from functools import partial
from pathlib import Path
from typing import Any

import msgspec
import pyarrow.parquet as pq  # type: ignore[import-untyped]
import pytest
from stage_rows import drawn
from support import crux, preflight

from virc.core.errors import DataError
from virc.data.formats.registry import RowsFile, only_source
from virc.data.rows import verl as verl_rows
from virc.models.chat_protocol import read_protocol
from virc.models.registry import EMBEDDED_FOLDER
from virc.reasoning.protocol import FILE_NAME, Protocol
from virc.systems.registry import Judging, Reward
from virc.training.preflight.rl import check
from virc.training.preflight.types import Result, RlRequest
from virc.training.request import TrainRequest

TEMPLATE = read_protocol(EMBEDDED_FOLDER / FILE_NAME)
JUDGED = Reward("virc", "published", Judging("http://judge/v1"))
Row = dict[str, Any]


@pytest.fixture(scope="module")
def rows(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with the drawn rows in every format that RL takes."""
    return drawn(tmp_path_factory.mktemp("drawn") / "rows", "rl,prompts,batch,sft").parent


def asked(source: Path | RowsFile, folder: Path, **values: Any) -> Any:
    usual = {"base": EMBEDDED_FOLDER, "folder": folder, "home": folder, "chat_protocol": TEMPLATE,
             "reward": Reward("rules")}  # fmt: skip
    file = only_source(source) if isinstance(source, Path) else source
    return preflight.request(RlRequest, **{"source": file, **usual, **values})


def written(result: Result) -> list[Row]:
    found: list[Row] = pq.read_table(result.file).to_pylist()
    return found


@pytest.mark.integration
def test_single_units_are_written_as_verl_and_the_reward_read_them(rows: Path, tmp_path: Path) -> None:
    result = check(asked(rows / "rl.parquet", tmp_path / "run"))
    before, after = pq.read_table(rows / "rl.parquet").to_pylist(), written(result)
    assert result.rows == len(before) == len(after)
    assert (result.dropped, result.faults, result.lacking, result.otherwise) == (0, {}, {}, 0)
    assert [row["prompt"] for row in after] == [row["prompt"] for row in before]
    assert [row["extra_info"]["index"] for row in after] == list(range(len(after)))
    assert result.protocol.system == TEMPLATE.system
    for one, other in zip(before, after, strict=True):
        records = [verl_rows.record_of(one, rows), verl_rows.record_of(other, result.media)]
        assert all(image["image"].startswith(f"file://{rows}/") for image in other["images"])  # wherever verl starts
        assert [picture.read() for picture in records[0].images] == [each.read() for each in records[1].images]
        assert records[0].answer == records[1].answer
        assert records[0].messages == records[1].messages
        assert records[0].extra["tool_info_gt"] == records[1].extra["tool_info_gt"]


@pytest.mark.integration
def test_published_files_work_as_they_are(tmp_path: Path) -> None:
    made = crux.build(tmp_path / "crux", rows=8)
    source, tried = only_source(made.train), only_source(made.val)
    home = tmp_path / "runs" / "one" / "data"
    look = partial(asked, source, tmp_path / "new", home=home, validation=tried, reward=JUDGED, name="base")
    result = check(look(prompt_length=8192))
    assert result.rows == pq.read_metadata(made.train).num_rows
    assert pq.read_metadata(tmp_path / "new" / "validation.parquet").num_rows == pq.read_metadata(made.val).num_rows
    assert result.protocol.tools == ("crop_image", "scale_image", "display_image")
    assert result.file.parent == home
    assert result.shrunk > 0  # the embedded model takes images of at most 63,504 pixels
    home.parent.mkdir(parents=True)
    (tmp_path / "new").rename(home)
    for row, before in zip(written(result), pq.read_table(made.train).to_pylist(), strict=True):
        record = verl_rows.record_of(row, result.media)
        assert [picture.read() for picture in record.images] == [image["bytes"] for image in before["images"]]
        assert record.extra["tool_info_gt"] == before["extra_info"]["tool_info_gt"]
        assert row["prompt"] == before["prompt"]


@pytest.mark.integration
def test_prompts_that_are_too_long_are_left_out_or_refused(rows: Path, tmp_path: Path) -> None:
    all_rows = check(asked(rows / "rl.parquet", tmp_path / "all"))
    assert all_rows.longest <= TrainRequest(system="tiny", stage="rl").resolve().config.longest  # its own rows fit
    limit = all_rows.longest - 1
    some = check(asked(rows / "rl.parquet", tmp_path / "some", prompt_length=limit, filter_overlong=True))
    assert some.dropped == all_rows.rows - some.rows > 0
    assert some.longest <= limit
    assert len(written(some)) == some.rows
    assert [row["extra_info"]["index"] for row in written(some)] == list(range(some.rows))
    strict = asked(rows / "rl.parquet", tmp_path / "none", prompt_length=limit)
    with pytest.raises(DataError, match=f"longer than the prompt_length of {limit} tokens") as refused:
        check(strict)
    assert f"--set prompt_length={all_rows.longest}" in str(refused.value.hint)
    with pytest.raises(DataError, match="longer than the prompt_length of 3 tokens") as refused:
        check(asked(rows / "rl.parquet", tmp_path / "no", prompt_length=3, filter_overlong=True))
    assert "filter_overlong" not in str(refused.value.hint)  # it is on, and no row is left


def spoken(chat_protocol: Protocol, file: Path) -> Path:
    file.write_bytes(msgspec.json.encode(chat_protocol))
    return file


def test_the_chat_protocol_of_a_model_that_was_trained_wins_over_that_of_problems(rows: Path, tmp_path: Path) -> None:
    trained = msgspec.structs.replace(TEMPLATE, first="{images}\nAsked: {question}", name="trained")
    look = partial(asked, rows / "trajectories.json", rollout="multi_turn", reward=Reward("outcome"))
    result = check(look(tmp_path / "run", chat_protocol=trained))
    assert result.protocol.first == trained.first
    assert all("Asked: " in row["prompt"][1]["content"] for row in written(result))
    given = spoken(msgspec.structs.replace(trained, first="{images}\nTold: {question}"), tmp_path / "given.json")
    result = check(look(tmp_path / "other", chat_protocol=trained, protocol=given))
    assert all("Told: " in row["prompt"][1]["content"] for row in written(result))
