"""`virc data synth`: a folder that is whole, reproducible, and readable by others."""

import filecmp
import json
from pathlib import Path

import pytest
from PIL import Image

from virc_cli.main import main
from virc_recipes.data.synth import SynthConfig, write
from virc_recipes.errors import UsageError

pytestmark = pytest.mark.usefixtures("capfd")


def synth(to: Path, *options: str) -> int:
    return main(["data", "synth", "--to", str(to), "--count", "12", *options])


def test_the_same_seed_makes_the_same_folder_byte_for_byte(tmp_path: Path) -> None:
    assert synth(tmp_path / "a") == synth(tmp_path / "b") == 0
    names = sorted(
        str(path.relative_to(tmp_path / "a")) for path in (tmp_path / "a").rglob("*") if path.is_file()
    )
    _, different, missing = filecmp.cmpfiles(tmp_path / "a", tmp_path / "b", names, shallow=False)
    assert not different
    assert not missing
    assert synth(tmp_path / "c", "--seed", "1") == 0
    assert (tmp_path / "a/problems.jsonl").read_bytes() != (tmp_path / "c/problems.jsonl").read_bytes()


def test_problems_name_pictures_that_open_and_boxes_inside_them(tmp_path: Path) -> None:
    assert synth(tmp_path / "a", "--split", "heldout") == 0
    rows = [json.loads(line) for line in (tmp_path / "a/problems.jsonl").read_text().splitlines()]
    assert len({row["id"] for row in rows}) == 12
    for row in rows:
        with Image.open(tmp_path / "a" / row["image"]) as image:
            width, height = image.size
        for corner in row["corners"]:
            for box in (corner["letter_box"], corner["value_box"], corner["crop"]):
                assert 0 <= box[0] < box[2] <= width
                assert 0 <= box[1] < box[3] <= height


def test_trajectories_are_a_dataset_as_llamafactory_reads_it(tmp_path: Path) -> None:
    assert synth(tmp_path / "a") == 0
    info = json.loads((tmp_path / "a/dataset_info.json").read_text())["virc_synth"]
    rows = json.loads((tmp_path / "a" / info["file_name"]).read_text())
    for row in rows:
        roles = [message["role"] for message in row["messages"]]
        assert roles == ["system", *["user", "assistant"] * (len(roles) // 2)]
        assert sum(message["content"].count("<image>") for message in row["messages"]) == len(row["images"])
        assert all((tmp_path / "a" / file).is_file() for file in row["images"])
        assert row["messages"][-1]["content"].endswith(f"<answer>{row['answer']}</answer>")


def test_sides_are_chosen_from_those_asked_for(tmp_path: Path) -> None:
    assert synth(tmp_path / "a", "--sides", "4") == 0
    rows = [json.loads(line) for line in (tmp_path / "a/problems.jsonl").read_text().splitlines()]
    assert {len(row["corners"]) for row in rows} == {4}


@pytest.mark.parametrize(
    ("options", "code", "said"),
    [
        (["--sides", "5"], 2, "5 sides"),
        (["--sides", "x"], 2, "list of numbers"),
        (["--count", "0"], 2, "count"),
    ],
)
def test_bad_options_are_said_and_leave_nothing(
    tmp_path: Path, capfd: pytest.CaptureFixture[str], options: list[str], code: int, said: str
) -> None:
    assert synth(tmp_path / "a", *options) == code
    assert said in capfd.readouterr().err
    assert not list(tmp_path.iterdir())


def test_a_folder_in_use_is_left_alone(tmp_path: Path) -> None:
    (tmp_path / "a").mkdir()
    (tmp_path / "a/mine.txt").write_text("keep")
    assert synth(tmp_path / "a") == 2
    assert [path.name for path in (tmp_path / "a").iterdir()] == ["mine.txt"]


def test_an_empty_folder_and_a_new_path_are_filled(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "empty").mkdir()
    monkeypatch.chdir(tmp_path / "empty")
    assert main(["data", "synth", "--to", ".", "--count", "2"]) == 0
    assert (tmp_path / "empty/problems.jsonl").is_file()
    assert synth(tmp_path / "new/deep") == 0
    assert (tmp_path / "new/deep").stat().st_mode & 0o777 == (tmp_path / "new").stat().st_mode & 0o777


def test_two_runs_into_one_folder_leave_one_whole_folder(tmp_path: Path) -> None:
    """The second ends while the first draws: the first finds its place taken and takes nothing away."""
    others: list[int] = []

    def other(done: int) -> None:
        if done == 2:
            write(SynthConfig(tmp_path / "a", count=4, seed=9))
            others.append(done)

    with pytest.raises(UsageError, match="in use"):
        write(SynthConfig(tmp_path / "a", count=3), other)
    assert others == [2]
    rows = (tmp_path / "a/problems.jsonl").read_text().splitlines()
    assert [json.loads(row)["id"] for row in rows] == [f"train-9-{number:06d}" for number in range(4)]
    assert [path.name for path in tmp_path.iterdir()] == ["a"]


def test_json_says_where_and_how_many(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    assert synth(tmp_path / "a", "--json") == 0
    told = json.loads(capfd.readouterr().out)
    assert told == {"schema": "virc.data.synth/1", "to": str(tmp_path / "a"), "problems": 12, "error": None}
