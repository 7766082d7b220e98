"""Rows of questions without a picture, of systems with a tool that finds some: read, checked, converted, prepared."""

import json
from pathlib import Path

import pyarrow as pa  # type: ignore[import-untyped]
import pyarrow.parquet as pq  # type: ignore[import-untyped]
import pytest
from PIL import Image
from support.called import virc

from virc.core.errors import DataError
from virc.data.formats.registry import only_source
from virc.data.protocol.templates import question_of
from virc.data.rows.record import MARK, content_of
from virc.models.chat_protocol import of_system
from virc.models.registry import EMBEDDED_FOLDER
from virc.reasoning import turns
from virc.reasoning.session import Reply, Session
from virc.systems import registry as systems
from virc.systems.registry import Judging, Reward
from virc.tools import search
from virc.tools.registry import known
from virc.training.preflight.rl import check
from virc.training.preflight.types import RlRequest

QUESTION = "How many tons were shipped?"
META = {"file_name": "harbour.pdf", "reference_page": [2, 3]}
WORDS = of_system(systems.get("vrag-rl")).protocol


@pytest.fixture
def questions(tmp_path: Path) -> Path:
    row = {"query": QUESTION, "reference_answer": "12 tons", "meta_info": META}
    file = tmp_path / "questions.json"
    file.write_text(json.dumps({"examples": [{"uid": at, **row} for at in range(2)]}))
    return file


def converted(file: Path, format: str) -> Path:
    to = file.parent / format
    done = virc("data", "convert", file, "--system", "vrag-rl", "--to", to, "--name", "rows", "--format", format)
    assert done.code == 0, done.err
    return next(to.glob("rows.*"))


@pytest.mark.parametrize("format", ["batch", "prompts", "rl"])
def test_questions_become_rows_of_every_format_and_problems_again(format: str, questions: Path) -> None:
    file = converted(converted(questions, "prompts") if format == "rl" else questions, format)
    done = virc("data", "check", file, "--system", "vrag-rl", "--json")
    assert (done.code, done.json["good"]) == (0, 2), done.err
    again = file if format == "batch" else converted(file, "batch")
    rows = [json.loads(line) for line in again.read_text().splitlines()]
    wanted = {"images": [], "question": QUESTION, "answer": "12 tons", "meta_info": META}
    assert [{name: row[name] for name in wanted} for row in rows] == [wanted] * 2


def test_rows_in_the_words_of_the_system_hold_an_empty_list_of_images(questions: Path) -> None:
    row = pq.read_table(converted(questions, "prompts")).to_pylist()[1]
    assert (row["images"], row["extra_info"]["images"]) == ([], [])
    assert [each["role"] for each in row["prompt"]] == ["system", "user"]
    assert row["prompt"][1]["content"].endswith(f"Question: {QUESTION}")
    assert MARK not in row["prompt"][1]["content"]


def test_published_columns_of_verl_are_read(tmp_path: Path) -> None:
    # Alibaba-NLP/VRAG@24f8d05, VRAG-RL/scripts/hf_dataset_convert.py, process_fn
    info = {"split": "test", "index": 7, "answer": "12 tons", "question": QUESTION, "content_type": "Nan", **META}
    row = {
        "data_source": "rag",
        "prompt": [{"role": "user", "content": WORDS.first.replace("{images}", "").replace("{question}", QUESTION)}],
        "ability": "math",
        "reward_model": {"style": "rule", "ground_truth": "12 tons"},
        "extra_info": info,
    }
    pq.write_table(pa.Table.from_pylist([row]), tmp_path / "overall_train.parquet")
    (line,) = converted(tmp_path / "overall_train.parquet", "batch").read_text().splitlines()
    found = json.loads(line)
    assert (found["id"], found["images"], found["question"]) == (7, [], QUESTION)
    assert found["extra_info"]["reference_page"] == [2, 3]


def test_a_problem_without_a_picture_is_a_fault_of_other_systems(questions: Path) -> None:
    file = converted(questions, "batch")
    done = virc("data", "check", file, "--system", "virc", "--json")
    assert (done.code, done.json["faults"]) == (5, {"no_image": 2})


@pytest.mark.parametrize("name", sorted(systems.discover()))
def test_the_question_is_found_in_the_first_turn_of_every_system(name: str) -> None:
    protocol = of_system(systems.get(name)).protocol
    for inputs in (0, 1, 3):
        first = turns.opening(protocol, "What\nis it?", [(280, 196)] * inputs)[-1]
        assert question_of(content_of(first).replace(MARK, ""), protocol, inputs) == "What\nis it?"


def request(name: str, source: Path, folder: Path) -> RlRequest:
    return RlRequest(
        base=EMBEDDED_FOLDER,
        name="tiny",
        rollout="multi_turn",
        source=only_source(source),
        prompt_length=2048,
        batch=2,
        max_pixels=12_845_056,
        folder=folder,
        home=folder,
        chat_protocol=of_system(systems.get(name)).protocol,
        reward=Reward("vrag_rl", judge=Judging("http://judge/v1")),
    )


def test_rl_takes_questions_without_a_picture_where_a_tool_finds_some(questions: Path, tmp_path: Path) -> None:
    file, folder = converted(questions, "prompts"), tmp_path / "run"
    result = check(request("vrag-rl", file, folder))
    assert (result.rows, result.faults, result.media) == (2, {}, folder)
    assert [row["images"] for row in pq.read_table(result.file).to_pylist()] == [[], []]
    with pytest.raises(DataError, match="it has no image, and no tool of the system returns one"):
        check(request("deepeyes", file, tmp_path / "other"))


def test_a_box_on_a_page_that_was_found_is_not_held_against_what_was_shown(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The page's file is larger than that, and the row does not have it."""
    pages = tmp_path / "pages"
    pages.mkdir()
    Image.new("RGB", (1900, 1300), "grey").save(pages / "harbour_2.png")
    (pages / "harbour_2.txt").write_text("tons of grain")
    monkeypatch.setenv(search.PAGES, str(pages))
    session = Session(WORDS, QUESTION, [], tools=known())
    for reply in ("<search>grain</search>", "<bbox>[10, 20, 87, 213]</bbox>", "<bbox>[0, 0, 90, 90]</bbox>",
                  "<answer>12 tons</answer>"):  # fmt: skip
        session.feed(Reply(reply))
    names = [f"{at}.png" for at in range(len(session.images))]
    for name, shown in zip(names, session.images, strict=True):
        shown.pixels.save(tmp_path / name)
    told = [{"role": each.role, "content": content_of(each)} for each in session.trace().messages]
    (tmp_path / "rows.json").write_text(json.dumps([{"messages": told, "images": names}] * 1))
    done = virc("data", "check", tmp_path / "rows.json", "--system", "vrag-rl", "--json")
    assert (done.code, done.json["faults"], len(names)) == (0, {}, 3)
