"""What is found in pairs of replies before an engine starts, and the rows that KTO gets of them."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import stage_rows
from support import preference_rows
from support.called import virc
from support.published import writer

from virc.core.errors import DataError
from virc.data.check.result import USUAL_SYSTEM
from virc.data.formats.registry import only_source
from virc.training.preflight import sft
from virc.training.preflight.pairs import check
from virc.training.preflight.types import PairsRequest


@pytest.fixture(scope="module")
def rows(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = stage_rows.drawn(tmp_path_factory.mktemp("drawn") / "rows").parent
    return preference_rows.write(folder)


def request(file: Path, **values: Any) -> Any:
    return stage_rows.request(file, PairsRequest, **{"source": only_source(file), **values})


def written(file: Path) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = json.loads(file.read_text())
    return found


def test_both_sides_are_counted_and_the_longer_one_bounds(rows: Path, tmp_path: Path) -> None:
    lines = [json.loads(line) for line in rows.read_text().splitlines()]
    for line in lines:  # many tokens more on one side alone
        line["rejected"]["content"] = line["rejected"]["content"].replace("<think>", "<think>180 - 70 = 110. " * 5)
    longer = rows.with_name("longer.jsonl")
    longer.write_text("".join(json.dumps(line) + "\n" for line in lines))
    alone = sft.check(stage_rows.request(rows.with_name("trajectories.json")))
    even, uneven = check(request(rows)), check(request(longer))
    assert (even.rows, even.images, even.longest) == (len(lines), alone.images, alone.longest)
    assert even.total == pytest.approx(2 * alone.total, abs=2 * len(lines))  # wrong answers have as many digits or not
    assert uneven.longest > even.longest + 20
    assert uneven.total - even.total == pytest.approx((uneven.longest - even.longest) * len(lines), rel=0.1)
    with pytest.raises(DataError, match="longer than the cutoff_len"):
        check(request(longer, cutoff_len=even.longest))


def test_kto_gets_each_reply_once_with_its_tag(rows: Path, tmp_path: Path) -> None:
    lines = [json.loads(line) for line in rows.read_text().splitlines()]
    found = check(request(rows, loss="kto", folder=tmp_path / "data"))
    assert found.rows == 2 * len(lines)
    assert found.mean * found.rows == pytest.approx(found.total)
    made = written(found.file)
    wanted = {(line["chosen"]["content"], True) for line in lines}
    wanted |= {(line["rejected"]["content"], False) for line in lines}
    assert {(row["messages"][-1]["content"], row["kto_tag"]) for row in made} == wanted
    assert [row["kto_tag"] for row in made[:4]] == [True, False, True, False]
    assert all(Path(name).is_file() for row in made for name in row["images"])
    assert found.entry["columns"] == {"messages": "messages", "images": "images", "kto_tag": "kto_tag"}
    assert "ranking" not in found.entry
    assert only_source(found.file).format == "sft"  # by which a resumed run finds its images


def test_a_dry_run_counts_pairs_and_shows_what_is_held(rows: Path) -> None:
    done = virc("train", "tiny", "--stage", "dpo", "--from", "tiny", "--dry-run", "--data", rows)
    assert done.code == 0, done.err
    assert f"{len(rows.read_text().splitlines())} pairs" in done.err
    assert "tokens of both sides: mean" in done.err
    assert "reference weights" in done.out
    assert "pref_loss: sigmoid" in done.out
    smaller = virc(
        "train", "tiny", "--stage", "dpo", "--from", "tiny", "--dry-run", "--data", rows, "--set", "max_pixels=9000"
    )
    assert (smaller.code, " --format pairs --max-pixels 9000" in smaller.err) == (5, True), smaller.err


def converted(write: Callable[[Path], Path], folder: Path) -> Any:
    """A look at published pairs, once they are converted."""
    (folder / "from").mkdir()
    done = virc("data", "convert", write(folder / "from"), "--to", folder / "to", "--format", "pairs")
    assert done.code == 0, done.err
    return stage_rows.request(next((folder / "to").glob("*.jsonl")), PairsRequest)


@pytest.mark.parametrize("name", ["mmpr", "trl_plain"])
def test_published_pairs_need_no_chat_protocol(name: str, tmp_path: Path) -> None:
    """They are questions and answers alone: who publishes such rows has no words around them."""
    found = check(converted(writer(name), tmp_path))
    assert (found.rows, found.otherwise, found.faults) == (3, 0, {})
    assert found.protocol.tools == ()
    assert not found.protocol.grammar.calls
    assert found.protocol.system == ("Be brief." if name == "trl_plain" else USUAL_SYSTEM)
