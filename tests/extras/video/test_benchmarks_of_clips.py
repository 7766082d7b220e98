"""Published benchmarks of clips and documents: their rows are read, asked and scored as the authors do."""

import io
import json
from collections.abc import Mapping
from importlib import import_module
from pathlib import Path
from typing import Any, NamedTuple

import pytest
from extras.benchmarks.published import parquet
from extras.video.drawn_clips import KINDS, painted
from extras.video.drawn_documents import scanned
from extras.video.test_media_end_to_end import shown
from support.called import virc
from support.servers import serve
from support.solving import answer

from virc.core import entry_points

AGREEMENT = Path(__file__).parent / "agreement"
MIN_CASES = 200
LETTERS = ["A. red", "B. blue", "C. green", "D. grey"]
MODULES = {
    name: module
    for name, module in entry_points.own("virc.benchmarks").items()
    if module.startswith("virc_extras.video")
}


class Case(NamedTuple):
    """A row as published, its file, the files it names, a right reply, what is shown, and the figures of the reply."""

    row: Mapping[str, Any]
    file: str
    clips: Mapping[str, bytes]
    reply: str
    seen: list[str | int]
    measures: Mapping[str, float] = {}


def page(number: int) -> bytes:
    file = io.BytesIO()
    painted(number).save(file, "PNG")
    return file.getvalue()


def clip() -> bytes:
    return KINDS["B-frames"]().data


WHOLE: list[str | int] = ["Frame 1 at 0:00:", 0, "Frame 2 at 0:01.97:", 59]
PART: list[str | int] = ["Frame 1 at 0:00.5:", 14, "Frame 2 at 0:01:", 29]
SPANS = {"mean IoU": 0.5, "R@0.3": 1.0, "R@0.5": 1.0, "R@0.7": 0.0}
CASES: dict[str, Case] = {
    "video-mme": Case(
        {"videoID": "x1", "question_id": "001-1", "question": "Which?", "options": LETTERS, "answer": "B",
         "duration": "short", "domain": "Knowledge", "task_type": "OCR Problems"},
        "videomme/test-00000-of-00001.parquet", {"data/x1.mp4": clip()}, "The best answer is: B.", WHOLE,
    ),
    "longvideobench": Case(
        {"id": "a_0", "video_path": "a.mp4", "question": "Which?", "candidates": ["red", "blue"], "correct_choice": 1,
         "duration_group": 15, "question_category": "S2E"},
        "lvb_val.json", {"videos/a.mp4": clip()}, "none of them", WHOLE, {"with random choices": 0.5},
    ),
    "mvbench": Case(
        {"video": "a.mp4", "question": "Which?", "candidates": ["red", "blue"], "answer": "blue", "start": 0.5,
         "end": 1.0},
        "json/action_sequence.json", {"video/star/Charades_v1_480/a.mp4": clip()}, "(B) blue", PART,
    ),
    "charades-sta": Case(
        {"video": "a.mp4", "caption": "a man sits", "timestamp": [1.0, 3.0]},
        "data/test-00000-of-00001.parquet", {"Charades_v1_480/a.mp4": clip()}, "It happens in 1 - 2 s.", WHOLE, SPANS,
    ),
    "tvgbench": Case(
        {"path": "./x/a.mp4", "question": "a man sits", "answer": "0.5-2.5", "start": 0.5, "end": 1.0,
         "dataset_name": "hirest"},
        "tvgbench.json", {"tvgbench_data/a.mp4": clip()}, "1.9 to 3.0", PART, {**SPANS, "mean IoU": 0.55},
    ),
    "mmlongbench-doc": Case(
        {"doc_id": "a.pdf", "doc_type": "Guide", "question": "How much?", "answer": "18.29%", "evidence_pages": "[2]",
         "evidence_sources": "[]", "answer_format": "Float"},
        "data/samples.json", {"data/documents/a.pdf": scanned(2)}, "0.183", ["Page 1 of 2:", 1, "Page 2 of 2:", 2],
        {"score": 1.0, "F1": 1.0},
    ),
    "slidevqa": Case(
        {"qa_id": 7, "question": "How many people, and which colour?", "answer": "Three people",
         **{f"page_{number}": {"bytes": page(number), "path": None} for number in range(1, 21)}},
        "data/test-00000-of-00001.parquet", {}, "3", [*range(1, 21)], {"exact match": 0.0, "F1": 2 / 3},
    ),
}  # fmt: skip


