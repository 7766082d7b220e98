"""Texts that a layout puts around questions, and layouts that the names of files choose."""

import json
from collections.abc import Callable, Mapping
from pathlib import Path

import pytest
from data.test_published_rows import batch
from support import rows_of_thinkers
from support.called import virc

from virc.data.formats import registry as formats
from virc.data.formats.registry import only_source
from virc.models.chat_protocol import of_system
from virc.systems import registry as systems
from virc.systems import texts

AROUND = (
    "{{about: mine, question: q, answer: a, images: image, "
    'around: [{{text: "{}", answers: [A, B]}}, {{text: "Say {{question}}"}}]}}'
)
PROMPTS: Mapping[tuple[str, str], str] = {
    ("count", "3"): "Q? {text:count}",
    ("structure", "B"): "Q? {text:choice}",
    ("structure", "2.5"): "Q? {text:number}",
    ("transform", "change_color(0, 'blue')"): "{text:rules}Q? {text:general}\n",
}


@pytest.mark.parametrize(("answer", "asked"), [("A", "Choose: Why?"), ("B", "Choose: Why?"), ("C", "Say Why?")])
def test_the_text_for_the_answer_stands_around_the_question(answer: str, asked: str, tmp_path: Path) -> None:
    layout = AROUND.format("Choose: {question}")
    found = batch(tmp_path, layout, {"q": "Why?", "a": answer, "image": "a.png"})
    assert found["question"] == asked


def test_a_text_without_a_place_for_the_question_is_refused(tmp_path: Path) -> None:
    (tmp_path / "own.yaml").write_text(f"name: own\nrows:\n  mine: {AROUND.format('Choose')}\n")
    done = virc("systems", "check", tmp_path / "own.yaml")
    assert done.code == 3
    assert "it lacks {question}" in done.out + done.err


def test_published_prompts_are_those_of_the_program() -> None:
    rows = systems.get("reason-rft").rows
    assert {(name, answer): rows[name].asked("Q?", answer) for name, answer in PROMPTS} == PROMPTS


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
