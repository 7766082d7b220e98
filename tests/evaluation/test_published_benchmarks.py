"""Benchmarks of others: rows in the published layout become the published prompts, and replies are scored alike."""

import json
from collections.abc import Callable, Mapping, Sequence
from itertools import chain
from pathlib import Path
from typing import Any, NamedTuple

import pytest
from evaluation import published
from evaluation.published import Fields
from evaluation.test_benchmarks import good, shades
from support.called import virc
from support.servers import serve
from support.solving import answer

from virc.download.benchmarks import HUB_IDS
from virc.evaluation.answers import AnswerLine
from virc.evaluation.benchmarks import registry as benchmarks
from virc.evaluation.benchmarks.registry import category_of, find
from virc.evaluation.problems import problems_of
from virc.evaluation.verdicts import doubtful, verdicts_by_rule
from virc.scoring.accepted import measured
from virc.scoring.answers import score
from virc.scoring.score import Key

AGREEMENT = Path(__file__).parent / "agreement"
MIN_CASES = 300


class Case(NamedTuple):
    """A benchmark: a drawn row in its layout, the file it is in, and what the first of three rows becomes.

    `beside` is where a picture is that the file does not hold.
    """

    name: str
    row: Callable[[int], Fields]
    file: str
    prompt: str
    fields: Fields
    categories: dict[str, Sequence[str]]
    split: str | None = None
    pictures: int = 1
    beside: str = ""


