"""What a download looks at before it begins: what is there, which files are meant, and the room they need."""

import errno
import json
import os
import shutil
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import msgspec
import pytest
from support.called import virc

from virc.core.errors import ConfigError, DataError, NetworkError, SetupError
from virc.core.events import Event, Reporter
from virc.core.files import HIDDEN
from virc.download import fetch, protocol_source
from virc.download import workspace as downloaded
from virc.download.fetch import Item, Part, check_room
from virc.download.hub import fetching, record
from virc.download.hub.record import Kept, Record
from virc.download.hub.repository import File, Listing, Repo
from virc.download.meter import Meter
from virc.download.protocol_source import fetch_chat_protocol
from virc.download.wanted import DownloadRequest
from virc.models import registry as models
from virc.models.chat_protocol import read_protocol
from virc.models.registry import EMBEDDED_FOLDER
from virc.reasoning.protocol import FILE_NAME
from virc.systems import registry as systems

NAMES = ("config.json", "model.safetensors", "more/a.json", "more/b/c.json")
SIZE, SPARE = 5_000_000, 2**30
TOTAL, USED = 1 << 40, 0


def item(folder: Path) -> Item:
    """A file that is not there yet."""
    repo, file = Repo("some/data", "dataset"), File("rows.parquet", SIZE)
    return Item(
        DownloadRequest("data", folder, repo), folder, SIZE, listing=Listing(repo, "0" * 40, (file,)),
        parts=(Part(file, "absent"),),
    )  # fmt: skip


