"""Texts that systems put around questions of their rows, and layouts that the names of files choose."""

import json
from collections.abc import Callable, Mapping
from pathlib import Path

import pytest
from support import rows_of_thinkers
from support.called import virc

from virc.core import plugins
from virc.data.formats import registry as formats
from virc.data.formats.registry import only_source
from virc.models.chat_protocol import of_system
from virc.systems import registry as systems
from virc.systems import texts

PROMPTS: Mapping[tuple[str, str], str] = {
    ("count", "3"): "Q? {text:count}",
    ("structure", "B"): "Q? {text:choice}",
    ("structure", "2.5"): "Q? {text:number}",
    ("transform", "change_color(0, 'blue')"): "{text:rules}Q? {text:general}\n",
}


def test_published_prompts_are_those_of_the_program() -> None:
    system = systems.get("reason-rft")
    rewrite = plugins.loaded(system.file.with_name("rows.py")).rows
    for (name, answer), asked in PROMPTS.items():
        (row,) = rewrite({"problem": "Q?", "solution": answer}, 1, name, system.file.parent)
        assert row["problem"] == texts.filled(asked, system.file.parent), name


@pytest.mark.parametrize(
    ("write", "name", "begin", "end"),
    [
        (rows_of_thinkers.reason_rft_count, "count", "How many squares", " {text:count}"),
        (rows_of_thinkers.reason_rft_structure, "structure", "Which is it?", " {text:choice}"),
        (rows_of_thinkers.reason_rft_transform, "transform", "{text:rules}", " {text:general}\n"),
    ],
)
def test_the_name_of_a_file_chooses_its_layout(
    write: Callable[[Path], Path], name: str, begin: str, end: str, tmp_path: Path
) -> None:
    system = systems.get("reason-rft")
    source = only_source(write(tmp_path), system)
    assert source.laid_out
    assert source.laid_out.name == name
    record = next(iter(formats.get(source.format).read(source))).record
    assert record
    asked = record.question or ""
    assert asked.startswith(texts.filled(begin, system.file.parent))
    assert asked.endswith(texts.filled(end, system.file.parent))
    assert of_system(system).protocol.first_around(asked) == "{question}"  # it says itself how to answer


@pytest.mark.parametrize(
    ("name", "write"),
    [
        ("reason-rft", rows_of_thinkers.reason_rft_structure),
        ("curr-reft", rows_of_thinkers.curr_reft_reject),
        ("reasonmap", rows_of_thinkers.reasonmap),
    ],
)
def test_a_copy_of_a_system_reads_its_rows_alike(name: str, write: Callable[[Path], Path], tmp_path: Path) -> None:
    assert virc("systems", "cp", name, tmp_path / "mine.yaml").code == 0
    assert virc("systems", "cp", tmp_path / "mine.yaml", tmp_path / "more.yaml").code == 0  # and a copy of a copy
    assert virc("systems", "check", tmp_path / "more.yaml").code == 0
    assert (tmp_path / "more.yaml").read_text().count("rows_of:") == 1
    file = write(tmp_path)
    sources = [only_source(file, system) for system in (systems.get(name), systems.load(tmp_path / "more.yaml"))]
    own, copied = ([row.record for row in formats.get(source.format).read(source)] for source in sources)
    assert own == copied != []


def test_rows_are_rewritten_by_no_system_that_does_not(tmp_path: Path) -> None:
    (tmp_path / "rows.py").write_text("raise SystemExit('a stranger runs')")
    for named, said in {"tiny": "the system tiny has no rows.py", "reason-ftr": "did you mean 'reason-rft'"}.items():
        (tmp_path / "mine.yaml").write_text(f"name: mine\nrows_of: {named}\n")
        done = virc("systems", "check", tmp_path / "mine.yaml")
        assert (done.code, said in done.err + done.out, "mine.yaml:2" in done.err + done.out) == (3, True, True)
    (tmp_path / "mine.yaml").write_text("name: mine\n")
    assert systems.load(tmp_path / "mine.yaml").rewriting() is None


def test_a_file_of_another_name_has_a_shared_layout(tmp_path: Path) -> None:
    file = rows_of_thinkers.reason_rft_count(tmp_path).rename(tmp_path / "train.json")
    done = virc("data", "convert", file, "--system", "reason-rft", "--to", tmp_path / "to", "--format", "batch")
    assert done.code == 0, done.err
    row = json.loads((tmp_path / "to" / "train.jsonl").read_text().splitlines()[0])
    assert row["question"] == "How many squares are there?"


@pytest.mark.parametrize(
    ("stage", "name", "text"),
    [
        ("judge", "judge_v2_coco_train", "judge"),
        ("judge", "addition_coco_judge_detection", "judge"),
        ("choice", "choice_classify_v2_coco_val", "letters"),
        ("choice", "choice_detection_coco_train", "letter"),
        ("choice", "math_choice_v2_math_train", "letter"),
        ("open", "detection_coco_train", "box"),
        ("open", "coco_vqa_coco_vqa_train", "vqa"),
        ("open", "classify_v2_coco_train", "user"),
        ("open", "math_math_test", "user"),
    ],
)
def test_problems_of_curr_reft_are_asked_by_their_published_files(
    stage: str, name: str, text: str, tmp_path: Path
) -> None:
    system = systems.get("curr-reft")
    source = only_source(rows_of_thinkers.curr_reft(tmp_path, stage).rename(tmp_path / f"{name}.jsonl"), system)
    found = [row.record.question for row in formats.get(source.format).read(source) if row.record]
    end = texts.text(system.file.parent, text)
    assert found == [f"{question} {end}" for question, _ in rows_of_thinkers.CURR_REFT[stage].values()]
    assert of_system(system).protocol.first_around(found[0] or "") == "{question}"
