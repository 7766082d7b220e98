"""`virc rewards ls` and `virc rewards show`."""

import re
from pathlib import Path

import pytest
from support.called import virc


def test_ls_lists_totals_and_terms() -> None:
    done = virc("rewards", "ls", "--json")
    assert done.code == 0
    totals = {each["name"]: each["terms"] for each in done.json["totals"]}
    assert totals["virc"] == ["format", "answer", "reasoning", "focus", "tool_choice"]
    assert {each["name"] for each in done.json["terms"]} >= {*totals["virc"], *totals["rules"]}
    lines = virc("rewards", "ls").out.splitlines()
    terms = [line.split()[1] for line in lines if line.startswith("term ")]
    assert terms == [each["name"] for each in done.json["terms"]]
    assert any(line.split()[:5] == ["total", "outcome", "The", "outcome", "alone,"] for line in lines)


def test_show_prints_what_a_judge_is_asked_and_whose_words_they_are(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("VIRC_OWN_WORDS", "1")
    shown = virc("rewards", "show", "virc", "--json").json
    assert [each["name"] for each in shown["terms"]] == ["format", "answer", "reasoning", "focus", "tool_choice"]
    assert set(shown["questions"]) == {"system", "answer", "reasoning", "focus"}
    assert all(each["words"].startswith("our own words, not the") for each in shown["questions"].values())
    assert {"raises_for_picture", "difference"} <= shown["quirks"].keys()
    (tmp_path / "asked.yaml").write_text("answer: 'Is {answer} the same as {reference}? \\boxed{1} or \\boxed{0}'")
    asked = "{questions: ./asked.yaml, endpoint: 'http://h/v1', model: m}"
    (tmp_path / "mine.yaml").write_text(f"name: mine\nreward: {{total: virc, judge: {asked}}}\n")
    out = virc("rewards", "show", tmp_path / "mine.yaml").out
    assert f"# the judge's `answer`: {tmp_path / 'asked.yaml'}\nIs {{answer}} the same" in out
    assert "# the judge's `focus`: our own words" in out
    assert re.search(r"\njudge +http://h/v1 +m\n", out)
    rules = "name: mine\nreward: {{total: rules, judge: {{endpoint: {endpoint}}}}}\n"
    for endpoint, questions in (("null", set()), ("'http://h/v1'", {"system", "answer"})):
        (tmp_path / "rules.yaml").write_text(rules.format(endpoint=endpoint))
        assert set(virc("rewards", "show", tmp_path / "rules.yaml", "--json").json["questions"]) == questions
    published = virc("rewards", "show", "mini-o3", "--json").json
    assert published["questions"]["judged"]["words"] == "our own words in place of the published ones"
    assert "{question}" in published["questions"]["judged"]["text"]
    assert virc("rewards", "show", "tiny", "--json").json["quirks"] == {}
