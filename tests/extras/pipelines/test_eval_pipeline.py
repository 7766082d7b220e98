"""`virc eval --pipeline`: the roles of a file answer together, under one name beside single models."""

import json
import re
from pathlib import Path
from urllib.parse import unquote

import pytest
from support.called import virc
from support.servers import Body, serve
from support.solving import picture

from virc.core.errors import UsageError
from virc.evaluation.api import evaluate

TEXT = """
from virc_extras.pipelines import Role

ROLES = {"eyes": Role(), "mind": Role()}


def solve(problem, roles):
    return roles.mind.ask(roles.eyes.ask(problem.images, problem.question))
"""


def double(body: Body) -> str:
    return str(2 * int(body["messages"][-1]["content"]))


def test_a_pipeline_is_scored_and_goes_on_where_it_stopped(tmp_path: Path) -> None:
    image = picture(tmp_path / "p.png")
    rows = [{"id": n, "image": str(image), "question": f"Twice {n}?", "answer": a} for n, a in ((1, "2"), (2, "5"))]
    (tmp_path / "rows.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    (tmp_path / "twice.py").write_text(TEXT)

    def see(body: Body) -> str:
        return str(body["messages"][-1]["content"][-1]["text"]).split()[1].rstrip("?")

    words = ["eval", tmp_path / "rows.jsonl", "--to", tmp_path / "e", "--pipeline", tmp_path / "twice.py", "--json"]
    with serve(see, models=["small"]) as eyes, serve(double, models=["large"]) as mind:
        roles = ["--role", f"eyes={eyes.url}", "--role", f"mind={mind.url}"]
        found = virc(*words, *roles).json
        assert virc(*words, *roles).json["models"] == found["models"]
        by_role = {"eyes": eyes.url, "mind": mind.url}
        again = evaluate(tmp_path / "rows.jsonl", to=tmp_path / "e", pipeline=tmp_path / "twice.py", roles=by_role)
        assert (again.models[0].score.right, len(mind.chats())) == (1, 2)
        with pytest.raises(UsageError, match="--samples does not go with --pipeline"):
            evaluate(tmp_path / "rows.jsonl", pipeline=tmp_path / "twice.py", samples=2)
    (model,) = found["models"]
    assert model["name"] == "twice (eyes: small, mind: large)"
    assert (model["score"]["right"], model["score"]["of"]) == (1, 2)
    report = (tmp_path / "e" / "report.html").read_text()
    (link,) = re.findall(r'href="\./(traces/[^"]+)"', report)
    page = (tmp_path / "e" / unquote(link)).read_text()
    assert "Wrong" in page
    assert "Twice 2?" in page
