"""Rows for RL whose folder is moved or copied: they name images from their own folder, and runs by absolute path."""

import shutil
from collections.abc import Callable
from pathlib import Path

import pyarrow.parquet as pq  # type: ignore[import-untyped]
import pytest
from support.called import virc

from virc.data.formats import registry as formats
from virc.data.rows.record import Record


@pytest.fixture(scope="module")
def drawn(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Rows of all formats, drawn; and in `converted`, RL rows made of the trajectories."""
    folder = tmp_path_factory.mktemp("drawn") / "set"
    formats_ = "sft,rl,prompts,batch,trajectories"
    assert virc("data", "synth", "--to", folder, "--count", 6, "--seed", 3, "--formats", formats_).code == 0
    for name in ("rl", "prompts"):
        done = virc("data", "convert", folder / "trajectories.json", "--to", folder / f"to-{name}", "--format", name)
        assert done.code == 0, done.err
    return folder


def moved(drawn: Path, to: Path) -> Path:
    """A copy elsewhere, of which the first place is gone."""
    first = shutil.copytree(drawn, to.with_name("first"))
    shutil.copytree(first, to)
    shutil.rmtree(first)
    return to


def records(file: Path) -> list[Record]:
    (source,) = formats.sources(file)
    return [row.known() for row in formats.get(source.format).read(source)]


PARQUET = ["rl.parquet", "prompts.parquet", "to-rl/trajectories.parquet", "to-prompts/trajectories.parquet"]


@pytest.mark.parametrize("name", PARQUET)
def test_rows_name_no_place_on_this_machine(drawn: Path, name: str) -> None:
    for row in pq.read_table(drawn / name).to_pylist():
        for image in (*row["images"], *row["extra_info"]["images"]):
            assert image["image"].startswith("images/")
    assert str(drawn.parent).encode() not in (drawn / name).read_bytes()


@pytest.mark.integration
@pytest.mark.parametrize("name", PARQUET)
@pytest.mark.parametrize("place", [shutil.move, shutil.copytree])
def test_every_command_reads_rows_that_were_moved(
    drawn: Path, tmp_path: Path, name: str, place: Callable[[Path, Path], object]
) -> None:
    shutil.copytree(drawn, tmp_path / "a")
    place(tmp_path / "a", tmp_path / "b")
    shutil.rmtree(tmp_path / "a", ignore_errors=True)
    file = tmp_path / "b" / name
    assert virc("data", "check", file, "--workers", 1).code == 0
    page = tmp_path / "row.html"
    assert virc("data", "show", file, "--row", 2, "--html", page).code == 0
    assert page.read_text().count("data:image/png") >= 1
    made = virc("data", "convert", file, "--to", tmp_path / "c", "--format", "prompts")
    assert made.code == 0, made.err
    assert virc("data", "check", tmp_path / "c", "--clean", tmp_path / "d", "--workers", 1).code == 0
    assert all(image.read() for row in records(tmp_path / "d") for image in row.images)


@pytest.mark.integration
@pytest.mark.parametrize("name", ["/etc/passwd", "../../etc/passwd", "images/../../x.png", "file:///etc/passwd"])
def test_names_that_lead_out_of_the_folder_are_faults(drawn: Path, tmp_path: Path, name: str) -> None:
    folder = moved(drawn, tmp_path / "b")
    (tmp_path / "x.png").write_bytes((folder / "images/000/train-3-000000-0.png").read_bytes())
    table = pq.read_table(folder / "rl.parquet")
    rows = table.to_pylist()
    for images in (rows[0]["images"], rows[0]["extra_info"]["images"]):
        images[0]["image"] = name
    pq.write_table(type(table).from_pylist(rows, schema=table.schema), folder / "rl.parquet")
    done = virc("data", "check", folder / "rl.parquet", "--json", "--workers", 1)
    assert done.json["faults"] == {"image_outside": 1}
    refused = virc("data", "convert", folder / "rl.parquet", "--to", tmp_path / "c", "--format", "prompts")
    assert (refused.code, (tmp_path / "c").exists()) == (5, False)
    assert "it is outside the dataset's folder" in refused.err


def test_rows_that_name_images_by_absolute_path_are_still_read(drawn: Path, tmp_path: Path) -> None:
    table = pq.read_table(drawn / "rl.parquet")
    rows = table.to_pylist()
    for row in rows:
        for image in row["images"]:
            image["image"] = f"file://{drawn}/{image['image']}"
    pq.write_table(type(table).from_pylist(rows, schema=table.schema), drawn / "absolute.parquet")
    done = virc("data", "check", drawn / "absolute.parquet", "--workers", 1)
    (drawn / "absolute.parquet").unlink()
    assert done.code == 0, done.out
