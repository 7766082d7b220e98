"""Rows whose folder is moved, copied or a link: images are found from it, and nothing outside of it is opened."""

import shutil
from collections.abc import Callable
from pathlib import Path

import pyarrow.parquet as pq  # type: ignore[import-untyped]
import pytest
from support.called import virc

from virc.data.formats import registry as formats
from virc.data.rows.record import Picture, Record


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
    return [row.known() for row in source.rows()]


PARQUET = ["rl.parquet", "prompts.parquet", "to-rl/trajectories.parquet", "to-prompts/trajectories.parquet"]


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


@pytest.fixture
def linked(drawn: Path, tmp_path: Path) -> Path:
    """The set with its images elsewhere, and a link to them."""
    folder = shutil.copytree(drawn, tmp_path / "set")
    (folder / "images").rename(tmp_path / "figures")
    (folder / "images").symlink_to(tmp_path / "figures", target_is_directory=True)
    return folder


@pytest.mark.integration
@pytest.mark.parametrize("name", ["trajectories.json", "rl.parquet", "problems.jsonl"])
def test_every_command_follows_a_linked_folder(linked: Path, tmp_path: Path, name: str) -> None:
    file = linked / name
    clean = virc("data", "check", file, "--clean", tmp_path / "clean", "--workers", 1)
    assert clean.code == 0, clean.out
    assert virc("data", "show", file).code == 0
    shutil.rmtree(tmp_path / "figures")
    assert virc("data", "check", tmp_path / "clean", "--workers", 1).code == 0  # the images themselves are in it


@pytest.mark.parametrize(
    "name",
    [
        "link/../../secret.png",
        "link/out.png",
        "link/deeper/secret.png",
        "own/link/a.png",
        "file.png",
        "link/key",
        "link",
    ],
)
def test_no_other_link_is_followed(name: str, tmp_path: Path) -> None:
    for folder in ("set/own", "figures", "else"):
        (tmp_path / folder).mkdir(parents=True)
    for file in ("secret.png", "figures/a.png", "figures/key", "else/secret.png"):
        (tmp_path / file).write_bytes(b"secret")
    (tmp_path / "set/link").symlink_to(tmp_path / "figures")
    (tmp_path / "set/own/link").symlink_to(tmp_path / "figures")
    (tmp_path / "set/file.png").symlink_to(tmp_path / "secret.png")
    (tmp_path / "figures/out.png").symlink_to(tmp_path / "secret.png")
    (tmp_path / "figures/deeper").symlink_to(tmp_path / "else")
    with pytest.raises(OSError, match="it is outside the dataset's folder"):
        Picture(name, tmp_path / "set").path()
    assert Picture("link/a.png", tmp_path / "set").read() == b"secret"