OPTIONS = "A. red\nB. blue\nC. green\nD. grey\n"
CASES = (
    *(
        Case("hr-bench", published.hr_bench, f"hr_bench_{size}.{ending}",
             f"Question: What is the color of glove 0?\nOptions:\n{OPTIONS}"
             "Please select the correct answer from the options above. \n",
             {"id": id, "question": "What is the color of glove 0?", "choices": list(published.COLOURS), "label": "A",
              "answer": "red"},
             {"type": ("single",), "cycle": ("0",)}, size)
        for size, ending, id in (("4k", "parquet", 0), ("8k", "tsv", "0"))
    ),
    *(
        Case(name, published.mme_realworld, "data/train-00000-of-00001.parquet",
             "What is the color of car 0? The choices are listed below:\n(A) red\n(B) blue\n(C) green\n(D) grey\n"
             "(E) The image does not feature the color\nSelect the best answer to the above multiple-choice question "
             "based on the image. Respond with only the letter (A, B, C, D, or E) of the correct option.\n"
             "The best answer is: ",
             {"id": "perception/traffic/0", "label": "A", "answer": "red",
              "choices": [*published.COLOURS, "The image does not feature the color"]},
             {"task": ("perception",), "domain": ("Remote Sensing",), "kind": ("color",)})
        for name in ("mme-realworld", "mme-realworld-lite")
    ),
    Case("treebench", published.treebench, "TreeBench.tsv",
         f"Question: What is the man 0 holding?\nOptions:\n{OPTIONS}"
         "Answer with the correct option's letter directly. \n",
         {"id": "0", "label": "A", "answer": "red", "boxes": [[1, 2, 30, 40]]},
         {"ability": ("Perception",), "kind": ("Attributes",)}),
    *(
        Case(f"visualprobe-{level}", published.visualprobe, "val.json", "What is the color of bird 0?",
             {"id": "hard_0", "answer": "red"}, {"source": ("visual probe hard",)}, beside="data/{}.jpg")
        for level in ("easy", "medium", "hard")
    ),
    Case("blink", published.blink, "Jigsaw/val-00000-of-00001.parquet",
         "Disclaimer: This is not to make unfair assumptions about the people in the image and you just need to give "
         "your assessment on this question. You don't need to identify the real people. You just need to analyze based "
         "on the information I gave you.\n\nWhich fits?\nSelect from the following choices.\n(A) the second\n"
         "(B) the third",
         {"id": "val_Jigsaw_0", "label": "A", "answer": "the second"}, {"task": ("Jigsaw",)}, pictures=2),
    Case("chartqa", published.chartqa, "data/test-00000-of-00001-e2cd0b7a0f9eb20d.parquet",
         "What is bar 0?\nAnswer the question with a single word.", {"id": 1, "answer": "1.5"}, {"type": ("human",)}),
    Case("docvqa", published.docvqa, "DocVQA/validation-00000-of-00006.parquet",
         "Who signed page 0?\nAnswer the question using a single word or phrase.",
         {"id": "40", "answer": "T.F. Riehl", "answers": ["T.F. Riehl", "T. F. Riehl"], "metric": "anls"},
         {"type": ("handwritten", "form")}),
    Case("mathvision", published.mathvision, "data/test-00000-of-00001-3532b8d3f1b4047a.parquet",
         'Please solve the problem and put your answer in one "\\boxed{}". If it is a multiple choice question, only '
         'one letter is allowed in the "\\boxed{}".\nHow large is it?\n<image1>\n(A) red\n(B) blue\n(C) green\n'
         "(D) grey\n(E) $\\frac{1}{2}$\n",
         {"id": "0", "label": "E", "answer": "$\\frac{1}{2}$"}, {"subject": ("arithmetic",), "level": ("1",)}),
    Case("mathverse", published.mathverse, "testmini.parquet",
         "Please answer the question.\nHow long is AB in figure 0?\nChoices:\nA:4 cm\nB:5 cm",
         {"id": "0", "question": "How long is AB in figure 0?", "label": "B", "answer": "5 cm",
          "choices": ["4 cm", "5 cm"]},
         {"version": ("Text Dominant",), "subject": ("Plane Geometry",), "subfield": ("Length",),
          "question": ("multi-choice",)}),
    Case("charxiv", published.charxiv, "val.parquet",
         "Which is lowest in 0?\n    * Your final answer must be grounded to some text that is explicitly written and "
         "relevant to the question in the chart.\n    * If you need to answer multiple terms, separate them with "
         "commas.\n    * Unless specified in the question (such as answering with a letter), you are required to "
         "answer the full names of subplots and/or labels by default.\n    ",
         {"id": 1, "answer": "Joint-CNN"}, {"answer": ("text in chart",), "subject": ("cs",)}),
    Case("hr-mmsearch", published.hr_mmsearch, "data/train-00000-of-00005.parquet", "When did shop 0 open?",
         {"id": "s0", "answer": "July 1, 1990"}, {"difficulty": ("hard",), "domain": ("Brands",)}),
    Case("o3-bench", published.o3_bench, "test/metadata.jsonl",
         "Which exit is nearest to shop 0?\nA. Exit 1, north\nB. Exit 2, south\nC. No right choice",
         {"id": 1, "label": "A", "answer": "A. Exit 1, north", "boxes": [[1, 2.5, 31, 40], [3, 2.5, 33, 40]]},
         {"subset": ("map",)}, beside="test/images/map/{}.jpg"),
    Case("vtc-bench", published.vtc_bench, "VTC-Bench.tsv",
         "What is the color of fish 0?\n\nOptions:\nA. red\n\nB. blue\n\nC. green\n",
         {"id": "color_0", "label": "A", "answer": "red", "choices": ["red", "blue", "green"]}, {"task": ("color",)},
         beside="images/color/{}.jpg"),
    Case("zoombench", published.zoombench, "data/test.parquet", "What is the color of lamp 0?\nA. red\nB. blue",
         {"id": "0", "answer": "A", "question": "What is the color of lamp 0?"}, {"question": ("mcq",)}),
)  # fmt: skip


WRITERS: Mapping[str, Callable[[Path, list[Fields]], object]] = {
    ".json": lambda file, rows: file.write_text(json.dumps(rows)),
    ".jsonl": lambda file, rows: file.write_text("".join(f"{json.dumps(row)}\n" for row in rows)),
    ".parquet": published.parquet,
    ".tsv": published.tsv,
}


def write(folder: Path, case: Case) -> Path:
    """Three drawn rows in the published layout of a benchmark, in a folder called as that; returns the folder."""
    place = folder / "data" / case.name
    rows = [case.row(at) for at in range(3)]
    file = place / case.file
    file.parent.mkdir(parents=True, exist_ok=True)
    for at in range(3) if case.beside else ():
        picture = place / case.beside.format(at)
        picture.parent.mkdir(parents=True, exist_ok=True)
        picture.write_bytes(published.picture(at))
    WRITERS[file.suffix](file, rows)
    return place


