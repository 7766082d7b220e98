"""The published rows of systems: they are read clean, converted, and their stages begin with them."""

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from support import published_rows, workspaces
from support.called import virc

from virc.data.formats import registry as formats
from virc.data.formats.registry import Row, Source, only_source
from virc.data.rows.record import MARK
from virc.models.chat_protocol import of_system
from virc.systems import registry as systems

Write = Callable[[Path], Path]
ROWS: tuple[tuple[str, Write, str], ...] = (
    ("thinklite-vl", published_rows.thinklite_vl, "rl"),
    ("vision-g1", published_rows.vision_g1, "round-1"),
    ("vision-g1", published_rows.vision_g1, "round-2"),
    ("actial", published_rows.actial_rl, "rl"),
)


def rows_of(source: Source) -> Iterator[Row]:
    return formats.get(source.format).read(source)


@pytest.mark.integration
@pytest.mark.parametrize(("name", "write", "stage"), ROWS)
def test_published_rows_become_prompts_that_a_stage_takes(
    name: str, write: Write, stage: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    file, to = write(tmp_path / "published"), tmp_path / "data" / "own"
    assert virc("data", "check", file, "--system", name, "--workers", 1).code == 0
    done = virc("data", "convert", file, "--system", name, "--to", to, "--format", "prompts", "--workers", 1)
    assert done.code == 0, done.err
    (converted,) = to.glob("*.parquet")
    assert virc("data", "check", converted, "--system", name, "--workers", 1).code == 0
    monkeypatch.chdir(tmp_path)
    words = ("--data", converted, "--with", "cpu", "--from", "tiny", "--dry-run")
    small = {"train_batch_size": 3, "ppo_mini_batch_size": 3, "micro_batch_size_per_device": 1, "validation": "null",
             "test_freq": "null"}  # fmt: skip
    done = virc("train", name, "--stage", stage, *words, *workspaces.sets(small))
    assert done.code == 0, done.err
    assert "3 rows, " in done.err


@pytest.mark.parametrize(("name", "write"), {name: write for name, write, _ in ROWS}.items())
def test_what_converted_rows_ask_is_what_was_published(name: str, write: Write, tmp_path: Path) -> None:
    file, to = write(tmp_path / "published"), tmp_path / "own"
    published = list(rows_of(only_source(file, systems.get(name))))
    words = ("--system", name, "--to", to, "--format", "prompts", "--embed", "--workers", 1)
    assert virc("data", "convert", file, *words).code == 0
    (converted,) = to.glob("*.parquet")
    source = only_source(converted, systems.get(name))
    assert source.format == "prompts"  # though they have all columns of the published layout, and its images
    spoken = of_system(systems.get(name)).protocol
    for before, after in zip(published, rows_of(source), strict=True):
        assert before.record
        assert after.record
        assert (after.record.question, after.record.answer) == (before.record.question, before.record.answer)
        shown = "\n".join([MARK] * len(before.record.images))
        first = spoken.first.replace("{images}", shown).replace("{question}", before.record.question or "")
        assert [each.content for each in after.record.messages] == [spoken.system, first]
        assert after.record.extra["data_source"] == name
        assert after.record.extra.get("published_data_source") == before.record.extra.get("data_source")
