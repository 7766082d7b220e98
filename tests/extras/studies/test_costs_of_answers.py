"""What the answers of an evaluation cost, and the limit that ends it."""

import json
from pathlib import Path

import pytest
from PIL import Image
from support.called import virc
from support.servers import MODEL, serve
from support.solving import answer


def test_an_evaluation_says_what_a_right_answer_costs_and_stops(here: Path) -> None:
    problems = [{"id": n, "image": "a.png", "question": "q", "answer": "97" if n else "1"} for n in range(4)]
    Image.new("RGB", (56, 56)).save("a.png")
    Path("problems.jsonl").write_text("".join(json.dumps(each) + "\n" for each in problems))
    common = ("eval", "problems.jsonl", "--endpoint", "", "--concurrency", 1, "--to", "e")
    with serve([answer("97")], cost=0.4) as server:
        words = [server.url if word == "" else word for word in common]
        first = virc(*words, "--max-cost", 1, "--model", MODEL, "--model", "tiny")
        assert (first.code, "loading the model tiny" in first.err) == (9, False)
        assert f"{MODEL}: cost 1.2, 0.4 an answer, 0.6 a right answer" in first.out
        assert "stopped at --max-cost 1: this call cost 1.2; 3 answers so far" in first.err
        second = virc(*words, "--json")
    assert second.code == 0
    figures = second.json["models"][0]["cost"]
    assert figures == pytest.approx({"total": 1.6, "per_answer": 0.4, "per_right": 1.6 / 3})
    assert virc("eval", "verify", f"e/results/{MODEL}.jsonl").code == 0
