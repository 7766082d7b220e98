"""Looks at what every `virc solve` and `virc batch` of a test leaves: its lines, its counts and its traces agree."""

import json
import re
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from PIL import Image

_SUMMARY = re.compile(
    r"^(\d+) rows: (\d+) answered, (\d+) without an answer, (\d+) failed(?:; (\d+) were done before)?$", re.MULTILINE
)
_CODES = {"other": 1, "usage": 2, "config": 3, "setup": 4, "data": 5, "network": 6, "engine": 7, "no_answer": 8}


def file_of(words: Sequence[str]) -> Path | None:
    """The file of the answers of a batch as JSONL, if it is one whose lines can be counted."""
    if words[:1] == ["batch"] and "--to" in words[:-1]:
        file = Path(words[words.index("--to") + 1])
        return file if file.is_file() and file.suffix in ("", ".jsonl") else None
    return None


def look(words: Sequence[str], code: int, out: str, err: str) -> None:
    """Look at what a command that solves has printed and written."""
    if words[:1] not in (["solve"], ["batch"]):
        return
    assert not re.search("^Traceback", err, re.MULTILINE)  # one of code that a model wrote is shown within a line
    records = _records(out) if "--json" in words or words[0] == "batch" else []
    for record in records:
        _record(record)
    if words[0] == "solve":
        assert len(records) <= 1
        for record in records:
            assert code == (record["error"] or {"code": 0})["code"]
        return
    if not (summary := _SUMMARY.search(err)):
        return
    rows, answered, without, failed, before = (int(each or 0) for each in summary.groups())
    assert rows == answered + without + failed
    assert code or not failed
    if file := file_of(words):
        written = _records(file.read_text("utf-8"))
        for record in written:
            _record(record)
        _agree(written, answered, without, failed, before)
    elif records:
        _agree(records, answered, without, failed, 0)


def _agree(records: Sequence[dict[str, Any]], answered: int, without: int, failed: int, before: int) -> None:
    codes = Counter((each["error"] or {"code": 0})["code"] for each in records)
    assert codes[0] + codes[8] == answered + without + before, (codes, answered, without, before)
    assert codes[0] >= answered
    assert codes[8] >= without
    assert codes.total() - codes[0] - codes[8] >= failed
    done = [json.dumps(each["id"]) for each in records if not each["error"] and each["id"] is not None]
    assert len(done) == len({*done}), "a row was answered twice"


def _records(text: str) -> list[dict[str, Any]]:
    found = [json.loads(line) for line in text.splitlines() if line.startswith("{")]
    return [each for each in found if str(each.get("schema")).startswith("virc.solve/")]


def _record(record: dict[str, Any]) -> None:
    error = record["error"]
    assert not error or record.get("answer") is None or "cannot write" in error["message"]
    if error:
        assert error["message"]
        assert error["code"] == _CODES.get(error["kind"], error["code"])
    if record.get("calls") is None or "replies" not in record:  # it was not asked, or by a pipeline
        return
    assert error or isinstance(record["answer"], str)
    assert record["turns"] <= record["replies"]
    if votes := record.get("votes"):
        assert [each["count"] for each in votes if each["answer"]] == sorted(
            (each["count"] for each in votes if each["answer"]), reverse=True
        )
        said = [each["answer"] for each in votes]
        is_own = record["settings"].get("strategy", "majority").partition(":")[0] not in ("majority", "best-of")
        assert is_own or record["answer"] in (None, *said)
    is_one, is_whole = not {"votes", "strategy"} & record.keys(), not error or error["kind"] == "no_answer"
    if is_one and is_whole and record.get("rejected") is not None:
        assert record["replies"] == record["turns"] + record["rejected"]
    if is_one and record.get("failure") is not None:
        assert record["answer"] is None
    if record["trace"]:
        _trace(Path(record["trace"]), record)


def _trace(folder: Path, record: dict[str, Any]) -> None:
    """The pictures of a trace can be opened, at the sizes that it says; what it counts is what the record counts."""
    if not folder.is_dir():
        return
    samples = []
    for each in [folder, *sorted(folder.glob("sample-*"), key=lambda path: int(path.name.partition("-")[2]))]:
        if not (each / "trace.json").is_file():
            continue
        found = json.loads((each / "trace.json").read_text("utf-8"))
        samples.append(found)
        assert found["schema"] == "virc.trace/2"
        assert found["model"] == record["model"]
        for picture in found["images"]:
            with Image.open(each / picture["file"]) as opened:
                assert opened.size == (picture["width"], picture["height"]), picture
        names = {picture["file"] for picture in found["images"]}
        assert {path.name for path in each.glob("image-*.png")} == names
        assert (each / "index.html").is_file()
        spoken = json.loads((each / "conversation.json").read_text("utf-8"))
        assert {name for turn in spoken for name in turn.get("images", [turn.get("image")]) if name} <= names
    if samples and "strategy" not in record:
        same = [each for each in samples if each["answer"] == record["answer"]]
        units = (same or samples[-1:])[0]["units"]
        assert len(units) == record["turns"]
        results = [result for unit in units for result in unit["results"]]
        assert Counter(result["call"]["name"] for result in results if result["call"]) == Counter(record["calls"])
        if "votes" in record:
            assert (folder / "index.html").is_file()
            counts = Counter(each["answer"] for each in samples)
            assert sum(each["count"] for each in record["votes"]) == counts.total() == len(samples)
            assert all(each["count"] >= counts[each["answer"]] for each in record["votes"])
    assert not [path for path in folder.parent.iterdir() if path.name.startswith(".trace-")]
