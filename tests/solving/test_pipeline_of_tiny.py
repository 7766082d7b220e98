"""`tiny` as eyes and a rule as mind: the rule computes an angle of which it sees only the readings of the others."""

from fractions import Fraction
from pathlib import Path

import pytest
from batches import read, write
from support.called import virc
from support.servers import Body, serve

pytestmark = pytest.mark.integration

TEXT = """
from virc.solving.pipelines import Role, together

ROLES = {"eyes": Role(model="tiny", own_protocol=True), "mind": Role()}


def solve(problem, roles):
    def read(which):
        asked = roles.mind.ask(f"{which} of {problem.question}")
        return roles.eyes.ask(problem.images, asked, step=which)

    one, two = together(lambda: read("first"), lambda: read("second"))
    return roles.mind.ask(f"rest of {one} and {two}", step="third")
"""


def rule(body: Body) -> str:
    """Asks for one of two angles, or subtracts both from 180 degrees."""
    task, _, rest = str(body["messages"][-1]["content"]).partition(" of ")
    if task == "rest":
        return str(180 - sum(Fraction(reading) for reading in rest.split(" and ")))
    return f"Find angle {rest[task == 'second']}."


def test_its_accuracy_is_what_the_readings_allow(tmp_path: Path) -> None:
    count = 20
    assert virc("data", "synth", "--to", tmp_path / "p", "--count", count, "--seed", 5, "--sides", 3).code == 0
    rows = read(tmp_path / "p" / "problems.jsonl")
    printed = {row["id"]: {c["letter"]: c["printed"] for c in row["corners"] if c["printed"] != "?"} for row in rows}
    for row in rows:
        row["question"] = "".join(printed[row["id"]])
        row["image"] = str(tmp_path / "p" / row["image"])
    (tmp_path / "p.py").write_text(TEXT)
    source, out = write(tmp_path / "in.jsonl", rows), tmp_path / "out.jsonl"
    with serve(rule) as mind:
        words = ["--pipeline", tmp_path / "p.py", "--role", f"mind={mind.url}", "--concurrency", 2]
        assert virc("batch", source, "--to", out, *words).code == 0
    right = well_read = 0
    for line in read(out):
        readings = {step["name"]: step["output"][0] for step in line["steps"]}
        well_read += [readings["first"], readings["second"]] == list(printed[line["id"]].values())
        unknown = 180 - sum(map(Fraction, printed[line["id"]].values()))
        right += Fraction(line["answer"]) == unknown
    assert right >= well_read >= 0.8 * count
