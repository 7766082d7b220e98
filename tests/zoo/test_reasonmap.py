"""ReasonMap from its published rows to the scores of a model's answers, which are counted here by hand."""

import json
from pathlib import Path
from typing import Any

import pytest
from support import rows_of_thinkers
from support.called import virc
from support.servers import images_of, serve

from virc_zoo.reasonmap.__main__ import means, scores


def leg(line: str, departure: str, arrival: str, more: str = "") -> str:
    return f"Route Name: {line}\nDeparture Stop: {departure}\nArrival Stop: {arrival}\n{more}"


ROME = ("Alba Station", "Duomo Station")
REPLIES = {
    "1-short": leg("Line 1", "甲站", "丁站"),
    "1-long": leg("Line 1", "甲站", "丁站", "Via Stops: 乙站,丁站"),
    "2-short": leg("Line 1", "丙站", "甲站"),
    "2-long": leg("Line 2", "甲站", "丙站", "Number of Via Stops: 1"),
    "3-short": leg("Line B", *ROME),
    "3-long": f"<think>{leg('Line C', *ROME)}--</think>" + leg("Line B", *ROME, "Number of Via Stops: about 3"),
}
ONE_OF_THREE = (10 / 3 + 1) / 2
WORTH: dict[str, dict[str, float | None]] = {  # ends, then 2 for the line and 1 for each stop of a leg
    "1-short": {"total": 10 + 1 + 2 + 2, "right_short": 1, "lines": 2, "via_stops": None},
    "1-long": {"total": 20 + 1 + 2 + 2 + ONE_OF_THREE, "right_long": 1, "via_stops": ONE_OF_THREE, "via_count": None},
    "2-short": {"total": 0, "right_short": 0, "ends": 0, "stops": 0},  # the wrong way round
    "2-long": {"total": 1 + 2 + 4, "right_long": 0, "stops": 2, "via_count": 4},  # the map has no Line 2
    "3-short": {"total": 10 + 1 + 2, "right_short": 1, "lines": 0},  # of Line B, `Line Li` is made in Rome
    "3-long": {"total": 20 + 1 + 2 + 3, "right_long": 1, "via_count": 3, "via_stops": None},  # 3 of 4 stops
}


def test_routes_are_worth_what_is_counted_by_hand(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    file = rows_of_thinkers.reasonmap(tmp_path / "data" / "ReasonMap")
    words = ("--system", "reasonmap", "--to", "data/reasonmap", "--format", "batch", "--name", "rows")
    assert virc("data", "convert", file, *words).code == 0
    rows = tmp_path / "data" / "reasonmap" / "rows.jsonl"
    asked = {row["question"]: row["id"] for row in map(json.loads, rows.read_text().splitlines())}

    def reply(body: dict[str, Any]) -> str:
        (message,) = body["messages"]  # the picture, then the question bare
        assert len(images_of(body)) == 1
        return REPLIES[asked[message["content"][1]["text"]]]

    with serve(reply) as server:
        done = virc("batch", rows, "--endpoint", server.url, "--system", "reasonmap", "--to", "answers.jsonl")
    assert done.code == 0, done.err
    with (tmp_path / "answers.jsonl").open("a") as answers:  # what failed counts nowhere
        answers.write('{"id": "1-short", "answer": null, "error": {"code": 5}}\n')
    found = {each["id"]: each for each in scores(rows, tmp_path / "answers.jsonl")}
    for name, worth in WORTH.items():
        assert {term: found[name][term] for term in worth} == pytest.approx(worth), name
    weights = {"1": 2, "2": 1, "3": 1.5}  # hard on an easy map, easy, and easy on a middle map
    total = sum(weights[name[0]] * (worth["total"] or 0) for name, worth in WORTH.items())
    mean = means([*found.values()])
    assert (mean["total"], mean["right_short"]) == pytest.approx((total / 9, 3.5 / 4.5))
