"""What `virc data` says to type next leads somewhere: each hint is typed back."""

import json
import shlex
from pathlib import Path

import pytest
from PIL import Image
from support.called import Done, virc


@pytest.fixture(scope="module")
def drawn(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("drawn") / "set"
    assert virc("data", "synth", "--to", folder, "--count", 2, "--formats", "batch,prompts").code == 0
    return folder


def hint(done: Done) -> str:
    return done.err.rpartition("hint: ")[2].strip()


def typed(text: str, to: Path) -> list[str]:
    return shlex.split(text.replace("DIR", str(to)))[1:]


@pytest.mark.integration
def test_problems_are_solved_before_they_are_trajectories(drawn: Path, tmp_path: Path) -> None:
    done = virc("data", "convert", drawn / "problems.jsonl", "--to", tmp_path / "a", "--format", "sft")
    assert done.code == 5
    _, _, command = hint(done).partition("a model solves them: ")
    solved = virc(*typed(command.replace("NEW", "DIR"), tmp_path / "b"), "--samples", 1, "--keep", 1)
    assert solved.code == 0, solved.err
    assert virc("data", "convert", tmp_path / "b", "--to", tmp_path / "c", "--format", "sft").code == 0


@pytest.mark.integration
def test_prompts_are_written_as_problems(drawn: Path, tmp_path: Path) -> None:
    words = ("data", "convert", drawn / "prompts.parquet", "--to", tmp_path / "a")
    done = virc(*words, "--format", "sft")
    solves, leaves_out = hint(done).split("; ")
    assert (done.code, solves) == (5, "--format batch writes the problem, which virc data sample can solve")
    assert leaves_out == "--skip-faulty leaves such rows out"
    assert virc(*words, *hint(done).split()[:2]).code == 0
    solved = virc("data", "sample", tmp_path / "a/prompts.jsonl", "--to", tmp_path / "b", "--samples", 1)
    assert solved.code == 0, solved.err


def test_a_row_with_nothing_in_it_can_only_be_left_out(tmp_path: Path) -> None:
    (tmp_path / "rows.jsonl").write_text(json.dumps({"id": 1, "messages": [], "images": []}))
    for format, said in (("sft", "no conversation"), ("rl", "neither a question nor"), ("batch", "neither a question")):
        done = virc("data", "convert", tmp_path / "rows.jsonl", "--to", tmp_path / "to", "--format", format)
        assert done.code == 5
        assert said in done.err
        assert hint(done) == "--skip-faulty leaves such rows out"


@pytest.mark.parametrize("was_there", [True, False])
def test_a_folder_for_clean_rows_stays_as_it_was_where_there_are_none(tmp_path: Path, was_there: bool) -> None:
    (tmp_path / "rows.json").write_text("[]")
    if was_there:
        (tmp_path / "clean").mkdir()
    words = ("--coordinates", "pixel", "--clean", tmp_path / "clean", "--workers", 1)
    done = virc("data", "check", tmp_path / "rows.json", *words)
    assert (done.code, (tmp_path / "clean").is_dir()) == (5, was_there), done.err
    assert f"there are no rows in {tmp_path / 'rows.json'}\n" in done.err


@pytest.mark.parametrize(("named", "there"), [("{}.png", "images/"), ("{}", "a/b/"), ("x/y/{}.png", "y/")])
def test_a_layout_finds_pictures_that_rows_name_from_elsewhere(named: str, there: str, tmp_path: Path) -> None:
    (tmp_path / there).mkdir(parents=True)
    rows = []
    for at in range(3):
        Image.new("RGB", (56 + at, 56)).save(tmp_path / there / f"{at}.png")
        turns = [{"from": "human", "value": "<image>?"}, {"from": "gpt", "value": "So."}]
        rows.append({"image": named.format(at), "conversations": turns})
    (tmp_path / "rows.json").write_text(json.dumps(rows))
    done = virc("data", "check", tmp_path / "rows.json", "--workers", 1)
    command = hint(done).partition(": ")[2].partition(" writes")[0].replace("mine.yaml", str(tmp_path / "mine.yaml"))
    assert done.code == 5
    assert virc(*typed(command, tmp_path)).code == 0, done.err
    again = virc("data", "check", tmp_path / "rows.json", "--layout", tmp_path / "mine.yaml", "--workers", 1)
    assert again.code == 0, again.out


def test_problems_made_into_prompts_lose_nothing(drawn: Path, tmp_path: Path) -> None:
    for file, lost in (("problems.jsonl", False), ("prompts.parquet", True)):
        format = "batch" if lost else "prompts"
        done = virc("data", "convert", drawn / file, "--to", tmp_path / format, "--format", format)
        assert (done.code, "lost in this format" in done.err) == (0, lost), done.err


def test_nothing_is_cleaned_where_nothing_is_good(tmp_path: Path) -> None:
    (tmp_path / "rows.jsonl").write_text(json.dumps({"id": 1, "messages": [], "images": []}))
    done = virc("data", "check", tmp_path / "rows.jsonl", "--clean", tmp_path / "clean", "--workers", 1)
    assert (done.code, (tmp_path / "clean").exists()) == (5, False)
    assert f"every row has a fault, so {tmp_path / 'clean'} has none\n" in done.err
    assert "hint" not in virc("data", "check", tmp_path / "rows.jsonl", "--workers", 1).err
    (tmp_path / "cut.json").write_text('[{"messages": [')
    assert "hint" not in virc("data", "convert", tmp_path / "cut.json", "--to", tmp_path / "to", "--format", "sft").err