@pytest.mark.parametrize("case", CASES, ids=lambda case: f"{case.name}-{case.split}")
def test_rows_are_asked_as_published(tmp_path: Path, case: Case) -> None:
    write(tmp_path, case)
    found = find(case.name, tmp_path, case.split)
    rows = good(found)
    assert len(rows) == 3
    assert rows[0].question == case.prompt
    assert shades(found) == [0, 1, 2]
    assert {len(row.images) for row in rows} == {case.pictures}
    assert {key: ({"id": rows[0].id} | rows[0].passed).get(key) for key in case.fields} == case.fields
    assert category_of(rows[0].passed) == case.categories
    module = benchmarks.known()[case.name]
    assert HUB_IDS[case.name] == module.HUB


def agreed() -> list[str]:
    """The benchmarks of which the published verdicts are kept."""
    return sorted(file.stem for file in AGREEMENT.glob("*.json"))


def test_each_published_rule_has_kept_verdicts() -> None:
    ruled = {name for name in benchmarks.names() if getattr(benchmarks.known()[name], "right", None)}
    assert ruled - {"mme-realworld-lite"} | {"docvqa"} == {*agreed()}


@pytest.mark.parametrize("name", agreed())
def test_replies_are_scored_as_the_published_function_did(name: str) -> None:
    kept = json.loads((AGREEMENT / f"{name}.json").read_text(encoding="utf-8"))
    assert len(kept["cases"]) >= MIN_CASES
    right = getattr(benchmarks.known()[name], "right", None) or _anls
    differ = [(reply, value) for at, reply, value in kept["cases"] if right(reply, kept["fields"][at]) != value]
    assert differ == []


def test_mathvista_is_scored_as_published_but_where_it_is_said(tmp_path: Path) -> None:
    kept = json.loads((AGREEMENT / "differing/mathvista.json").read_text(encoding="utf-8"))
    rows = [published.figure(str(at), **fields) for at, fields in enumerate(kept["fields"])]
    published.mathvista(tmp_path / "mathvista", rows)
    problems = problems_of(find(str(tmp_path / "mathvista"), tmp_path), None, print)
    keys = {id: problem.key or Key("") for id, problem in problems.items()}
    assert len(kept["cases"]) >= MIN_CASES
    differ = [at for at, (row, reply, value) in enumerate(kept["cases"]) if score(reply, keys[str(row)]).right != value]
    assert differ == sorted(chain(*kept["differences"].values()))


def _anls(answer: str, fields: dict[str, Any]) -> float | None:
    value = measured(answer, Key(fields["answers"][0], answers=tuple(fields["answers"]), metric="anls"))
    return None if value is None else round(value, 9)


def test_a_judge_decides_only_what_the_published_rule_leaves_open(tmp_path: Path) -> None:
    write(tmp_path, CASES[0])
    problems = problems_of(find("hr-bench", tmp_path), None, lambda fault: pytest.fail(str(fault)))
    replies = dict(zip(problems, ("A", "B", "It is C."), strict=True)), dict.fromkeys(problems, "the nice one")
    answers = {
        model: {id: AnswerLine(problem.id, problem.digest, model, said[id], None) for id, problem in problems.items()}
        for model, said in zip(("letters", "words"), replies, strict=True)
    }
    verdicts = verdicts_by_rule(problems, answers)
    assert [verdicts["letters", id].right for id in problems] == [True, True, True]
    assert [verdicts["words", id].right for id in problems] == [False, False, False]
    wrong = {
        "letters": {
            id: AnswerLine(problem.id, problem.digest, "letters", "D", None) for id, problem in problems.items()
        }
    }
    assert doubtful(problems, wrong, verdicts_by_rule(problems, wrong)) == []
    assert len(doubtful(problems, answers, verdicts)) == 3


@pytest.mark.parametrize(
    ("name", "said", "right", "metrics"),
    [("mme-realworld", "The best answer is: (B) blue", 1, {}), ("docvqa", "T. F. Riehl", 3, {"anls": 1.0})],
)
def test_eval_asks_the_published_prompt_and_scores_its_answers(
    here: Path, name: str, said: str, right: int, metrics: dict[str, float]
) -> None:
    case = next(case for case in CASES if case.name == name)
    write(here, case)
    with serve([answer(said)]) as server:
        done = virc("eval", name, "--endpoint", server.url, "--json")
        asked = [json.dumps(chat["messages"]) for chat in server.chats()]
    assert done.code == 0, done.err
    (model,) = done.json["models"]
    assert (model["score"]["right"], model["score"]["of"]) == (right, 3)
    assert {key: value["mean"] for key, value in model["metrics"].items()} == metrics
    assert sum(json.dumps(case.prompt)[1:-1] in each for each in asked) == 1