def test_what_fits_to_the_byte_is_fetched(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    free = SIZE + SPARE
    monkeypatch.setattr(shutil, "disk_usage", lambda _: shutil._ntuple_diskusage(TOTAL, USED, free))
    check_room([item(tmp_path / "to")])
    free -= 1
    with pytest.raises(SetupError, match=r" has 1\.1 GB free; 5 MB are needed, and 1\.1 GB stay free"):
        check_room([item(tmp_path / "to")])


def test_room_is_for_all_that_comes_to_a_disk(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(shutil, "disk_usage", lambda _: shutil._ntuple_diskusage(TOTAL, USED, SIZE + SPARE))
    with pytest.raises(SetupError, match="10 MB are needed"):
        check_room([item(tmp_path / "one"), item(tmp_path / "other")])


@pytest.mark.parametrize(("stream", "needs"), [(False, "10 MB are needed"), (True, "5 MB are needed")])
def test_an_archive_needs_room_for_what_is_in_it(
    stream: bool, needs: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(shutil, "disk_usage", lambda _: shutil._ntuple_diskusage(TOTAL, USED, SPARE))
    packed = msgspec.structs.replace(item(tmp_path / "to"), parts=(Part(File("images.tar", SIZE), "absent"),))
    with pytest.raises(SetupError, match=needs):
        check_room([packed], stream)


def test_a_folder_of_others_may_be_used_where_all_is_there(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(fetch, "_is_writable", lambda _: False)
    missing = item(tmp_path / "to")
    with pytest.raises(SetupError, match="nothing can be written into"):
        check_room([missing])
    check_room([msgspec.structs.replace(missing, parts=(Part(missing.parts[0].file, "whole"),))])


def test_free_is_that_of_the_disk_of_the_target(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    there = tmp_path / "other disk"
    there.mkdir()

    def usage(place: Path) -> object:
        return shutil._ntuple_diskusage(TOTAL, USED, 7 if place == there else 8)

    monkeypatch.setattr(shutil, "disk_usage", usage)
    assert fetch.fields([item(there / "data")])["free"] == 7
    assert fetch.fields([])["free"] == 8


@pytest.fixture
def listed(monkeypatch: pytest.MonkeyPatch) -> Listing:
    """A repository that the hub lists."""
    found = Listing(Repo("some/model", "model"), "0" * 40, tuple(File(name, 2) for name in NAMES))
    monkeypatch.setattr(fetch, "listed", lambda *_: found)
    return found


def test_a_model_with_a_file_that_was_cut_is_not_here(listed: Listing, tmp_path: Path) -> None:
    folder = tmp_path / "models" / "m"
    (folder / HIDDEN).mkdir(parents=True)
    for name in NAMES[:2]:
        (folder / name).write_bytes(b"{}")
    record.write(folder, Record("some/model", "model", "0" * 40, {name: Kept(2, "git:0", 1) for name in NAMES[:2]}))
    want = DownloadRequest("m", folder, listed.repo, known_as="m")
    found = fetch.look(want, tmp_path)
    assert (found.here, found.commit, found.state, found.folder) == (True, "0" * 40, "present", folder)
    record.write(folder, Record("some/model", "model", "0" * 40, {name: Kept(2, "git:0") for name in NAMES[:2]}))
    assert not fetch.look(want, tmp_path).here, "a copy of it was broken off"
    (folder / NAMES[1]).write_bytes(b"{")
    with pytest.raises(DataError, match="something else is there"):
        fetch.look(want, tmp_path)


def test_a_chat_protocol_that_is_there_is_not_fetched(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    system = systems.get("tiny")
    want = DownloadRequest("m", tmp_path, None, system=system, model=next(iter(system.models.values())))
    monkeypatch.setattr(fetch, "fetch_chat_protocol", lambda *_: tmp_path / FILE_NAME)
    item = Item(want, tmp_path, 0)
    assert fetch.fetch(item, Meter(0, Reporter()), lambda *_: None) == tmp_path / FILE_NAME
    (tmp_path / FILE_NAME).write_text("{}")
    assert fetch.fetch(item, Meter(0, Reporter()), lambda *_: None) is None


SHARDS = ("model-1-of-2.safetensors", "model-2-of-2.safetensors")
INDEX = {"weight_map": {"a": SHARDS[0], "b": SHARDS[1], "c": SHARDS[0]}}


@pytest.mark.parametrize(
    ("files", "index", "is_here"),
    [
        (SHARDS, INDEX, True),
        (SHARDS[:1], INDEX, False),  # a copy that was broken off
        (SHARDS, {"weight_map": []}, False),
        (SHARDS, [], False),
        (("model.safetensors",), None, True),
        (("pytorch_model.bin",), None, True),
        (("model.gguf.part",), None, False),
        ((), None, False),
    ],
)
def test_a_model_elsewhere_is_whole_with_all_its_weights(
    files: tuple[str, ...], index: object, is_here: bool, listed: Listing, tmp_path: Path
) -> None:
    folder = tmp_path / "models" / "mine"
    folder.mkdir(parents=True)
    (folder / "config.json").write_text("{}")
    for name in files:
        (folder / name).write_bytes(b"12")
    if index is not None:
        (folder / "model.safetensors.index.json").write_text(json.dumps(index))
    item = fetch.look(DownloadRequest("m", tmp_path / "to", listed.repo, known_as="mine"), tmp_path)
    assert item.here == is_here
    assert item.folder == (folder if is_here else tmp_path / "to")
    assert item.missing == (0 if is_here else 2 * len(NAMES))


def test_an_adapter_is_no_copy_of_its_model(listed: Listing, tmp_path: Path) -> None:
    folder, base = (tmp_path / "models" / name for name in ("mine", "base"))
    for each, name in ((folder, "adapter_model.safetensors"), (base, "model.safetensors")):
        each.mkdir(parents=True)
        (each / name).write_bytes(b"12")
    (base / "config.json").write_text("{}")
    settings = {"base_model_name_or_path": str(base), "peft_type": "LORA", "r": 4, "lora_alpha": 8}
    (folder / "adapter_config.json").write_text(json.dumps(settings))
    assert models.find("mine", tmp_path).adapter == folder
    assert not fetch.look(DownloadRequest("m", tmp_path / "to", listed.repo, known_as="mine"), tmp_path).here


@pytest.mark.parametrize(
    ("include", "chosen"),
    [
        (("*.json",), ["config.json", "more/a.json", "more/b/c.json"]),
        (("more/*",), ["more/a.json", "more/b/c.json"]),
        (("model.safetensors", "more/b/"), ["model.safetensors", "more/b/c.json"]),
    ],
)
def test_files_to_include_are_globs(
    include: tuple[str, ...], chosen: list[str], listed: Listing, tmp_path: Path
) -> None:
    item = fetch.look(DownloadRequest("m", tmp_path / "m", listed.repo, include=include), tmp_path)
    assert sorted(part.file.name for part in item.parts) == chosen


@pytest.mark.parametrize(
    ("include", "hint"),
    [
        ("0000", "there are config.json, model.safetensors, more/a.json"),
        ("modle.safetensors", "there are model.safetensors, more/a.json, more/b/c.json"),
        ("config.jsonl", "there are config.json, more/a.json, more/b/c.json"),
        ("b/c*", "there is more/b/c.json"),
    ],
)
def test_a_glob_that_matches_nothing_is_told_with_what_is_near(
    include: str, hint: str, listed: Listing, tmp_path: Path
) -> None:
    with pytest.raises(DataError, match=r"no file of .* matches") as refused:
        fetch.look(DownloadRequest("m", tmp_path / "m", listed.repo, include=("*.json", include)), tmp_path)
    assert refused.value.hint == hint


@pytest.mark.parametrize(("state", "missing"), [("absent", 1), ("old", 1), ("unsure", 0), ("whole", 0)])
def test_what_came_of_a_file_before_need_not_come_again(
    state: str, missing: int, listed: Listing, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(fetching, "LARGE", 2)
    monkeypatch.setattr(fetch.Folder, "state", lambda *_: state)
    monkeypatch.setattr(fetch, "kept", lambda *_: 1)
    assert fetch.look(DownloadRequest("m", tmp_path / "m", listed.repo), tmp_path).missing == missing * len(NAMES)


def test_a_config_that_cannot_be_read_first_stops_no_download(
    listed: Listing, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked = list[str]()

    def small(repo: Repo, commit: str, file: File) -> bytes:
        asked.append(file.name)
        if len(asked) > 1:
            raise NetworkError("away")
        return b"{}"

    monkeypatch.setattr(fetch, "small_file", small)
    found = fetch.look(DownloadRequest("m", tmp_path / "m", listed.repo), tmp_path)
    assert fetch.with_config(found) == msgspec.structs.replace(found, config=b"{}")
    assert fetch.with_config(found) == found
    of_judge = fetch.look(DownloadRequest("m", tmp_path / "m", listed.repo, judge=True), tmp_path)
    assert fetch.with_config(of_judge) == of_judge
    assert asked == ["config.json"] * 2


def test_offline_only_the_same_paths_of_the_same_commit_are_known(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    repo, other = Repo("o/n", "dataset", "github"), Repo("o/m", "dataset", "github")
    want = DownloadRequest("a", tmp_path, repo, "v1", paths=("a",))
    commit, whole = "1" * 40, Kept(2, "git:0", 1)
    (tmp_path / HIDDEN).mkdir()
    record.write(tmp_path, Record("o/n", "dataset", commit, {"a": whole}, True, "github", (fetch._asked(want),)))
    assert fetch._listing_offline(want) is None  # the network may be asked
    monkeypatch.setattr(fetch, "is_offline", lambda: True)
    assert fetch._listing_offline(want) == Listing(repo, commit, (record.wanted_file("a", whole),))
    for fields in ({"paths": ("a", "b")}, {"revision": "v2"}, {"rows": ("a",)}, {"include": ("a",)}, {"repo": other}):
        assert fetch._listing_offline(msgspec.structs.replace(want, **fields)) is None


def test_what_is_in_no_repository_is_listed_as_a_model(tmp_path: Path) -> None:
    (found,) = fetch.fields([Item(DownloadRequest("m", tmp_path, None, "v1"), tmp_path, 7, "c", here=True)])["items"]  # type: ignore[misc]
    assert found == {
        "name": "m", "kind": "model", "repo": None, "revision": "v1", "commit": "c", "folder": str(tmp_path),
        "bytes": 7, "missing": 0, "state": "present", "files": [],
    }  # fmt: skip


def test_the_chat_protocol_to_include_is_none_of_the_hub(
    listed: Listing, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    model = next(iter(systems.get("tiny").models.values()))
    want = DownloadRequest("m", tmp_path / "m", listed.repo, include=(FILE_NAME,), model=model)
    found = fetch.look(want, tmp_path)
    assert found.parts == ()
    (tmp_path / "m").mkdir()
    monkeypatch.setattr(fetching, "fetch", lambda *_: pytest.fail("it is fetched"))
    assert fetch.fetch(found, Meter(0, Reporter()), lambda *_: pytest.fail("it is said")) is None
    with pytest.raises(DataError, match=f"matches {FILE_NAME}"):
        fetch.look(DownloadRequest("m", tmp_path / "m", listed.repo, include=(FILE_NAME,)), tmp_path)


def test_what_cannot_come_is_said_before_anything_does(
    listed: Listing, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(ConfigError, match="file is not a folder"):
        fetch.look(DownloadRequest("m", tmp_path / "file" / "m", listed.repo), tmp_path)
    with pytest.raises(ConfigError, match="m is not on this machine"):
        fetch.look(DownloadRequest("m", tmp_path / "m", None), tmp_path)
    judge = fetch.look(DownloadRequest("m", tmp_path / "m", listed.repo, optional=True, gib=1.5), tmp_path)
    assert (judge.state, judge.missing, judge.parts) == ("missing", 3 * 2**29, ())
    monkeypatch.setattr(fetch, "listed", lambda *_: Listing(listed.repo, "0" * 40, ()))
    with pytest.raises(DataError, match="holds no files"):
        fetch.look(DownloadRequest("m", tmp_path / "m", listed.repo), tmp_path)
    monkeypatch.setattr(os, "access", lambda *_, **__: False)
    with pytest.raises(SetupError, match="nothing can be written into"):
        check_room([item(tmp_path / "to")])


@pytest.mark.parametrize(
    ("config", "says"),
    [
        (b'{"model_type": "llava_onevision"}', "some/model"),
        (b'{"model_type": "qwen2_5_vl"}', None),
        (b'{"model_type": null}', None),
        (b"{}", None),
        (b"[]", None),
        (b"no JSON", None),
        (None, None),
    ],
)
def test_a_model_that_does_not_run_here_is_known_by_its_config(config: bytes | None, says: str | None) -> None:
    want = DownloadRequest("m", Path("m"), Repo("some/model", "model"))
    error = fetch.not_in_process_error(Item(want, Path("m"), 0, config=config))
    assert (says is None) == (error is None)
    assert error is None or says in error.message


@pytest.mark.parametrize(("number", "raised"), [(errno.ENOSPC, SetupError), (errno.EDQUOT, SetupError), (5, OSError)])
def test_a_full_disk_is_told_from_a_broken_one(
    number: int, raised: type[Exception], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def bring(*_: object) -> None:
        raise OSError(number, os.strerror(number))

    monkeypatch.setattr(fetching, "_fetch_file", bring)
    monkeypatch.setattr(fetching, "_fetch_small_files", lambda *_: None)
    listing = Listing(Repo("some/data", "dataset"), "0" * 40, (File("rows.parquet", SIZE),))
    with pytest.raises(raised, match="the disk of .* is full" if raised is SetupError else None) as error:
        fetching.fetch(tmp_path / "to", listing, listing.files, Meter(0, Reporter()))
    assert type(error.value) is raised


FOUND = SimpleNamespace(
    notes=("no row shows what follows an error", "no row scales an image"),
    protocol=read_protocol(EMBEDDED_FOLDER / FILE_NAME),
)


@pytest.mark.parametrize(
    ("raised", "said"),
    [
        (None, "the chat protocol of m: no row shows what follows an error"),
        (NetworkError("the hub is away"), "no chat protocol for m: the hub is away"),
        (PermissionError(13, "Permission denied"), "no chat protocol for m: permission denied"),
    ],
)
def test_a_model_without_its_chat_protocol_is_said_and_whole(
    raised: Exception | None, said: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def found(*_: object) -> Any:
        if raised:
            raise raised
        return FOUND

    monkeypatch.setattr(protocol_source, "_found", found)
    system, told = systems.get("virc"), list[tuple[str, str | None]]()
    model, folder = system.models["ViRC-7B"], tmp_path / "m"
    folder.mkdir()
    made = fetch_chat_protocol(system, model, folder, lambda *words: told.append(words))
    file = folder / FILE_NAME
    assert made == (None if raised else file)
    assert file.exists() != bool(raised)
    message, hint = told[0]
    notes = [] if raised else [("the chat protocol of m: no row scales an image", hint)]
    assert (message, told[1:]) == (said, notes)
    assert f"virc data protocol ROWS --to {file} finds it" in (hint or "")
    assert "virc data protocol ROWS --to" in (hint or "")
    assert ("the weights are whole" in (hint or "")) == bool(raised)
    if not raised:  # what is there is kept, and asks nobody
        monkeypatch.setattr(protocol_source, "_found", lambda *_: pytest.fail("it asks"))
        assert fetch_chat_protocol(system, model, folder, lambda *_: pytest.fail("it is said")) == file


def test_rows_that_show_a_chat_protocol_are_those_of_the_commit_that_the_system_names(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked = list[Any]()

    def listing(*given: object) -> Listing:
        asked.append(given)
        raise NetworkError("away")

    monkeypatch.setattr(protocol_source, "listed", listing)
    system = systems.get("virc")
    given = {
        name: systems.Dataset(github=f"o/{name}", revision="1" * 40, files=(f"{name}.json",))
        for name in ("pixel", "permille")
    }
    system = msgspec.structs.replace(
        system, datasets=given, protocol_source={name: f"{name}/{name}.json" for name in given}
    )
    for model, name in (("ViRC-7B", "pixel"), ("ViRC-Qwen2VL-7B", "permille")):
        assert fetch_chat_protocol(system, system.models[model], tmp_path, lambda *_: None) is None
        assert asked.pop() == (Repo(f"o/{name}", "dataset", "github"), "1" * 40, (f"{name}.json",))


def test_of_rows_that_show_a_chat_protocol_the_beginning_is_read(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    ranges, told = list[tuple[int, int]](), list[str]()

    class Reader:
        def __init__(self, _link: object, begins: int, ends: int) -> None:
            ranges.append((begins, ends))
            self.left = [b"", b"no rows"]
            self.read = self.left.pop

        def __enter__(self) -> "Reader":
            return self

        def __exit__(self, *_: object) -> None:
            pass

    monkeypatch.setattr("virc.download.hub.link.Reader", Reader)
    monkeypatch.setattr("virc.download.hub.link.Link", lambda *_: None)
    system = systems.get("virc")
    system = msgspec.structs.replace(
        system, datasets={"d": systems.Dataset(hub="o/n")},
        protocol_source=dict.fromkeys(system.protocol_source, "d/a.json"),
    )  # fmt: skip
    for size in (5 * 2**20, 7):
        found = Listing(Repo("o/n", "dataset"), "1" * 40, (File("a.json", size),))
        monkeypatch.setattr(protocol_source, "listed", lambda *_, found=found: found)
        model = system.models["ViRC-7B"]
        assert fetch_chat_protocol(system, model, tmp_path, lambda text, _: told.append(text)) is None
    assert ranges == [(0, 2**20), (0, 7)]
    assert {text.partition(": ")[2] for text in told} == {"a.json of o/n is of no known format"}


def test_a_dataset_that_a_system_does_not_name_is_said(tmp_path: Path) -> None:
    system = systems.get("virc")
    source = dict.fromkeys(system.protocol_source, "gone/rows")
    told: list[str] = []
    model = system.models["ViRC-7B"]
    assert fetch_chat_protocol(
        msgspec.structs.replace(system, protocol_source=source), model, tmp_path, lambda text, _: told.append(text)
    ) is None  # fmt: skip
    assert told[0].endswith("names no dataset 'gone'")


def test_what_came_is_told_of_all_things_together(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    given: list[tuple[Any, ...]] = []
    monkeypatch.setattr(fetch, "fetch", lambda item, *how: given.append(how[2:]) or item.folder / FILE_NAME)
    events: list[Event] = []
    items = [item(tmp_path / "one"), item(tmp_path / "other")]
    fetch.fetch_all(items, Reporter(events.append), keep=True, packed=True)
    assert given == [(True, False, True)] * 2
    assert [each.text for each in events] == [
        *(f"written: {name}/{FILE_NAME}, the chat protocol of the model" for name in ("one", "other")),
        "fetched and verified: 10 MB in 1 s",
    ]
    fetch.fetch_all([], Reporter(events.append))
    assert len(events) == 3


def test_what_cannot_be_verified_or_is_refused_is_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(fetching, "fetch", lambda *_: None)
    kinds = {"sha256": {"sha256": "a", "git": "b"}, "git": {"git": "b"}, "size": {}}
    files = [File(name, 1, **hashes) for name, hashes in kinds.items()]
    assert [fetch.verified_by(each) for each in files] == list(kinds)
    one = item(tmp_path)
    assert one.listing
    told: list[str] = []
    for refused, said in ((("../a",), "../a: not fetched"), (("../a", "/b", "c"), "../a, and 2 more: not fetched")):
        listing = msgspec.structs.replace(one.listing, refused=refused)
        parts = tuple(Part(each, "absent") for each in (*files, File("x", 1)))
        fetch.fetch(
            msgspec.structs.replace(one, listing=listing, parts=parts), Meter(0, Reporter()),
            lambda text, _: told.append(text),
        )  # fmt: skip
        assert told[-2:] == ["size, x: no hash is listed for it; its size alone is checked", said]


def test_a_model_of_no_system_has_no_rows_to_read(tmp_path: Path) -> None:
    system = systems.get("virc")
    model = next(iter(system.models.values()))
    for which in ((None, None), (system, None), (None, model), (systems.get("tiny"), model)):
        assert fetch_chat_protocol(*which, tmp_path, lambda *_: pytest.fail("it is said")) is None


@pytest.mark.parametrize(
    ("words", "used", "code", "says"),
    [
        ((), [], 2, "no terminal to ask on"),
        ((), ["run"], 3, "run started from m"),
        (("--yes",), ["run"], 0, "removed"),
        (("--yes", "--json"), [], 0, "removed"),
    ],
)
def test_nothing_is_deleted_that_nobody_agreed_to(
    words: tuple[str, ...], used: list[str], code: int, says: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    folder = tmp_path / "models" / "m"
    folder.mkdir(parents=True)
    (folder / "model.safetensors").write_bytes(b"12345")
    removed: list[Path] = []
    for name, value in {
        "find": lambda name, workspace: SimpleNamespace(name=name, folder=folder),
        "check_removable": lambda found: None, "used_by": lambda found, workspace: used,
        "sweep": lambda workspace: None, "remove": lambda found: removed.append(found.folder),
    }.items():  # fmt: skip
        monkeypatch.setattr(downloaded, name, value)
    done = virc("download", "rm", "m", "m", *words)
    assert (done.code, says in done.err) == (code, True)
    assert removed == ([folder] if code == 0 else [])  # once, however often it is named
    if "--json" in words:
        assert (done.json["removed"], done.json["bytes"]) == ([str(folder)], 5)