@pytest.mark.parametrize("name", sorted(CASES))
def test_eval_shows_the_clip_of_a_published_row_and_scores_the_reply(
    name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    case, folder = CASES[name], tmp_path / "data" / name
    monkeypatch.chdir(tmp_path)
    for path, content in {**case.clips, case.file: b""}.items():
        (folder / path).parent.mkdir(parents=True, exist_ok=True)
        (folder / path).write_bytes(content)
    if case.file.endswith(".json"):
        (folder / case.file).write_text(json.dumps([case.row]))
    else:
        parquet(folder / case.file, [dict(case.row)])
    with serve([answer(case.reply)]) as server:
        options = ("--frames", 2) if any(each.endswith(".mp4") for each in case.clips) else ()
        done = virc("eval", name, "--endpoint", server.url, *options, "--json")
        assert done.code == 0, done.err
        seen, printed = shown(server), virc("eval", name, "--endpoint", server.url, *options).out
    assert seen[: len(case.seen)] == case.seen
    (model,) = done.json["models"]
    assert model["score"]["right"] == (name not in ("longvideobench", "slidevqa"))
    assert model.get("measures", {}) == pytest.approx(case.measures)
    assert all(f"{measure} {100 * value:.1f} %" in printed for measure, value in case.measures.items())


@pytest.mark.parametrize("name", sorted(MODULES))
def test_replies_are_scored_as_the_published_program_did(name: str) -> None:
    kept = json.loads((AGREEMENT / f"{name}.json").read_text(encoding="utf-8"))
    right = import_module(MODULES[name]).right
    assert len(kept["cases"]) >= MIN_CASES

    def value(reply: str, fields: Mapping[str, Any]) -> object:
        if name in ("charades-sta", "tvgbench"):
            return round(right.measures(reply, fields)["mean IoU"], 9)
        if name == "mmlongbench-doc":
            return round(right.measures(reply, fields)["score"], 9)
        return (
            [round(each, 9) for each in right.measures(reply, fields).values()]
            if name == "slidevqa"
            else right(reply, fields)
        )

    differ = [(reply, wanted) for at, reply, wanted in kept["cases"] if value(reply, kept["fields"][at]) != wanted]
    assert differ == []


def test_a_span_of_json_in_one_line_is_read() -> None:
    rule = import_module(MODULES["charades-sta"]).right
    assert rule.measures('{"start_time": "1.0", "end_time": "2"}', {"span": [1.0, 3.0]})["mean IoU"] == 0.5


def test_f1_of_documents_counts_questions_without_an_answer() -> None:
    """Accuracy and F1 of four problems, by mayubo2333/MMLongBench-Doc@d73f0dc, eval/eval_score.py, eval_acc_and_f1."""
    rule = import_module(MODULES["mmlongbench-doc"]).right
    answers = [
        ("3", "3", "Int"),
        ("4", "3", "Int"),
        ("Not answerable", "red", "Str"),
        ("blue", "Not answerable", "None"),
    ]
    values = [rule.measures(said, {"answer": wanted, "format": kind}) for said, wanted, kind in answers]
    assert rule.totals(values) == pytest.approx({"score": 1 / 4, "F1": 1 / 3})
    right = rule.measures("Not answerable", {"answer": "Not answerable", "format": "None"})
    assert rule.totals([*values, right]) == pytest.approx({"score": 2 / 5, "F1": 1 / 3})


def test_a_clip_that_is_not_unpacked_is_said(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    (folder := tmp_path / "data" / "longvideobench").mkdir(parents=True)
    (folder / "lvb_val.json").write_text(json.dumps([CASES["longvideobench"].row]))
    done = virc("eval", "longvideobench", "--endpoint", "http://127.0.0.1:9/v1")
    assert done.code == 5
    assert "there is no videos/a.mp4" in done.err
    assert "unzip" in done.err
