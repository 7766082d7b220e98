"""`virc data synth --family clips|documents`, and the solutions that `virc data convert --answers` makes of them."""

import json
from pathlib import Path
from typing import Any, get_args

import pytest
from PIL import Image
from support.called import virc
from support.tables import each_case

from virc.data.synth.draw import SynthConfig, write
from virc.data.synth.families import registry as families
from virc.data.synth.problem import Split

FAMILIES = {"clips": [], "documents": ["--page", "1"]}
"""Families with the options of a first view that does not show the facts."""


@pytest.fixture(autouse=True)
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)


def draw(family: str, to: str = "drawn", count: int = 2) -> Path:
    done = virc("data", "synth", "--to", to, "--family", family, "--count", count, "--formats", "batch", "--seed", 4)
    assert done.code == 0, done.err
    return Path(to)


def problems(folder: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in (folder / "problems.jsonl").read_text().splitlines()]


def solutions(drawn: Path, *words: str) -> list[dict[str, Any]]:
    """The rows that are learnt of drawn problems; their images are named from the working folder."""
    chosen = ["--answers", "--protocol", drawn / "virc_protocol.json", "--workers", 1, *words]
    learnt = Path(f"{drawn}-learnt")
    done = virc("data", "convert", drawn / "problems.jsonl", "--to", learnt, "--format", "sft", *chosen)
    assert done.code == 0, done.err
    rows: list[dict[str, Any]] = json.loads((learnt / "problems.json").read_text())
    return [row | {"images": [str(learnt / name) for name in row["images"]]} for row in rows]


def has_ink(name: str, box: tuple[int, int, int, int] | None = None) -> bool:
    dark, light = Image.open(name).convert("L").crop(box).getextrema()
    return light - dark > 100  # type: ignore[operator]


@each_case("family", list(FAMILIES))
def test_calls_show_the_evidence_that_the_first_view_lacks(family: str) -> None:
    drawn = draw(family, family)
    for problem, row in zip(problems(drawn), solutions(drawn, *FAMILIES[family]), strict=True):
        replies = [each["content"] for each in row["messages"] if each["role"] == "assistant"]
        called = [json.loads(each.partition("<tool_call>")[2].partition("</")[0]) for each in replies[:-1]]
        assert called == problem["calls"]
        assert replies[-1].endswith(f"<answer>{problem['answer']}</answer>")
        before, after = row["images"][: -len(called)], row["images"][-len(called) :]
        assert len(before) == 1 if family == "documents" else not any(map(has_ink, before))
        assert all(has_ink(name, fact["box"]) for name, fact in zip(after, problem["evidence"], strict=True))
        assert problem["evidence"][-1]["text"] == problem["answer"]


@each_case("family", list(FAMILIES))
def test_the_same_seed_draws_the_same_files(family: str) -> None:
    one, more = draw(family, f"{family}-2", 2), draw(family, f"{family}-3", 3)
    names = [path.relative_to(one) for path in one.glob("files/*")]
    assert len(names) == 2
    assert all((one / name).read_bytes() == (more / name).read_bytes() for name in names)
    assert problems(one) == problems(more)[:2]


@each_case("family", list(FAMILIES))
def test_no_problem_of_training_is_held_out(family: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(families.get(family), "file_of", lambda problem: b"")
    parts = []
    for split in get_args(Split):
        drawn = write(SynthConfig(Path(f"{family}-{split}"), 100, formats=("batch",), families=(family,), split=split))
        parts.append({(str(row["calls"]), row["answer"]) for row in problems(drawn)})
    assert not parts[0] & parts[1]


@each_case(
    ("words", "said"),
    [
        (["--family", "clips"], "clips are written as problems\nhint: --formats batch"),
        (["--family", "clips,polygons", "--formats", "batch"], "polygons are pictures, and are not drawn together"),
        (["--family", "clips", "--formats", "batch", "--paths", "2"], "clips are drawn without --paths"),
    ],
)
def test_what_is_not_drawn_is_refused(words: list[str], said: str) -> None:
    done = virc("data", "synth", "--to", "drawn", *words)
    assert (done.code, said in done.err) == (2, True), done.err


def test_calls_that_cannot_be_made_are_faults() -> None:
    Image.new("RGB", (84, 84)).save("a.png")
    row = {"id": 1, "image": "a.png", "question": "What?", "answer": "3", "calls": [{"name": "watch"}]}
    Path("rows.jsonl").write_text(json.dumps(row) + "\n")
    done = virc("data", "convert", "rows.jsonl", "--to", "learnt", "--format", "sft", "--answers", "--workers", 1)
    assert done.code == 5
    assert "its calls cannot be read: object missing required field `arguments`" in done.err
