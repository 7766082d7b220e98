"""ReasonMap from its published rows to the scores of `virc eval --reward reasonmap`, which are counted here by hand."""

import json
import re
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import pytest
from support import rows_of_thinkers
from support.called import Done, virc
from support.servers import Server, images_of, serve


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
WORTH: Mapping[str, Mapping[str, float | None]] = {  # ends, then 2 for the line and 1 for each stop of a leg
    "1-short": {"total": 10 + 1 + 2 + 2, "right_short": 1, "lines": 2, "via_stops": None},
    "1-long": {"total": 20 + 1 + 2 + 2 + ONE_OF_THREE, "right_long": 1, "via_stops": ONE_OF_THREE, "via_count": None},
    "2-short": {"total": 0, "right_short": 0, "ends": 0, "stops": 0},  # the wrong way round
    "2-long": {"total": 1 + 2 + 4, "right_long": 0, "stops": 2, "via_count": 4},  # the map has no Line 2
    "3-short": {"total": 10 + 1 + 2, "right_short": 1, "lines": 0},  # of Line B, `Line Li` is made in Rome
    "3-long": {"total": 20 + 1 + 2 + 3, "right_long": 1, "via_count": 3, "via_stops": None},  # 3 of 4 stops
}


@pytest.fixture
def rows(here: Path) -> Path:
    file = rows_of_thinkers.reasonmap(here / "data" / "ReasonMap")
    words = ("--system", "reasonmap", "--to", "data/reasonmap", "--format", "batch", "--name", "rows")
    done = virc("data", "convert", file, *words)
    assert done.code == 0, done.err
    return here / "data" / "reasonmap" / "rows.jsonl"


@pytest.fixture
def server(rows: Path) -> Iterator[Server]:
    asked = {row["question"]: row["id"] for row in map(json.loads, rows.read_text().splitlines())}

    def reply(body: dict[str, Any]) -> str:
        (message,) = body["messages"]  # the picture, then the question bare
        (text,) = (part["text"] for part in message["content"] if part["type"] == "text")
        assert message["content"][0]["type"] == "image_url"
        assert len(images_of(body)) == 1
        return REPLIES[asked[text]]

    with serve(reply, models=("mine",)) as running:
        yield running


def scored(done: Done, model: str) -> dict[str, dict[str, Any]]:
    assert done.code == 0, done.err
    lines = Path(f"evals/rows/rewards/reasonmap/{model}.jsonl").read_text().splitlines()
    return {row["id"]: row["rewarded"] for row in map(json.loads, lines)}


def test_routes_are_worth_what_is_counted_by_hand(rows: Path, server: Server) -> None:
    words = ("--endpoint", server.url, "--model", "mine", "--system", "reasonmap", "--reward", "reasonmap", "--json")
    done = virc("eval", rows, *words)
    found = scored(done, "mine")
    for name, worth in WORTH.items():
        values = {"total": found[name]["total"], **found[name]["terms"]}
        assert {term: values[term] for term in worth} == pytest.approx(worth), name
    means = done.json["models"][0]["reward"]
    totals = {name: worth["total"] or 0.0 for name, worth in WORTH.items()}
    assert means["total"]["mean"] == pytest.approx(sum(totals.values()) / 6)
    for kind in ("short", "long"):
        own = [total for name, total in totals.items() if name.endswith(kind)]
        assert (means[f"score_{kind}"]["mean"], means[f"score_{kind}"]["of"]) == (pytest.approx(sum(own) / 3), 3)
        assert means[f"right_{kind}"]["mean"] == pytest.approx(2 / 3)
    page = Path("evals/rows/report.html").read_text().partition('<h2 id="reward">')[2]
    row = re.search(r'<th scope="row" dir="auto">total</th><td dir="auto">mine</td>(.*?)</tr>', page)
    assert row
    assert f"{sum(totals.values()) / 6:.3f}" in row[1]


def test_tiny_plans_no_route(rows: Path) -> None:
    done = virc("eval", rows, "--model", "tiny", "--reward", "reasonmap", "--json")
    found = scored(done, "tiny")
    assert [each["total"] for each in found.values()] == [0] * 6
    means = done.json["models"][0]["reward"]
    assert {name: (each["mean"], each["of"]) for name, each in means.items()} == {
        "total": (0, 6), "right_short": (0, 3), "right_long": (0, 3), "score_short": (0, 3), "score_long": (0, 3),
        "ends": (0, 6), "lines": (0, 6), "stops": (0, 6), "via_count": (0, 2), "via_stops": (0, 1),
    }  # fmt: skip


def test_a_row_of_another_set_is_none_of_reasonmap(rows: Path) -> None:
    text = rows.read_text().replace('"category":"short"', '"category":"middle"')
    rows.write_text(text)
    done = virc("eval", rows, "--model", "tiny", "--reward", "reasonmap")
    assert done.code == 5
    assert "the row is none of ReasonMap: invalid enum value 'middle'" in done.err
