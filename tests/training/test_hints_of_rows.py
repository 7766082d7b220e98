"""What `virc data` and `virc train` say to type next about rows works: each hint is typed back."""

import json
import re
import shlex
import shutil
from pathlib import Path
from typing import Any

import pytest
from PIL import Image
from support import preference_rows
from support.called import Done, virc

pytestmark = pytest.mark.integration
Row = dict[str, Any]
INSTRUCT = "train tiny --stage instruct --from tiny --dry-run --data {}"
RL = "train tiny --stage rl --from tiny --dry-run --data {}"
DPO = "train tiny --stage dpo --from tiny --dry-run --data {}"
CONVERT = "data convert {} --to made --format "
SOLVE = "batch --to {} --model tiny --max-turns 1 {}"
SCORE = "rewards try tiny --data {}"


def plain(number: int, image: str = "a.png") -> Row:
    """A question and an answer as a conversation, without any marks."""
    messages = [{"role": "user", "content": "<image>What is it?"}, {"role": "assistant", "content": f"Disk {number}."}]
    return {"id": number, "messages": messages, "images": [image]}


def pair(number: int, image: str = "a.png") -> Row:
    """Two replies to such a question."""
    row = plain(number, image)
    shared, chosen = row["messages"]
    return {**row, "messages": [shared], "chosen": chosen, "rejected": {"role": "assistant", "content": "A cat."}}


def problem(number: int) -> Row:
    """A question and an answer."""
    return {"id": number, "image": "a.png", "question": "What is it?", "answer": "disk"}


ROWS = {
    "plain": [plain(number) for number in range(8)],
    "broken": [*(plain(number) for number in range(8)), plain(9, "gone.png")],
    "big": [plain(number, "big.png") for number in range(8)],
    "pairs": [pair(number) for number in range(8)],
    "broken_pairs": [*(pair(number) for number in range(8)), pair(9, "gone.png")],
    "big_pairs": [pair(number, "big.png") for number in range(8)],
    "batch": [problem(number) for number in range(8)],
}


