"""A folder of images that is a link: followed where it is directly in the dataset's folder, and nowhere else."""

import shutil
from pathlib import Path

import pytest
from support.called import virc

from virc.data.rows.record import Picture


@pytest.fixture(scope="module")
def drawn(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("drawn") / "set"
    assert virc("data", "synth", "--to", folder, "--count", 3, "--workers", 1, "--formats", "sft,rl,batch").code == 0
    return folder


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


def test_a_link_to_a_folder_that_has_the_dataset_is_not_followed(tmp_path: Path) -> None:
    (tmp_path / "home" / "set").mkdir(parents=True)
    for place in ("home", "home/set"):
        (tmp_path / place / "a.png").write_bytes(b"secret")
    for name, to in (("up", ".."), ("all", "/"), ("itself", ".")):
        (tmp_path / "home" / "set" / name).symlink_to(to, target_is_directory=True)
    for name in ("up/a.png", f"all{tmp_path}/home/a.png"):
        with pytest.raises(OSError, match="it is outside the dataset's folder"):
            Picture(name, tmp_path / "home" / "set").path()
    assert Picture("itself/a.png", tmp_path / "home" / "set").read() == b"secret"
