"""A dataset of which only some files are here, as `virc download` brings those that stages need."""

import json
from pathlib import Path

import pytest
from PIL import Image
from support import crux
from support.called import virc
from support.public_layouts import array, lines, mathvista

from virc.core.errors import DataError
from virc.data.formats import registry as formats


@pytest.fixture(scope="module")
def fetched(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder whose `dataset_info.json` names four times as many files as are there; its images are unpacked."""
    folder = tmp_path_factory.mktemp("crux") / "CRUX"
    crux.publish(folder)
    assert virc("unpack", folder / f"{crux.IMAGES}.tar.lz4", "--to", folder).code == 0
    for file in folder.glob("*.json"):
        if file.stem not in (crux.DYNAMIC, crux.DYNAMIC.replace("1_Instr", "2_Prac"), "dataset_info"):
            file.unlink()
    return folder


@pytest.mark.integration
def test_a_set_of_which_some_files_are_here_is_checked_with_one_note(fetched: Path) -> None:
    done = virc("data", "check", fetched, "--quiet")
    assert done.code == 0, done.err
    assert done.err.count("\n") == 1
    assert done.err.startswith(f"{fetched / 'dataset_info.json'} names 6 files that are not there: ViRC_stage_1_")
    assert done.err.endswith(", …\n")
    checked = virc("data", "check", fetched, "--json")
    assert len(checked.json["datasets"]) == 6
    assert checked.json["rows"] == checked.json["good"] > 30


def test_what_is_left_out_is_what_is_not_there(fetched: Path) -> None:
    assert len(formats.left_out(fetched)) == 6
    assert all(not (fetched / name).exists() for name in formats.left_out(fetched))
    assert formats.left_out(fetched / f"{crux.DYNAMIC}.json") == []


@pytest.mark.parametrize("words", [("show",), ("protocol",), ("convert", "--format", "batch", "--to", "new")])
def test_every_reader_of_a_folder_says_so(
    words: tuple[str, ...], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    made = crux.build(tmp_path / "set", rows=2, unpacked=True)
    for file in (made.fixed, made.train, made.val):
        file.unlink()
    monkeypatch.chdir(tmp_path)
    done = virc("data", words[0], "set", *words[1:])
    assert done.code == 0, done.err
    assert f"set/dataset_info.json names a file that is not there: {made.fixed.name}\n" in done.err


def test_a_folder_with_none_of_them_is_refused(tmp_path: Path) -> None:
    (tmp_path / "dataset_info.json").write_text(json.dumps({"a": {"file_name": "a.json"}}))
    for read in (formats.sources, formats.left_out):
        with pytest.raises(DataError, match=r"names a\.json for a, which is not there"):
            read(tmp_path)
    done = virc("data", "check", tmp_path)
    assert (done.code, done.err.count("\n")) == (5, 1)


def test_a_folder_whose_info_names_no_files_leaves_nothing_out(tmp_path: Path) -> None:
    (tmp_path / "rows.jsonl").write_text(json.dumps({"messages": []}) + "\n")
    (tmp_path / "dataset_info.json").write_text(json.dumps({"a": {"hf_hub_url": "someone/rows"}}))
    assert formats.left_out(tmp_path) == []
    assert [source.name for source in formats.sources(tmp_path)] == ["rows"]


@pytest.mark.parametrize(
    ("name", "content", "said"),
    [
        (
            "train.jsonl",
            [{"image": "gone.png", "question": "?", "answer": "a"}],
            "the picture gone.png that image names",
        ),
        ("one/train.json", [{"messages": []}], "files in it may: one/train.json\nhint: name one of them: "),
        ("one/train.csv", [], "files in it may: one/train.csv"),
        ("one/settings.json", {"messages": []}, "holds no rows\n"),
        ("dataset_info.json", {}, "holds no rows\n"),
    ],
)
def test_a_folder_without_rows_names_files_that_may_hold_some(
    name: str, content: object, said: str, tmp_path: Path
) -> None:
    (tmp_path / name).parent.mkdir(exist_ok=True)
    written = map(json.dumps, content) if name.endswith("l") and isinstance(content, list) else [json.dumps(content)]
    (tmp_path / name).write_text("\n".join(written))
    done = virc("data", "check", tmp_path)
    assert (done.code, said in done.err) == (5, True), done.err


@pytest.mark.parametrize(
    ("files", "read"),
    [
        ({"own.csv": "image,question,answer\na.png,What?,7\n"}, ["own"]),
        ({"own.tsv": "image\tquestion\tanswer\na.png\tWhat?\t7\n", "notes.txt": "[]\n"}, ["own"]),
        ({"train.json": '[{"messages": [], "image": "gone.png"}]', "settings.json": '{"steps": 1}'}, ["train"]),
        ({f"{name}.csv": "image,question,answer\na.png,What?,7\n" for name in ("train", "val")}, ["train", "val"]),
        ({"own.csv": "question,answer\n", "rows.jsonl": '{"messages": []}\n'}, ["rows"]),
    ],
)
def test_a_folder_that_holds_nothing_but_tables_and_lists_has_their_rows(
    files: dict[str, str], read: list[str], tmp_path: Path
) -> None:
    Image.new("RGB", (56, 56)).save(tmp_path / "a.png")
    for name, text in files.items():
        (tmp_path / name).write_text(text)
    assert [source.name for source in formats.sources(tmp_path)] == read


def test_files_that_may_hold_rows_and_are_not_read_are_named(tmp_path: Path) -> None:
    mathvista(tmp_path)
    assert formats.left_out_note(tmp_path) is None
    lines(tmp_path / "log.jsonl", [{"step": 1}])
    array(tmp_path / "more.json", [{"messages": []}])
    array(tmp_path / "settings.json", {"steps": 1})
    (tmp_path / "own.csv").write_text("question,answer\n")
    (tmp_path / "notes.txt").write_text("[]\n")
    said = f"{tmp_path} has files that may hold rows and are not read: log.jsonl, more.json, own.csv"
    assert formats.left_out_note(tmp_path) == said


def test_a_folder_without_known_rows_names_the_columns_that_it_has(tmp_path: Path) -> None:
    lines(tmp_path / "log.jsonl", [{"step": 1, "loss": 2}])
    with pytest.raises(DataError, match=r"log\.jsonl has the columns step, loss") as raised:
        formats.sources(tmp_path)
    assert "for --layout mine.yaml" in str(raised.value.hint)