@pytest.fixture(scope="module")
def calls(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Drawn rows that call tools, and pairs of them; the same with large images."""
    folder = tmp_path_factory.mktemp("calls")
    assert virc("data", "synth", "--to", folder / "calls", "--count", 8, "--workers", 1, "--formats", "sft").code == 0
    preference_rows.write(folder / "calls")
    shutil.copytree(folder / "calls", folder / "huge")
    for file in (folder / "huge").rglob("*.png"):
        picture = Image.open(file)
        picture.resize((picture.width * 3, picture.height * 3)).save(file)
    return folder


@pytest.fixture
def workspace(tmp_path: Path, calls: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder of rows of every kind, named from within."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("VIRC_CACHE", str(tmp_path / "cache"))
    for name, size in (("a.png", (224, 168)), ("big.png", (840, 640))):
        Image.radial_gradient("L").resize(size).save(name)
    for name, rows in ROWS.items():
        Path(f"{name}.jsonl").write_text("\n".join(map(json.dumps, rows)))
    lines = [",".join(map(str, row.values())) for row in ROWS["batch"]]
    Path("own.csv").write_text("\n".join([",".join(problem(0)), *lines]))
    for name in ("calls", "huge"):
        shutil.copytree(calls / name, name)
    for folder, rows in (("parts", ROWS["plain"]), ("asked", ROWS["batch"])):  # as `data convert --split` leaves them
        Path(folder).mkdir()
        shutil.copy("a.png", folder)
        for part in ("train", "val"):
            Path(folder, f"own_{part}.jsonl").write_text("\n".join(map(json.dumps, rows)))
    return tmp_path


def run(line: str) -> Done:
    """The command, with conversions in this process."""
    words = shlex.split(line.removeprefix("virc "))
    return virc(*words, *(("--workers", 1) if words[:2] in (["data", "convert"], ["data", "check"]) else ()))


def hints(done: Done) -> list[str]:
    """What it says to type."""
    return re.findall(r"^hint: (.*)$", done.err, re.MULTILINE)


@pytest.mark.parametrize(
    ("line", "typed"),
    [
        ("data check broken.jsonl", ["data check broken.jsonl --clean DIR"]),
        (f"{CONVERT.format('broken.jsonl')}sft", [f"{CONVERT.format('broken.jsonl')}sft --skip-faulty"]),
        (f"{CONVERT.format('plain.jsonl')}pairs", ["virc data convert plain.jsonl --to DIR --format batch"]),
        (f"{CONVERT.format('batch.jsonl')}sft", [f"{CONVERT.format('batch.jsonl')}sft --answers"]),
        (f"{CONVERT.format('own.csv')}sft", [f"{CONVERT.format('own.csv')}sft --answers"]),
        (f"{CONVERT.format('batch.jsonl')}rl", [f"{CONVERT.format('batch.jsonl')}rl --protocol default"]),
        (INSTRUCT.format("broken.jsonl"), ["virc data check broken.jsonl --clean DIR", INSTRUCT.format("DIR")]),
        (
            INSTRUCT.format("big.jsonl"),
            ["virc data convert big.jsonl --to DIR --format sft --max-pixels 63504", INSTRUCT.format("DIR")],
        ),
        (
            DPO.format("big_pairs.jsonl"),
            ["virc data convert big_pairs.jsonl --to DIR --format pairs --max-pixels 63504", DPO.format("DIR")],
        ),
        (
            INSTRUCT.format("pairs.jsonl"),
            ["virc data convert pairs.jsonl --to DIR --format sft", INSTRUCT.format("DIR")],
        ),
        (
            INSTRUCT.format("own.csv"),
            ["virc data convert own.csv --to DIR --format sft --answers --model tiny", INSTRUCT.format("DIR")],
        ),
        (RL.format("batch.jsonl"), [f"{RL.format('batch.jsonl')} --with multi-turn"]),
        (DPO.format("plain.jsonl"), ["virc data convert plain.jsonl --to DIR --format batch"]),
        (INSTRUCT.format("parts"), [INSTRUCT.format("parts/own_train.jsonl")]),
        ("eval asked --model tiny --max-turns 1", ["eval asked/own_val.jsonl --model tiny --max-turns 1"]),
        (
            SOLVE.format("answers.csv", "plain.jsonl"),
            ["virc data convert plain.jsonl --to DIR --format batch", SOLVE.format("new.csv", "DIR/plain.jsonl")],
        ),
        (DPO.format("broken_pairs.jsonl"), ["virc data check broken_pairs.jsonl --clean DIR", DPO.format("DIR")]),
    ],
)  # fmt: skip
def test_what_a_hint_says_to_type_works(workspace: Path, line: str, typed: list[str]) -> None:
    said = " ".join(hints(run(line))).replace(f"{workspace}/", "")
    shutil.rmtree("made", ignore_errors=True)
    command, *after = typed
    new = command if command.startswith("virc ") else " ".join(sorted({*command.split()} - {*line.split()}))
    assert (new.replace(" --clean DIR", "") in said) or (not new and "without --" in said), said
    for each in typed:
        done = run(each.replace("DIR", "next"))
        kept = "--clean" in each and "8 rows are in next" in done.err
        assert done.code == 0 or kept, done.err
    assert not after or not hints(done) or "has not been made" in done.err


@pytest.mark.parametrize("rows", ["plain.jsonl", "pairs.jsonl", "calls/trajectories.json", "calls/pairs.jsonl"])
@pytest.mark.parametrize("format", ["sft", "trajectories", "batch"])
def test_rows_that_train_takes_are_clean_and_convert(workspace: Path, rows: str, format: str) -> None:
    checked = run(f"data check {rows} --json")
    assert (checked.code, checked.json["faults"]) == (0, {}), checked.err
    assert run(f"{CONVERT.format(rows)}{format}").code == 0
    file = next(Path("made").glob("*.json*l")) if format != "sft" else Path("made")
    found = run(f"data check {file} --json").json
    unanswered = 8 if (format, rows.endswith("pairs.jsonl")) == ("batch", True) else 0
    assert (found["faults"], found["datasets"][0]["counts"]["unanswered"]) == ({}, unanswered)
