"""A dataset of which only some files are here, as `virc download` brings those that stages need."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from PIL import Image
from support import crux
from support.called import virc
from support.public_layouts import array, lines, mathvista

from virc.core.errors import DataError, VircError
from virc.data import proposing
from virc.data.formats import registry as formats
from virc.data.rows import raw
from virc.data.rows.record import Record


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
    (tmp_path / "notes.txt").write_text("[]\n")
    said = f"{tmp_path} has files that may hold rows and are not read: log.jsonl, more.json"
    assert formats.left_out_note(tmp_path) == said
    (tmp_path / "own.csv").write_text("question,answer\n")
    assert formats.left_out_note(tmp_path) == f"{said}, own.csv"
    (tmp_path / "p.json").write_text('\n [{"messages": []}]')
    assert formats.left_out_note(tmp_path) == f"{said}, own.csv, …"


def test_columns_are_ignored_by_their_whole_names(tmp_path: Path) -> None:
    lines(tmp_path / "rows.jsonl", [{"messages": []}])
    (source,) = formats.sources(tmp_path, ignore=("a.b.c", "d"))
    assert source.ignore == ("a.b.c", "d")
    extra = {"a": {"b": {"c": 1, "x": 2}, "c": 3}, "b": {"c": 4}, "c": 5, "d": 6}
    row = formats.read_row(source, 1, {}, (), Record(extra=extra))
    assert row.known().extra == {"a": {"b": {"x": 2}, "c": 3}, "b": {"c": 4}, "c": 5}


def test_a_folder_without_known_rows_names_the_columns_that_it_has(tmp_path: Path) -> None:
    lines(tmp_path / "log.jsonl", [{"step": 1, "loss": 2}])
    with pytest.raises(DataError, match=r"log\.jsonl has the columns step, loss") as raised:
        formats.sources(tmp_path)
    assert "for --layout mine.yaml" in str(raised.value.hint)


def test_of_several_files_one_that_is_not_held_out_is_named(tmp_path: Path) -> None:
    for name in ("b-test", "c d", "e"):
        lines(tmp_path / f"{name}.jsonl", [{"messages": []}])
    with pytest.raises(DataError) as refused:
        formats.only_source(tmp_path)
    assert refused.value.message == f"{tmp_path} has 3 files of rows: b-test.jsonl, c d.jsonl, e.jsonl"
    assert refused.value.hint == f"name one of them: '{tmp_path}/c d.jsonl'"
    for at in range(6):
        lines(tmp_path / f"f{at}.jsonl", [{"messages": []}])
    with pytest.raises(DataError, match=r"has 9 files of rows: b-test.jsonl, .*, f4.jsonl, …$"):
        formats.only_source(tmp_path)


@pytest.mark.parametrize(
    ("ask", "says", "hint"),
    [
        (lambda: formats.get("sfd"), "there is no format sfd", "did you mean 'sft'?"),
        (lambda: formats.get("zzzzzzz"), "there is no format zzzzzzz", "formats are batch, conversation, "),
        (
            lambda: formats.file_for(Path(), "a/b", ".json"),
            "'a/b' cannot name a dataset",
            "use letters, digits, - and _",
        ),
        (lambda: formats.file_for(Path(), ".a", ".json"), "'.a' cannot name a dataset", "use letters, digits, - and _"),
        (lambda: formats.parsed_info(b'{"a": 1}', "x"), "x is not an object with one object per dataset", None),
        (lambda: formats.parsed_info(b"{", "x"), "x cannot be read: ", None),
    ],
)
def test_what_names_no_format_or_dataset_is_refused(ask: Callable[[], Any], says: str, hint: str | None) -> None:
    with pytest.raises(VircError) as refused:
        ask()
    assert refused.value.message.startswith(says)
    assert (hint is None) == (refused.value.hint is None)
    assert (hint or "") in (refused.value.hint or "")


@pytest.mark.parametrize(
    ("name", "content", "says", "hint"),
    [
        ("rows.jsonl", b"", "is of no known format: it is empty", "name a file with rows"),
        ("rows.jsonl", b"{'a': 1}", "its rows are texts of Python's objects; ", "json.dumps(row) writes a row as JSON"),
        ("rows.jsonl", b"\x1f\x8b..", "is compressed with gzip", "gzip -dk "),
        ("rows.jsonl", b'{"a": 1}', "is of no known format: its columns are a; no column is known as the question",
         "printf 'about: mine\\nquestion: COLUMN\\nanswer: COLUMN\\nimages: COLUMN\\n' > mine.yaml"),
        ("rows.bin", b"x", "is of no known format", "formats are batch, "),
    ],
)  # fmt: skip
def test_a_file_of_no_format_is_refused_with_what_may_help(
    name: str, content: bytes, says: str, hint: str, tmp_path: Path
) -> None:
    (tmp_path / name).write_bytes(content)
    with pytest.raises(DataError) as refused:
        formats.only_source(tmp_path / name)
    assert refused.value.message.startswith(f"{tmp_path / name} ")
    assert says in refused.value.message
    assert hint in (refused.value.hint or "")


def test_a_folder_in_place_of_a_file_is_refused_by_every_reader(tmp_path: Path) -> None:
    for name in ("rows.json", "rows.jsonl"):
        (tmp_path / name).mkdir()
        assert [format for format in formats.names() if formats.get(format).recognises(tmp_path / name)] == []
    for format, name in (("conversation", "rows.json"), ("sft", "rows.json"), ("pairs", "rows.json"),
                         ("trajectories", "rows.jsonl"), ("batch", "rows.jsonl")):  # fmt: skip
        source = formats.Source(tmp_path / name, format, "rows")
        with pytest.raises(DataError, match=f"{name} cannot be read: is a directory"):
            next(formats.get(format).read(source))
    (tmp_path / "dataset_info.json").mkdir()
    with pytest.raises(DataError, match=r"dataset_info.json cannot be read: "):
        formats.read_info(tmp_path)


@pytest.mark.parametrize(
    ("state", "says"),
    [("{", "state.json cannot be read: "), ("{}", "state.json has no list _data_files"), ("[]", "has no")],
)
def test_a_saved_dataset_whose_state_says_nothing_is_refused(state: str, says: str, tmp_path: Path) -> None:
    (tmp_path / "state.json").write_text(state)
    with pytest.raises(DataError, match=says):
        next(raw.rows(tmp_path))


@pytest.mark.parametrize(
    ("content", "says"),
    [
        (None, "there is no file "),
        ("", " has no rows"),
        ("{", " is not JSON"),
        ('{"chosen": "a", "rejected": "b"}', "no layout is proposed for pairs of a chosen and a rejected reply"),
    ],
)
def test_a_layout_needs_rows_that_show_one_and_a_free_place(content: str | None, says: str, tmp_path: Path) -> None:
    file = tmp_path / "rows.jsonl"
    if content is not None:
        file.write_text(content)
    with pytest.raises(DataError, match=says):
        proposing.write(proposing.proposed(file), tmp_path / "mine.yaml")
    file.write_text('{"question": "Which?", "answer": "a"}')
    found = proposing.proposed(file)
    (tmp_path / "mine.yaml").write_text("mine")
    with pytest.raises(VircError, match=r"mine.yaml exists"):
        proposing.write(found, tmp_path / "mine.yaml")
    with pytest.raises(VircError, match=f"cannot write {file / 'x'}: "):
        proposing.write(found, file / "x")
    assert (tmp_path / "mine.yaml").read_text() == "mine"
