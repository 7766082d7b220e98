"""Rows are trained with their images as solving shows them."""

import base64
import hashlib
import json
import os
import subprocess
from collections import Counter
from pathlib import Path
from typing import Any

import msgspec
import pytest
from PIL import Image
from stage_rows import chat_protocol, request
from support.engine_python import interpreter
from support.picture_kinds import KINDS, write

from virc.data.check.images import file_of
from virc.data.formats.registry import only_source
from virc.models.registry import EMBEDDED_FOLDER
from virc.reasoning.images import open_image
from virc.training.preflight import lengths as counted
from virc.training.preflight import sft
from virc.training.preflight.lengths import Counted
from virc.training.preflight.types import Result

WHY = Counter(kind.why for kind in KINDS.values() if kind.why)


def rows_of_kinds(folder: Path, **more: Any) -> Path:
    """A file with a row for each kind of picture."""
    turns = [{"role": "user", "content": "<image>What is it?"}, {"role": "assistant", "content": "a box"}]
    names = write(folder / "images")
    rows = [{"id": name, "messages": turns, "images": [f"images/{file}"], **more} for name, file in names.items()]
    file = folder / "rows.jsonl"
    file.write_text("".join(json.dumps(row) + "\n" for row in rows))
    chat_protocol(folder, system="")
    return file


def files(found: Result) -> dict[Any, str]:
    """The file that LLaMA-Factory opens for each row, by the row's id."""
    source = only_source(found.file)
    records = [row.known() for row in source.rows()]
    return {record.id: file_of(record.images[0]) for record in records}


def plain(file: str | Path) -> Image.Image:
    """A picture as LLaMA-Factory opens it."""
    with Image.open(file) as image:
        return image.convert("RGB")


def test_every_kind_of_picture_is_trained_as_it_is_solved(tmp_path: Path) -> None:
    file = rows_of_kinds(tmp_path / "rows")
    found = sft.check(request(file, folder=tmp_path / "run"))
    assert (found.rewritten, found.rows, found.images) == (WHY, len(KINDS), len(KINDS))
    for name, taken in files(found).items():
        own = file.parent / "images" / Path(taken).name
        assert own.is_file() == (not KINDS[name].why), "what differs is written, and nothing else"
        image, ours = plain(taken), open_image(KINDS[name].data, name)
        assert (image.size, image.tobytes()) == (ours.size, ours.tobytes()), name
    written = [each.name for each in (tmp_path / "run" / "images").iterdir()]
    again = sft.check(request(file, folder=tmp_path / "again", workers=2))
    assert sorted(written) == sorted(each.name for each in (tmp_path / "again" / "images").iterdir())
    assert {Path(each).name for each in files(again).values()} == {Path(each).name for each in files(found).values()}
    assert sft.check(request(found.file)).rewritten == {}, "rows that were written are taken as they are"


@pytest.mark.integration
def test_pictures_within_rows_are_written_too_and_not_kept(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    kept: list[Counted] = []
    count = counted.count
    monkeypatch.setattr(counted, "count", lambda into, *args: kept.append(into) or count(into, *args))
    rows = [
        {"messages": [
            {"role": "user", "content": [
                {"type": "image_url", "image_url": {"url": f"data:;base64,{base64.b64encode(kind.data).decode()}"}},
                {"type": "text", "text": "What is it?"}]},
            {"role": "assistant", "content": name}]}
        for name, kind in KINDS.items() for _ in "ab"
    ]  # fmt: skip
    (tmp_path / "rows.jsonl").write_text("\n".join(map(json.dumps, rows)))
    found = sft.check(request(tmp_path / "rows.jsonl", folder=tmp_path / "run", workers=2))
    assert found.rewritten == Counter({why: 2 * number for why, number in WHY.items()})
    keys = [key for each in kept[0].lengths for key in each.differ]
    assert (len(keys), {(type(key), len(key)) for key in keys}) == (2 * WHY.total(), {(bytes, 16)})
    source = only_source(found.file)
    records = [row.known() for row in source.rows()]
    for record in records:
        ours = open_image(KINDS[record.messages[-1].content].data, "it")
        assert plain(file_of(record.images[0])).tobytes() == ours.tobytes()
    assert len(list((tmp_path / "run" / "images").iterdir())) <= len(KINDS)


@pytest.mark.engine
def test_the_processor_in_llamafactory_gets_the_pixels_of_solving(tmp_path: Path) -> None:
    file, python = rows_of_kinds(tmp_path / "rows"), interpreter("sft")
    found = sft.check(request(file, folder=tmp_path / "run"))
    ours = {name: open_image(kind.data, name) for name, kind in KINDS.items()}
    expected = [[*each.size, hashlib.sha256(each.tobytes()).hexdigest()] for each in ours.values()]
    assert processed(found, python, tmp_path / "shown") == expected
    as_stored = processed(msgspec.structs.replace(found, file=file, media=file.parent), python, tmp_path / "stored")
    assert [each != own for each, own in zip(as_stored, expected, strict=True)] == [
        bool(kind.why) for kind in KINDS.values()
    ]


def processed(found: Result, python: Path, folder: Path) -> Any:
    """(width, height) and a digest of the pixels of each image that LLaMA-Factory hands its processor."""
    folder.mkdir()
    entry = {**found.entry, "file_name": str(found.file)}
    (folder / "dataset_info.json").write_text(json.dumps({"rows": entry}))
    settings = {
        "model_name_or_path": str(EMBEDDED_FOLDER), "template": "qwen2_vl", "stage": "sft", "do_train": True,
        "finetuning_type": "full", "dataset": "rows", "dataset_dir": str(folder), "media_dir": str(found.media),
        "cutoff_len": 2048, "image_min_pixels": 3136, "image_max_pixels": 12_845_056, "overwrite_cache": True,
        "output_dir": str(folder / "out"), "use_cpu": True, "report_to": "none",
    }  # fmt: skip
    (folder / "engine.yaml").write_text(json.dumps(settings))
    there = {**os.environ, "OMP_NUM_THREADS": "1", "HF_HUB_OFFLINE": "1", "HF_DATASETS_CACHE": str(folder / "cache")}
    script = Path(__file__).with_name("shown_child.py")
    done = subprocess.run([python, script, folder / "engine.yaml"], env=there, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr[-3000:]
    return json.loads(done.stdout.splitlines()[-1])
