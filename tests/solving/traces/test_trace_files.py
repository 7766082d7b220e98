"""`write_trace`: what the folder holds, and that it appears whole or not at all."""

import errno
import json
import os
from collections.abc import Callable
from importlib.resources import files
from pathlib import Path
from typing import Any

import jsonschema
import msgspec
import pytest
from PIL import Image
from problems import META, Problem, interrupted, solved

from virc.core.errors import UsageError, VircError
from virc.reasoning.trace import Trace
from virc.solving.traces.files import check_folder, write_trace

NAMES = {"conversation.json", "trace.json", "index.html"}


def write(folder: Path, problem: Problem) -> None:
    write_trace(folder, *problem, META)


def snapshot(folder: Path) -> dict[str, bytes | None]:
    return {str(path.relative_to(folder)): path.read_bytes() if path.is_file() else None for path in folder.rglob("*")}


def read(path: Path) -> Any:
    return json.loads(path.read_bytes())


def schema() -> Any:
    return json.loads(files("virc").joinpath("core/schemas/trace.json").read_text())


def test_folder_holds_conversation_record_page_and_every_image_as_shown(tmp_path: Path) -> None:
    trace, images = solved()
    write(tmp_path / "made" / "here", (trace, images))
    folder = tmp_path / "made" / "here"
    assert {path.name for path in folder.iterdir()} == NAMES | {f"image-{n}.png" for n in range(len(images))}
    for index, shown in enumerate(images):
        with Image.open(folder / f"image-{index}.png") as image:
            assert image.convert("RGB").tobytes() == shown.pixels.tobytes()
            assert image.size == shown.size


def test_conversation_has_the_published_layout(tmp_path: Path) -> None:
    trace, images = solved()
    write(tmp_path / "t", (trace, images))
    turns = read(tmp_path / "t" / "conversation.json")
    assert [turn["role"] for turn in turns] == ["user", "assistant"] * 4
    assert [turn["content"] for turn in turns] == [message.text for message in trace.messages[1:]]
    assert [turn.get("image") for turn in turns[::2]] == [f"image-{n}.png" for n in (0, 2, 3, 4)]
    assert turns[0]["images"] == ["image-0.png", "image-1.png"]
    assert all(set(turn) == {"role", "content", "image"} for turn in turns[2::2])
    assert all(set(turn) == {"role", "content"} for turn in turns[1::2])


@pytest.mark.parametrize("make", [solved, interrupted])
def test_record_follows_its_schema_and_gives_the_trace_back(tmp_path: Path, make: Callable[[], Problem]) -> None:
    trace, images = make()
    write(tmp_path / "t", (trace, images))
    record = read(tmp_path / "t" / "trace.json")
    jsonschema.Draft202012Validator.check_schema(schema())
    jsonschema.validate(record, schema())
    assert msgspec.convert(record, Trace) == trace
    assert record["schema"] == "virc.trace/2"
    assert {key: record[key] for key in META} == META


def test_text_of_any_kind_survives_and_stays_readable(tmp_path: Path) -> None:
    trace, images = solved("Wie groß ist ∠H — 角度?")
    odd = msgspec.structs.replace(trace, answer="lone \ud83d, \x00 and \u202e")
    write(tmp_path / "t", (odd, images))
    raw = (tmp_path / "t" / "trace.json").read_bytes()
    assert "groß ist ∠H — 角度" in raw.decode("utf-8")
    assert json.loads(raw)["answer"] == odd.answer
    assert "∠H — 角度" in (tmp_path / "t" / "conversation.json").read_text("utf-8")
    assert "∠H — 角度" in (tmp_path / "t" / "index.html").read_text("utf-8")


def test_former_trace_is_replaced_whole(tmp_path: Path) -> None:
    folder = tmp_path / "traces" / "t"
    write(folder, solved())
    trace, images = interrupted()
    write(folder, (trace, images))
    assert {path.name for path in folder.iterdir()} == NAMES | {"image-0.png", "image-1.png"}
    assert read(folder / "trace.json")["failure"]["kind"] == "interrupted"
    assert list(folder.parent.iterdir()) == [folder]


def _others(folder: Path) -> None:
    folder.mkdir()
    (folder / "notes.txt").write_text("mine")


def _trace_and_notes(folder: Path) -> None:
    write(folder, solved())
    (folder / "notes.txt").write_text("mine")


def _names_of_a_trace(folder: Path) -> None:
    folder.mkdir()
    (folder / "trace.json").write_text('{"schema": "another/1"}')


def _image_folder(folder: Path) -> None:
    write(folder, solved())
    (folder / "image-7.png").mkdir()
    (folder / "image-7.png" / "precious").write_text("mine")


@pytest.mark.parametrize("name", ["trace.json.bak", "my-image-1.png"])
def test_a_file_with_nearly_a_name_of_a_trace_is_kept(tmp_path: Path, name: str) -> None:
    write(tmp_path / "t", solved())
    (tmp_path / "t" / name).write_text("mine")
    with pytest.raises(UsageError, match=f"holds something else than a trace: {name}"):
        write(tmp_path / "t", interrupted())
    assert (tmp_path / "t" / name).read_text() == "mine"


@pytest.mark.parametrize("prepare", [_others, _trace_and_notes, _names_of_a_trace, _image_folder])
def test_anything_but_a_former_trace_is_refused_and_untouched(tmp_path: Path, prepare: Callable[[Path], None]) -> None:
    prepare(tmp_path / "t")
    before = snapshot(tmp_path)
    with pytest.raises(UsageError, match=r"t (holds|is a file)") as refusal:
        write(tmp_path / "t", interrupted())
    assert refusal.value.hint
    assert snapshot(tmp_path) == before


@pytest.mark.parametrize("name", [".", "inner/.."])
def test_current_folder_and_those_above_are_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str) -> None:
    (tmp_path / "here" / "inner").mkdir(parents=True)
    monkeypatch.chdir(tmp_path / "here")
    with pytest.raises(UsageError, match="current folder"):
        check_folder(Path(name))


def _fail_at(monkeypatch: pytest.MonkeyPatch, method: str, call: int) -> None:
    """Let the given call of a Path method say that the disk is full."""
    calls, real = [0], getattr(Path, method)

    def wrapped(self: Path, *arguments: object) -> object:
        calls[0] += 1
        if calls[0] == call:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        return real(self, *arguments)

    monkeypatch.setattr(Path, method, wrapped)


@pytest.mark.parametrize(("method", "call"), [("write_bytes", 3), ("rename", 1), ("rename", 2)])
def test_failure_midway_leaves_the_former_trace_and_no_litter(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, method: str, call: int
) -> None:
    write(tmp_path / "t", solved())
    before = snapshot(tmp_path)
    _fail_at(monkeypatch, method, call)
    with pytest.raises(VircError, match=r"cannot write the trace to .*no space left"):
        write(tmp_path / "t", interrupted())
    assert snapshot(tmp_path) == before


def test_interruption_midway_leaves_no_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def interrupt(self: Path, data: bytes) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(Path, "write_bytes", interrupt)
    with pytest.raises(KeyboardInterrupt):
        write(tmp_path / "traces" / "t", solved())
    assert list((tmp_path / "traces").iterdir()) == []


def test_folder_appears_only_when_it_is_complete(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    seen, real = [], Path.rename

    def watched(self: Path, target: Path) -> Path:
        seen.append(((tmp_path / "t").exists(), {path.name for path in self.iterdir()}))
        return real(self, target)

    monkeypatch.setattr(Path, "rename", watched)
    write(tmp_path / "t", interrupted())
    assert seen == [(False, NAMES | {"image-0.png", "image-1.png"})]
